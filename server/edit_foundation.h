#ifndef AMEND_SERVER_EDIT_FOUNDATION_H_
#define AMEND_SERVER_EDIT_FOUNDATION_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/editing/edit_settings.h"
#include "core/editing/key_covariance.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "server/profile.h"
#include "storage/revision_store.h"

namespace amend {

// What every edit of a store rests on: it must never change while the store lives.
struct EditFoundation {
  // With the store's context templates.
  EditSettings settings;
  KeyCovariance covariance;
  // sha-256 (hex) of its file.
  std::string covariance_digest;
};

struct FoundationOptions {
  std::string model_directory;
  std::string model_name;
  // sha-256 (hex) of the model.
  std::string model_fingerprint;
  // Where "covariance.safetensors" is kept when it is computed from texts.
  std::string data_directory;
  // Told what takes long ("key covariance: 200 of 2000 texts"). May be null.
  std::function<void(absl::string_view)> progress;
  // Sees the foundation before a new store gets its identity: an error refuses it, and the store
  // stays new. May be null.
  std::function<absl::Status(const EditFoundation&)> accept;
};

// For a new store: takes or samples the templates, reads or computes the covariance and initializes
// the store with the identity of all that. For an existing one: checks that model, hyperparameters,
// templates and covariance are the ones it was created with; FAILED_PRECONDITION, naming both
// values, when one is not. A covariance file that was lost is computed again and must have the
// recorded digest. Nothing is written to a store that is refused.
absl::StatusOr<EditFoundation> LayFoundation(const std::shared_ptr<const CausalLm>& model,
                                             const Tokenizer& tokenizer, const EditProfile& profile,
                                             const FoundationOptions& options,
                                             RevisionStore* store);

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_FOUNDATION_H_
