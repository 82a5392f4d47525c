#include "jobs/profile_layers.h"

#include <fstream>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "amend/v1/profile.pb.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace amend::jobs {
namespace {

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber, const std::string& message) override {
    if (text_.empty()) text_ = absl::StrCat("line ", line + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

absl::StatusOr<ProfileLayers> ReadProfileLayers(const std::string& path) {
  std::ifstream file(path);
  if (!file.is_open()) return absl::NotFoundError(absl::StrCat("cannot read the profile ", path));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  v1::Profile profile;
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (!parser.ParseFromString(text, &profile))
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.text()));
  if (profile.layers().empty())
    return absl::InvalidArgumentError(absl::StrCat(path, ": layers is empty"));
  const int max_tokens = profile.covariance().max_tokens_per_text();
  if (max_tokens < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": covariance.max_tokens_per_text is ", max_tokens, ", below 0"));
  }
  ProfileLayers result;
  result.layers.assign(profile.layers().begin(), profile.layers().end());
  result.max_tokens_per_text = max_tokens;
  return result;
}

}  // namespace amend::jobs
