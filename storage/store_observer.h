#ifndef AMEND_STORAGE_STORE_OBSERVER_H_
#define AMEND_STORAGE_STORE_OBSERVER_H_

#include "absl/strings/string_view.h"
#include "storage/records.h"

namespace amend {

// Learns of the store's writes. Called by writing threads and by the store's own, one call at a
// time; must be quick and not call the store.
class StoreObserver {
 public:
  virtual ~StoreObserver() = default;
  // One synced write ended after `seconds`; `ok` when it is durable.
  virtual void OnSync(double seconds, bool ok) = 0;
  // A thread of RocksDB's own failed: flushing, compacting.
  virtual void OnBackgroundError() {}
  // The store stopped taking writes, because of `why`, or takes them again (`why` is empty).
  virtual void OnReadOnly(bool /*read_only*/, absl::string_view /*why*/) {}
  // A batch was taken into the ledger, or came to its end there: this is durable now.
  virtual void OnLedger(const LedgerEntry& /*entry*/) {}
  // Somebody did something that the audit trail keeps: it is durable now.
  virtual void OnAudit(const AuditRecord& /*record*/) {}
};

}  // namespace amend

#endif  // AMEND_STORAGE_STORE_OBSERVER_H_
