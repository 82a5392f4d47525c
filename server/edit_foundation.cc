#include "server/edit_foundation.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/editing/context_templates.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

constexpr int kTextsPerReport = 500;

struct Covariance {
  KeyCovariance moments;
  // sha-256 (hex) of its file.
  std::string digest;
};

void Report(const FoundationOptions& options, absl::string_view text) {
  if (options.progress) options.progress(text);
}

// `path` below the model directory unless it is absolute.
std::string Resolve(const FoundationOptions& options, const std::string& path) {
  return (fs::path(options.model_directory) / path).string();
}

absl::StatusOr<std::vector<std::string>> ReadTexts(const std::string& path) {
  std::ifstream file(path);
  if (!file.is_open()) {
    return absl::NotFoundError(absl::StrCat("cannot read the covariance texts ", path));
  }
  std::vector<std::string> texts;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) texts.push_back(std::move(line));
  }
  if (texts.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the covariance texts ", path, " hold no text"));
  }
  return texts;
}

absl::Status ComputeFile(const CausalLm& model, const Tokenizer& tokenizer,
                         const EditProfile& profile, const FoundationOptions& options,
                         const std::string& path) {
  AMEND_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                         ReadTexts(Resolve(options, profile.covariance_text_file)));
  Report(options, absl::StrCat("computing the key covariance from ", texts.size(), " texts"));
  const auto progress = [&](int64_t done) {
    if (done % kTextsPerReport != 0) return;
    Report(options, absl::StrCat("key covariance: ", done, " of ", texts.size(), " texts"));
  };
  AMEND_ASSIGN_OR_RETURN(const KeyCovariance covariance,
                         ComputeKeyCovariance(model, tokenizer, profile.settings.layers, texts,
                                              profile.max_tokens_per_text, progress));
  return SaveKeyCovariance(covariance, path);
}

// `recorded`: the digest that an existing store asks for.
absl::StatusOr<Covariance> ObtainCovariance(const CausalLm& model, const Tokenizer& tokenizer,
                                            const EditProfile& profile,
                                            const FoundationOptions& options,
                                            const std::optional<std::string>& recorded) {
  std::string path;
  if (!profile.covariance_file.empty()) {
    path = Resolve(options, profile.covariance_file);
  } else {
    path = (fs::path(options.data_directory) / "covariance.safetensors").string();
    std::error_code ignored;
    // A new store trusts no file that lies about: it may be of another model.
    if (!recorded.has_value() || !fs::exists(path, ignored)) {
      AMEND_RETURN_IF_ERROR(ComputeFile(model, tokenizer, profile, options, path));
    }
  }
  Covariance covariance;
  AMEND_ASSIGN_OR_RETURN(covariance.digest, Sha256HexOfFile(path));
  if (recorded.has_value() && *recorded != covariance.digest) {
    return absl::FailedPreconditionError(absl::StrCat("the key covariance ", path, " has sha-256 ",
                                                      covariance.digest,
                                                      ", the store was created with ", *recorded));
  }
  AMEND_ASSIGN_OR_RETURN(covariance.moments, LoadKeyCovariance(path, profile.settings.layers));
  return covariance;
}

// The first line where the texts differ: "lambda: 25" and "lambda: 30".
std::pair<std::string, std::string> FirstDifference(absl::string_view a, absl::string_view b) {
  const std::vector<std::string> left = absl::StrSplit(a, '\n');
  const std::vector<std::string> right = absl::StrSplit(b, '\n');
  for (size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    const std::string l = i < left.size() ? left[i] : "";
    const std::string r = i < right.size() ? right[i] : "";
    if (l != r) return {l, r};
  }
  return {};
}

absl::Status CheckIdentity(const StoreIdentity& identity, const EditProfile& profile,
                           const FoundationOptions& options) {
  if (identity.model_fingerprint != options.model_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the store in ", options.data_directory, " belongs to model ", identity.model_name,
        " with fingerprint ", identity.model_fingerprint, ", but ", options.model_directory,
        " has fingerprint ", options.model_fingerprint));
  }
  const std::string hyperparameters = HyperparametersText(profile.settings);
  if (identity.hyperparameters != hyperparameters) {
    const auto [stored, given] = FirstDifference(identity.hyperparameters, hyperparameters);
    return absl::FailedPreconditionError(absl::StrCat("the store in ", options.data_directory,
                                                      " was created with \"", stored,
                                                      "\", the profile says \"", given, "\""));
  }
  const std::vector<std::string>& given = profile.settings.context_templates;
  if (!given.empty() && given != identity.context_templates) {
    const auto [stored, now] = FirstDifference(absl::StrJoin(identity.context_templates, "\n"),
                                               absl::StrJoin(given, "\n"));
    return absl::FailedPreconditionError(absl::StrCat(
        "the store in ", options.data_directory, " was created with the context template \"",
        stored, "\", the profile says \"", now, "\""));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EditFoundation> LayFoundation(const std::shared_ptr<const CausalLm>& model,
                                             const Tokenizer& tokenizer, const EditProfile& profile,
                                             const FoundationOptions& options,
                                             RevisionStore* store) {
  const std::optional<StoreIdentity> existing = store->identity();
  std::optional<std::string> recorded;
  if (existing.has_value()) {
    AMEND_RETURN_IF_ERROR(CheckIdentity(*existing, profile, options));
    recorded = existing->covariance_digest;
  }
  EditFoundation foundation;
  foundation.settings = profile.settings;
  if (existing.has_value()) {
    foundation.settings.context_templates = existing->context_templates;
  } else if (foundation.settings.context_templates.empty()) {
    Report(options, "sampling context templates");
    AMEND_ASSIGN_OR_RETURN(foundation.settings.context_templates,
                           SampleContextTemplates(model, tokenizer, profile.template_seed));
  }
  AMEND_ASSIGN_OR_RETURN(Covariance covariance,
                         ObtainCovariance(*model, tokenizer, profile, options, recorded));
  foundation.covariance = std::move(covariance.moments);
  foundation.covariance_digest = covariance.digest;
  if (options.accept) AMEND_RETURN_IF_ERROR(options.accept(foundation));
  if (!existing.has_value()) {
    StoreIdentity identity;
    identity.model_fingerprint = options.model_fingerprint;
    identity.model_name = options.model_name;
    identity.hyperparameters = HyperparametersText(profile.settings);
    identity.context_templates = foundation.settings.context_templates;
    identity.covariance_digest = covariance.digest;
    AMEND_RETURN_IF_ERROR(store->Initialize(identity));
  }
  return foundation;
}

}  // namespace amend
