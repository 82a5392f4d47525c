#include "client/cli/revision_text.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"

namespace amend::client {

namespace v1 = ::amend::v1;

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(time.seconds()),
                          absl::UTCTimeZone());
}

std::string StateText(v1::Revision::State state) {
  return absl::AsciiStrToLower(v1::Revision::State_Name(state));
}

std::string MarksText(const v1::Revision& revision) {
  std::vector<std::string> parts;
  if (revision.labels_size() > 0) parts.push_back(absl::StrJoin(revision.labels(), ","));
  if (revision.pinned()) parts.emplace_back("(pinned)");
  if (revision.has_purge_time()) {
    parts.emplace_back("(purged)");
  } else if (revision.has_delete_time()) {
    parts.emplace_back("(deleted)");
  }
  return absl::StrJoin(parts, " ");
}

std::string ActorText(const v1::Revision& revision) {
  return revision.actor().empty() ? "-" : revision.actor();
}

std::string EditText(int index, const v1::Edit& edit) {
  return absl::StrFormat("%5d  %s -> %s", index, edit.prompt(), edit.target_new());
}

OrderedJson ToJson(const v1::Revision& revision) {
  OrderedJson object = {
      {"revision", revision.revision()},
      {"parent", revision.parent()},
      {"state", v1::Revision::State_Name(revision.state())},
      {"session", revision.session()},
      {"offset", revision.offset()},
      {"actor", revision.actor()},
      {"edits", revision.edit_count()},
      {"line_edits", revision.line_edit_count()},
      {"create_time", TimeText(revision.create_time())},
      {"labels", std::vector<std::string>(revision.labels().begin(), revision.labels().end())},
      {"pinned", revision.pinned()}};
  if (revision.has_delete_time()) object["delete_time"] = TimeText(revision.delete_time());
  if (revision.has_purge_time()) object["purge_time"] = TimeText(revision.purge_time());
  const v1::GateReport& gate = revision.gate_report();
  if (gate.has_reliability()) object["reliability"] = gate.reliability();
  if (gate.has_generality()) object["generality"] = gate.generality();
  if (gate.has_locality()) object["locality"] = gate.locality();
  for (const v1::EditReference& edit : revision.withdrawn()) {
    object["withdrawn"].push_back(
        {{"revision", edit.revision()}, {"edit_index", edit.edit_index()}});
  }
  return object;
}

OrderedJson ToJson(const v1::Label& label) {
  return {{"name", label.name()}, {"revision", label.revision()}, {"etag", label.etag()}};
}

OrderedJson ToJson(const v1::Edit& edit) {
  return {{"prompt", edit.prompt()},
          {"subject", edit.subject()},
          {"target", edit.target_new()},
          {"client_edit_id", edit.client_edit_id()}};
}

}  // namespace amend::client
