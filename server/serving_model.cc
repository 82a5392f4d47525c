#include "server/serving_model.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/errors.h"
#include "storage/revision_store.h"

namespace amend {
namespace {

absl::Status RevisionNotResident(Revision revision, Revision latest) {
  return WithReason(
      absl::NotFoundError(absl::StrCat("revision ", revision.value(),
                                       " is not served; the latest is ", latest.value())),
      "REVISION_NOT_FOUND",
      {{"revision", absl::StrCat(revision.value())}, {"latest", absl::StrCat(latest.value())}});
}

}  // namespace

ServingModel::ServingModel(std::shared_ptr<const CausalLm> model,
                           std::shared_ptr<const HookStack> base_hooks)
    : model_(std::move(model)) {
  absl::MutexLock lock(&mutex_);
  revisions_[kBaseRevision] =
      std::make_shared<const Snapshot>(Snapshot{kBaseRevision, std::move(base_hooks)});
  labels_[std::string(kLiveLabel)] = kBaseRevision;
}

absl::StatusOr<std::shared_ptr<const Snapshot>> ServingModel::Resolve(Revision revision) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = revisions_.find(revision);
  if (found == revisions_.end()) {
    return RevisionNotResident(revision, revisions_.rbegin()->first);
  }
  return found->second;
}

absl::StatusOr<std::shared_ptr<const Snapshot>> ServingModel::Resolve(
    absl::string_view label) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = labels_.find(label);
  if (found == labels_.end()) {
    const std::string name = absl::CHexEscape(label);
    return WithReason(absl::NotFoundError(absl::StrCat("label \"", name,
                                                       "\" does not exist; the latest revision is ",
                                                       revisions_.rbegin()->first.value())),
                      "LABEL_NOT_FOUND", {{"label", name}});
  }
  // A label stands on a resident revision only, and revisions never leave.
  return revisions_.at(found->second);
}

void ServingModel::AddRevision(std::shared_ptr<const Snapshot> snapshot) {
  const Revision revision = snapshot->revision;
  absl::MutexLock lock(&mutex_);
  revisions_[revision] = std::move(snapshot);
}

absl::Status ServingModel::MoveLabel(absl::string_view label, Revision to) {
  absl::MutexLock lock(&mutex_);
  if (revisions_.count(to) == 0) return RevisionNotResident(to, revisions_.rbegin()->first);
  labels_[std::string(label)] = to;
  return absl::OkStatus();
}

}  // namespace amend
