#ifndef AMEND_SERVER_SETTINGS_H_
#define AMEND_SERVER_SETTINGS_H_

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/server_options.h"

namespace amend {

// Where ServerOptions hold the value of a setting. A duration is given in seconds.
using SettingTarget = std::variant<std::string*, int*, bool*, absl::Duration*>;

// What a setting may be. Plain data.
struct AllowedValues {
  // Of numbers, both included.
  double min = 0;
  double max = 0;
  // Of texts: one of these. Empty: any.
  std::vector<std::string> choices;
  // Of texts: "HOST:PORT".
  bool is_address = false;
};

// One thing that can be said of how a server runs: the field of amend.v1.ServerConfig, the flag and
// the member of ServerOptions that it fills.
struct Setting {
  // "listen"; inside of another message "limits.edit_credits".
  std::string field;
  // Without its dashes; empty: it has none.
  std::string flag;
  // What --help says.
  std::string help;
  std::function<SettingTarget(ServerOptions&)> target;
  AllowedValues allowed;
  // Whether a running server takes a new value; others want a restart.
  bool reloads = false;
};

// All of them, in the order of --help. To add one: the member of ServerOptions with its default,
// the field of the proto, an entry here, a row in docs/configuration.md. Thread-safe.
const std::vector<Setting>& Settings();

// Each sets one value. INVALID_ARGUMENT, "NAME is VALUE, not WHAT IS ALLOWED", where that is none;
// nothing is changed then. SetText reads numbers too, and for a bool "true" and "false".
absl::Status SetText(const Setting& setting, absl::string_view name, const std::string& value,
                     ServerOptions* options);
absl::Status SetNumber(const Setting& setting, absl::string_view name, double value,
                       ServerOptions* options);

// The value as --help shows it: "127.0.0.1:50051", "10"; empty for an empty text.
std::string TextOf(const Setting& setting, ServerOptions& options);

}  // namespace amend

#endif  // AMEND_SERVER_SETTINGS_H_
