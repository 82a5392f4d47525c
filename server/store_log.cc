#include "server/store_log.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace amend {
namespace {

std::string OutcomeName(BatchState state) {
  switch (state) {
    case BatchState::kDurable:
      return "durable";
    case BatchState::kFailed:
      return "failed";
    case BatchState::kRejected:
      return "rejected";
    case BatchState::kValidated:
      return "validated";
    case BatchState::kLive:
      return "live";
  }
  return "unknown";
}

void AddGate(const GateVerdict& gate, std::vector<LogField>* fields) {
  const auto add = [&](const char* name, const std::optional<double>& score) {
    if (score) fields->push_back({name, *score});
  };
  add("reliability", gate.scores.reliability);
  add("generality", gate.scores.generality);
  add("locality", gate.scores.locality);
  add("background", gate.background);
  add("perplexity_change", gate.perplexity_change);
  add("retention", gate.retention);
}

}  // namespace

void LogBatch(const LedgerEntry& entry, const std::string& trace_id, EventLog* log) {
  std::vector<LogField> fields;
  if (!trace_id.empty()) fields.push_back({"trace_id", trace_id});
  fields.push_back({"session", entry.key.session});
  fields.push_back({"offset", entry.key.offset});
  fields.push_back({"edits", static_cast<int64_t>(entry.edits.size())});
  if (!IsTerminal(entry.state)) return log->Write(LogLevel::kDebug, "batch_durable", fields);
  const bool is_well = entry.state == BatchState::kLive || entry.state == BatchState::kValidated;
  const LogLevel level = is_well ? LogLevel::kInfo : LogLevel::kWarning;
  if (!log->Writes(level)) return;
  fields.push_back({"outcome", OutcomeName(entry.state)});
  if (entry.state == BatchState::kFailed) {
    fields.push_back({"code", absl::StatusCodeToString(entry.error_code)});
    fields.push_back({"reason", entry.error_reason});
    if (log->Writes(LogLevel::kDebug)) fields.push_back({"message", entry.error_message});
  } else {
    fields.push_back({"revision", entry.revision.value()});
  }
  if (entry.gate) AddGate(*entry.gate, &fields);
  fields.push_back(
      {"seconds", static_cast<double>(entry.finish_time_us - entry.receive_time_us) / 1e6});
  log->Write(level, "batch_finished", fields);
}

void LogAudit(const AuditRecord& record, EventLog* log) {
  std::vector<LogField> fields = {{"verb", record.verb}, {"actor", record.actor}};
  if (!record.label.empty()) fields.push_back({"label", record.label});
  fields.push_back({"from", record.from.value()});
  fields.push_back({"to", record.to.value()});
  if (log->Writes(LogLevel::kDebug)) fields.push_back({"message", record.reason});
  log->Write(LogLevel::kInfo, "audit", fields);
}

}  // namespace amend
