#include "core/editing/covariance_run.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/editing/text_lines.h"
#include "core/model/checkpoint.h"

namespace amend {
namespace {

constexpr char kFormat[] = "amend-covariance-1";
// A checkpoint may take this share of the time.
constexpr double kCheckpointShare = 0.05;

using Metadata = std::map<std::string, std::string>;

// What has to be the same in the run that goes on.
Metadata Identity(const CausalLm& model, const CovarianceRunOptions& options) {
  const auto layer_number = [](std::string* out, LayerIndex layer) {
    absl::StrAppend(out, layer.value());
  };
  return {
      {"format", kFormat},
      {"model", options.model_fingerprint},
      {"layers", absl::StrJoin(options.estimator.layers, ",", layer_number)},
      {"dtype", model.load_options().dtype == Dtype::kBFloat16 ? "bfloat16" : "float32"},
      {"max_tokens_per_text", absl::StrCat(options.estimator.max_tokens_per_text)},
      {"settling", options.estimator.watch_settling ? "watched" : "not watched"},
  };
}

std::string Find(const Metadata& metadata, const std::string& name) {
  const auto it = metadata.find(name);
  return it == metadata.end() ? std::string() : it->second;
}

// One run: where it is in the text, and what it has summed.
class Run {
 public:
  Run(const CausalLm& model, const CovarianceRunOptions& options)
      : options_(options), identity_(Identity(model, options)) {}

  absl::Status Open(const CausalLm& model, const Tokenizer& tokenizer) {
    AMEND_ASSIGN_OR_RETURN(text_, TextLines::Open(options_.text_file));
    AMEND_ASSIGN_OR_RETURN(estimator_,
                           KeyCovarianceEstimator::Create(&model, &tokenizer, options_.estimator));
    if (!options_.restart && access(options_.checkpoint_file.c_str(), F_OK) == 0) {
      AMEND_RETURN_IF_ERROR(Resume());
    }
    checkpointed_at_ = options_.clock();
    return absl::OkStatus();
  }

  absl::StatusOr<CovarianceRun> ToTheEnd() {
    AMEND_RETURN_IF_ERROR(Report());
    std::string line;
    while (!estimator_->full()) {
      AMEND_ASSIGN_OR_RETURN(const bool more, NextLine(&line));
      if (!more) break;
      const int64_t before = estimator_->tokens();
      AMEND_RETURN_IF_ERROR(estimator_->Add(line));
      if (estimator_->tokens() == before) continue;
      AMEND_RETURN_IF_ERROR(CheckpointIfDue());
      AMEND_RETURN_IF_ERROR(Report());
    }
    AMEND_RETURN_IF_ERROR(estimator_->Finish());
    if (estimator_->tokens() == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the text file ", options_.text_file, " holds no text"));
    }
    CovarianceRun result;
    AMEND_ASSIGN_OR_RETURN(result.covariance, estimator_->Estimate());
    result.settling = estimator_->Settling();
    result.lines = text_->lines();
    return result;
  }

 private:
  // Also carries the digest of all lines so far on.
  absl::StatusOr<bool> NextLine(std::string* line) {
    AMEND_ASSIGN_OR_RETURN(const bool more, text_->Next(line));
    if (more) digest_ = Sha256Hex(absl::StrCat(digest_, *line));
    return more;
  }

  absl::Status Resume() {
    const std::string& path = options_.checkpoint_file;
    AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                           SafetensorsFile::Open(path));
    const Metadata& recorded = file->metadata();
    for (const auto& [name, value] : identity_) {
      if (Find(recorded, name) == value) continue;
      return absl::FailedPreconditionError(absl::StrCat(path, " was made with ", name, " \"",
                                                        Find(recorded, name), "\", this run has \"",
                                                        value, "\""));
    }
    int64_t lines = 0;
    if (!absl::SimpleAtoi(Find(recorded, "lines"), &lines) || lines < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": metadata \"lines\" is \"", Find(recorded, "lines"), "\""));
    }
    AMEND_RETURN_IF_ERROR(estimator_->Restore(path));
    resumed_tokens_ = estimator_->tokens();
    const int64_t wanted = options_.estimator.max_tokens;
    if (wanted > 0 && resumed_tokens_ > wanted) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, " holds ", resumed_tokens_, " tokens, this run wants ", wanted));
    }
    return SkipLines(lines, Find(recorded, "digest"));
  }

  absl::Status SkipLines(int64_t lines, const std::string& digest) {
    std::string line;
    while (text_->lines() < lines) {
      AMEND_ASSIGN_OR_RETURN(const bool more, NextLine(&line));
      if (more) continue;
      return absl::FailedPreconditionError(
          absl::StrCat(options_.checkpoint_file, " was made from ", lines, " lines, the text file ",
                       options_.text_file, " has ", text_->lines()));
    }
    if (digest_ == digest) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        options_.checkpoint_file, " was made from another text: the first ", lines, " lines of ",
        options_.text_file, " have digest ", digest_, ", it has ", digest));
  }

  absl::Status Checkpoint() {
    Metadata metadata = identity_;
    metadata["lines"] = absl::StrCat(text_->lines());
    metadata["digest"] = digest_;
    return estimator_->Save(options_.checkpoint_file, metadata);
  }

  absl::Status CheckpointIfDue() {
    const double now = options_.clock();
    if (now - checkpointed_at_ < pause_) return absl::OkStatus();
    AMEND_RETURN_IF_ERROR(Checkpoint());
    checkpointed_at_ = options_.clock();
    if (options_.checkpoint_seconds > 0) {
      pause_ = std::max(options_.checkpoint_seconds, (checkpointed_at_ - now) / kCheckpointShare);
    }
    return absl::OkStatus();
  }

  absl::Status Report() {
    if (!options_.progress) return absl::OkStatus();
    CovarianceProgress progress;
    progress.tokens = estimator_->tokens();
    progress.resumed_tokens = resumed_tokens_;
    progress.bytes = text_->bytes();
    progress.total_bytes = text_->total_bytes();
    if (options_.progress(progress)) return absl::OkStatus();
    if (estimator_->tokens() > 0) AMEND_RETURN_IF_ERROR(Checkpoint());
    return absl::CancelledError(absl::StrCat("stopped after ", estimator_->tokens(), " tokens"));
  }

  const CovarianceRunOptions& options_;
  const Metadata identity_;
  std::unique_ptr<TextLines> text_;
  std::unique_ptr<KeyCovarianceEstimator> estimator_;
  std::string digest_;
  int64_t resumed_tokens_ = 0;
  double checkpointed_at_ = 0;
  double pause_ = options_.checkpoint_seconds;
};

}  // namespace

absl::StatusOr<CovarianceRun> RunCovariance(const CausalLm& model, const Tokenizer& tokenizer,
                                            const CovarianceRunOptions& options) {
  Run run(model, options);
  AMEND_RETURN_IF_ERROR(run.Open(model, tokenizer));
  return run.ToTheEnd();
}

void RemoveCheckpoint(const std::string& checkpoint_file) {
  unlink(checkpoint_file.c_str());
  // What was being written when a run was killed.
  unlink((checkpoint_file + ".tmp").c_str());
}

}  // namespace amend
