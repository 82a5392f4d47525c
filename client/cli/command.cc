#include "client/cli/command.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/errors.h"

namespace amend::client {
namespace {

int Report(const CommandContext& context, const absl::Status& status, int code) {
  if (context.json) {
    OrderedJson error;
    error["code"] = absl::StatusCodeToString(status.code());
    error["reason"] = ErrorReason(status);
    error["message"] = std::string(status.message());
    PrintJson(context, {{"event", "error"}, {"error", error}});
  }
  if (code == kExitUnreachable) {
    *context.err << "error: cannot reach " << context.client->server() << ": " << status.message()
                 << "\n";
  } else if (code == kExitUsage) {
    *context.err << "error: " << status.message() << "\n";
  } else {
    *context.err << "error: " << Describe(status) << "\n";
  }
  return code;
}

// A byte that goes on with a code point.
bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

int Fail(const CommandContext& context, const absl::Status& status) {
  return Report(context, status, IsConnectionLost(status) ? kExitUnreachable : kExitServerError);
}

int FailUsage(const CommandContext& context, const absl::Status& status) {
  return Report(context, status, kExitUsage);
}

void PrintJson(const CommandContext& context, const OrderedJson& object) {
  *context.out << object.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << std::endl;
}

absl::StatusOr<std::vector<EditRecord>> ReadEditFile(const CommandContext& context,
                                                     const std::string& path, bool skip_bad) {
  if (!skip_bad) return ReadEdits(path);
  std::vector<absl::Status> bad;
  absl::StatusOr<std::vector<EditRecord>> records = ReadEdits(path, &bad);
  for (const absl::Status& status : bad) *context.err << "left out: " << status.message() << "\n";
  return records;
}

amend::v1::RevisionSelector ToSelector(const SelectorOptions& options) {
  amend::v1::RevisionSelector selector;
  if (options.revision >= 0) selector.set_revision(options.revision);
  if (!options.label.empty()) selector.set_label(options.label);
  return selector;
}

std::string Score(bool has, double value) { return has ? absl::StrFormat("%.2f", value) : "-"; }

std::string Column(absl::string_view text, size_t width) {
  const size_t points = text.size() - std::count_if(text.begin(), text.end(), IsContinuation);
  if (points <= width) return absl::StrCat(text, std::string(width - points, ' '));
  size_t end = 0;
  for (size_t kept = 0; kept + 3 < width || IsContinuation(text[end]); ++end) {
    if (!IsContinuation(text[end])) ++kept;
  }
  return absl::StrCat(text.substr(0, end), "...");
}

}  // namespace amend::client
