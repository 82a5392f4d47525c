#include "server/reload.h"

#include "server/settings.h"

namespace amend {
namespace {

void ClearThresholds(v1::GateSettings* gate) {
  gate->clear_reliability();
  gate->clear_generality();
  gate->clear_locality();
  gate->clear_background();
  gate->clear_retention();
  gate->clear_max_perplexity_change();
}

}  // namespace

ReloadReport TakeReloadable(const ServerOptions& wanted, ServerOptions* current) {
  ReloadReport report;
  ServerOptions source = wanted;
  for (const Setting& setting : Settings()) {
    // What the file of a profile says is looked at, not its name.
    if (setting.field == "profile_file") continue;
    const std::string value = TextOf(setting, source);
    if (value == TextOf(setting, *current)) continue;
    if (setting.reloads) {
      // It was allowed in `wanted`.
      SetText(setting, setting.field, value, current).IgnoreError();
      report.changed.push_back(setting.field);
    } else {
      report.need_restart.push_back(setting.field);
    }
  }
  return report;
}

void TakeThresholds(const v1::Profile& wanted, v1::Profile* current, ReloadReport* report) {
  if (wanted.SerializeAsString() == current->SerializeAsString()) return;
  v1::Profile rests[] = {*current, wanted};
  for (v1::Profile& rest : rests) ClearThresholds(rest.mutable_gate());
  if (rests[0].SerializeAsString() == rests[1].SerializeAsString()) {
    *current = wanted;
    report->changed.push_back("profile.gate");
  } else {
    report->need_restart.push_back("profile");
  }
}

}  // namespace amend
