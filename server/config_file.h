#ifndef AMEND_SERVER_CONFIG_FILE_H_
#define AMEND_SERVER_CONFIG_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "amend/v1/server_config.pb.h"
#include "server/server_options.h"

namespace amend {

// Reads the text proto (amend.v1.ServerConfig) in the file and sets what it says. NOT_FOUND for a
// file that cannot be read; INVALID_ARGUMENT, naming the file, the line, the field and its value,
// for a field that is not there or may not have this value. Then `options` hold some of it.
absl::Status ApplyConfigFile(const std::string& path, ServerOptions* options);

// As ApplyConfigFile; `name` stands for the file in messages.
absl::Status ApplyConfigText(absl::string_view name, const std::string& text,
                             ServerOptions* options);

// What the options say, defaults and all: as a file it gives the same options again.
v1::ServerConfig ConfigOf(ServerOptions options);

}  // namespace amend

#endif  // AMEND_SERVER_CONFIG_FILE_H_
