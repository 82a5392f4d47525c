// amend-covariance: makes the key covariance that amendd edits with. `amend covariance` runs it.
// Exit codes: 0 done, 1 failed, 2 wrong flags or an unusable file, 130 or 143 after SIGINT or
// SIGTERM.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>

#include "core/base/process_memory.h"
#include "jobs/command_line.h"
#include "jobs/compute_command.h"
#include "jobs/import_command.h"
#include "jobs/job.h"

namespace {

std::atomic<int> stop_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

// The first signal asks the job to end at the next checkpoint; a second one ends the process.
void StopOnSignals() {
  struct sigaction action = {};
  action.sa_handler = [](int signal) { stop_signal = signal; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char** argv) {
  using amend::jobs::CommandLine;
  const CommandLine command_line = amend::jobs::ParseCommandLine(argc, argv);
  if (command_line.exit_code.has_value()) {
    (*command_line.exit_code == 0 ? std::cout : std::cerr) << command_line.message << std::endl;
    return *command_line.exit_code;
  }
  amend::SetUpProcessMemory();
  amend::jobs::JobContext context;
  context.out = &std::cout;
  context.err = &std::cerr;
  context.terminal = isatty(STDERR_FILENO) == 1;
  context.clock = Seconds;
  context.stop_signal = &stop_signal;
  if (command_line.command == CommandLine::Command::kImport)
    return amend::jobs::RunImport(context, command_line.import);
  // Without a checkpoint an import has nothing to save: only here.
  StopOnSignals();
  return amend::jobs::RunCompute(context, command_line.compute);
}
