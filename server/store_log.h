#ifndef AMEND_SERVER_STORE_LOG_H_
#define AMEND_SERVER_STORE_LOG_H_

#include <string>

#include "server/event_log.h"
#include "storage/records.h"

namespace amend {

// Events about what has just become durable. Thread-safe. No text of an edit and no reason that a
// client gave: those are for kDebug.

// "batch_durable" (kDebug), "batch_finished" (kInfo; a rejected or failed batch kWarning).
// `trace_id` is that of the RPC which brought the batch; empty where it is not known.
void LogBatch(const LedgerEntry& entry, const std::string& trace_id, EventLog* log);

// "audit" (kInfo): a promotion, a rollback, a label, a pin, a deletion, a withdrawal, a cancel.
void LogAudit(const AuditRecord& record, EventLog* log);

}  // namespace amend

#endif  // AMEND_SERVER_STORE_LOG_H_
