#include "client/cli/testing/cli_run.h"

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "client/cli/app.h"
#include "gtest/gtest.h"

namespace amend::client {

CliRun RunCli(const std::string& server, const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"amend", "--server", server.c_str()};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out;
  std::ostringstream err;
  CliRun run;
  run.code = RunApp(static_cast<int>(argv.size()), argv.data(), &out, &err, /*terminal=*/false);
  run.out = out.str();
  run.err = err.str();
  return run;
}

std::string WriteTestFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  std::ofstream(path) << content;
  return path;
}

std::string EditLines(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&lines, R"({"prompt": "thing )", i, R"( is", "subject": "thing )", i,
                    R"(", "target_new": "blue"})", "\n");
  }
  return lines;
}

}  // namespace amend::client
