#ifndef AMEND_SERVER_RELOAD_H_
#define AMEND_SERVER_RELOAD_H_

#include <string>
#include <vector>

#include "amend/v1/profile.pb.h"
#include "server/server_options.h"

namespace amend {

// What a reload came to: names of fields of amend.v1.ServerConfig, in the order of settings.cc.
// "profile.gate" stands for the thresholds of the gate, "profile" for more of a profile than these.
struct ReloadReport {
  std::vector<std::string> changed;
  // Different from what the server runs with, and a restart alone would take them.
  std::vector<std::string> need_restart;
};

// Takes from `wanted` into `current` what a running server can take. Pure.
ReloadReport TakeReloadable(const ServerOptions& wanted, ServerOptions* current);

// The same for the profiles, defaults filled in, that they lead to. Thresholds are taken where the
// rest is the same: others may be meant for texts that the server has not read.
void TakeThresholds(const v1::Profile& wanted, v1::Profile* current, ReloadReport* report);

}  // namespace amend

#endif  // AMEND_SERVER_RELOAD_H_
