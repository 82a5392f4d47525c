#ifndef AMEND_CLIENT_CLI_TESTING_CLI_RUN_H_
#define AMEND_CLIENT_CLI_TESTING_CLI_RUN_H_

#include <string>
#include <vector>

namespace amend::client {

// What a run of `amend` left behind.
struct CliRun {
  int code = 0;
  std::string out;
  std::string err;
};

// Runs `amend --server SERVER ARGUMENTS...` in this process; no terminal.
CliRun RunCli(const std::string& server, const std::vector<std::string>& arguments);

// Writes a file into the test's folder and returns its path.
std::string WriteTestFile(const std::string& name, const std::string& content);

// `count` edits in JSON Lines: "thing I is" -> "blue".
std::string EditLines(int count);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_TESTING_CLI_RUN_H_
