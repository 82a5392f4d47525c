#include "server/serving_model.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/errors.h"
#include "server/revision_errors.h"
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
  revisions_[kBaseRevision].snapshot =
      std::make_shared<const Snapshot>(Snapshot{kBaseRevision, std::move(base_hooks)});
  labels_[std::string(kLiveLabel)] = kBaseRevision;
}

absl::StatusOr<std::shared_ptr<const Snapshot>> ServingModel::Find(Revision revision) const {
  const auto found = revisions_.find(revision);
  if (found == revisions_.end()) {
    return RevisionNotResident(revision, revisions_.rbegin()->first);
  }
  if (found->second.snapshot == nullptr) return RevisionPurged(revision);
  return found->second.snapshot;
}

absl::StatusOr<std::shared_ptr<const Snapshot>> ServingModel::Resolve(Revision revision) const {
  absl::ReaderMutexLock lock(&mutex_);
  absl::StatusOr<std::shared_ptr<const Snapshot>> snapshot = Find(revision);
  if (snapshot.ok() && revisions_.at(revision).deleted) return RevisionDeleted(revision);
  return snapshot;
}

absl::StatusOr<std::shared_ptr<const Snapshot>> ServingModel::Resident(Revision revision) const {
  absl::ReaderMutexLock lock(&mutex_);
  return Find(revision);
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
  // A label stands on a resident revision only, which does not leave while it does.
  return revisions_.at(found->second).snapshot;
}

void ServingModel::AddRevision(std::shared_ptr<const Snapshot> snapshot) {
  const Revision revision = snapshot->revision;
  absl::MutexLock lock(&mutex_);
  revisions_[revision].snapshot = std::move(snapshot);
}

absl::Status ServingModel::MoveLabel(absl::string_view label, Revision to) {
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<std::shared_ptr<const Snapshot>> resident = Find(to);
  if (!resident.ok()) return resident.status();
  labels_[std::string(label)] = to;
  return absl::OkStatus();
}

void ServingModel::RemoveLabel(absl::string_view label) {
  absl::MutexLock lock(&mutex_);
  labels_.erase(std::string(label));
}

void ServingModel::SetDeleted(Revision revision, bool deleted) {
  absl::MutexLock lock(&mutex_);
  const auto found = revisions_.find(revision);
  if (found != revisions_.end()) found->second.deleted = deleted;
}

void ServingModel::Purge(Revision revision) {
  // Outlives the lock: freeing it may take long.
  std::shared_ptr<const Snapshot> gone;
  absl::MutexLock lock(&mutex_);
  gone.swap(revisions_[revision].snapshot);
}

}  // namespace amend
