#ifndef AMEND_SERVER_CONSOLE_CONSOLE_ASSETS_H_
#define AMEND_SERVER_CONSOLE_CONSOLE_ASSETS_H_

#include "absl/strings/string_view.h"

namespace amend {

// The files of the console's page, as they are in this folder; embedded by embed_assets.py.
absl::string_view ConsoleHtml();
absl::string_view ConsoleCss();
absl::string_view ConsoleJs();
absl::string_view ConsoleSvg();

}  // namespace amend

#endif  // AMEND_SERVER_CONSOLE_CONSOLE_ASSETS_H_
