// amendd: serves one language model and edits its facts meanwhile. Exit codes: 0 after SIGTERM or
// SIGINT or a check that found nothing, 1 when it cannot start, 2 for wrong flags or a wrong file.
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "absl/synchronization/notification.h"
#include "core/base/process_memory.h"
#include "server/command_line.h"
#include "server/server_plan.h"
#include "server/wiring.h"

namespace {

constexpr int kFailed = 1;

std::atomic<bool> started{false};

absl::Notification& StopNotification() {
  static auto* const stop = new absl::Notification;
  return *stop;
}

// Blocks the signals in this thread and all that it starts, and waits for them in one of their own:
// the first one stops a server that has started, a second one ends the process at once.
void HandleStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    if (!started) std::_Exit(kFailed);
    StopNotification().Notify();
    sigwait(&signals, &signal);
    std::_Exit(kFailed);
  }).detach();
}

}  // namespace

int main(int argc, char** argv) {
  amend::SetUpProcessMemory();
  HandleStopSignals();
  amend::CommandLine command_line = amend::ParseCommandLine(argc, argv);
  if (command_line.exit_code.has_value()) {
    (*command_line.exit_code == 0 ? std::cout : std::cerr) << command_line.message << std::endl;
    return *command_line.exit_code;
  }
  if (command_line.check_config) {
    const auto text = amend::DescribeServer(command_line.options);
    if (text.ok()) std::cout << *text << std::flush;
    if (!text.ok()) std::cerr << "amendd: " << text.status().message() << std::endl;
    return text.ok() ? 0 : kFailed;
  }
  command_line.options.progress = [](absl::string_view text) {
    std::cerr << "amendd: " << text << std::endl;
  };
  auto server = amend::Server::Start(std::move(command_line.options));
  if (!server.ok()) {
    std::cerr << "amendd: " << server.status().message() << std::endl;
    return kFailed;
  }
  started = true;
  std::cout << (*server)->ready_line() << std::endl;
  StopNotification().WaitForNotification();
  std::cerr << "amendd: shutting down" << std::endl;
  (*server)->Shutdown();
  return 0;
}
