#include "server/batch_cancels.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors.h"

namespace amend {
namespace {

const char* NameOf(BatchState state) {
  switch (state) {
    case BatchState::kDurable:
      return "DURABLE";
    case BatchState::kFailed:
      return "FAILED";
    case BatchState::kRejected:
      return "REJECTED";
    case BatchState::kValidated:
      return "VALIDATED";
    case BatchState::kLive:
      return "LIVE";
  }
  return "in an unknown state";
}

}  // namespace

absl::Status CancelledByClient(const CancelCommand& command) {
  std::string message = "cancelled by a client";
  if (!command.reason.empty()) absl::StrAppend(&message, ": ", command.reason);
  return WithReason(absl::CancelledError(message), "CANCELLED_BY_CLIENT");
}

absl::Status BatchConcluded(const LedgerEntry& entry) {
  return WithReason(absl::FailedPreconditionError(absl::StrCat(
                        "session \"", entry.key.session, "\" offset ", entry.key.offset, " is ",
                        NameOf(entry.state), " already, it cannot be cancelled")),
                    "BATCH_CONCLUDED",
                    {{"session", entry.key.session}, {"offset", absl::StrCat(entry.key.offset)}});
}

absl::Status BatchNotFound(const BatchKey& key, const absl::Status& status) {
  return WithReason(status, "BATCH_NOT_FOUND",
                    {{"session", key.session}, {"offset", absl::StrCat(key.offset)}});
}

void BatchCancels::Add(Cancel cancel) {
  absl::MutexLock lock(&mutex_);
  cancels_.push_back(std::move(cancel));
}

int BatchCancels::size() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(cancels_.size());
}

bool BatchCancels::HasOthers(const std::optional<BatchKey>& key) const {
  absl::MutexLock lock(&mutex_);
  return std::any_of(cancels_.begin(), cancels_.end(), [&](const Cancel& cancel) {
    return !key.has_value() || !(cancel.command.key == *key);
  });
}

std::optional<CancelCommand> BatchCancels::Find(const BatchKey& key) const {
  absl::MutexLock lock(&mutex_);
  for (const Cancel& cancel : cancels_) {
    if (cancel.command.key == key) return cancel.command;
  }
  return std::nullopt;
}

std::vector<BatchCancels::Cancel> BatchCancels::Take(const BatchKey& key) {
  return TakeIf([&](const BatchKey& other) { return other == key; });
}

std::vector<BatchCancels::Cancel> BatchCancels::TakeOthers(const std::optional<BatchKey>& key) {
  return TakeIf([&](const BatchKey& other) { return !key.has_value() || !(other == *key); });
}

std::vector<BatchCancels::Cancel> BatchCancels::TakeIf(
    const std::function<bool(const BatchKey&)>& wanted) {
  std::vector<Cancel> taken, left;
  absl::MutexLock lock(&mutex_);
  for (Cancel& cancel : cancels_) {
    (wanted(cancel.command.key) ? taken : left).push_back(std::move(cancel));
  }
  cancels_ = std::move(left);
  return taken;
}

}  // namespace amend
