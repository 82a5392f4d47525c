// amendd: serves one language model and edits its facts meanwhile. Exit codes: 0 after SIGTERM,
// SIGINT or a check that found nothing, 1 when it cannot start, 2 for wrong flags or a wrong file.
#include <iostream>
#include <utility>

#include "absl/status/status.h"
#include "core/base/memory_reserve.h"
#include "core/base/process_memory.h"
#include "core/base/tensor_memory.h"
#include "server/command_line.h"
#include "server/event_log.h"
#include "server/memory_watch.h"
#include "server/server_plan.h"
#include "server/stop_signals.h"
#include "server/wiring.h"

namespace {

constexpr int kFailed = 1;

int Check(const amend::ServerOptions& options) {
  const auto text = amend::DescribeServer(options);
  if (text.ok()) std::cout << *text << std::flush;
  if (!text.ok()) std::cerr << "amendd: " << text.status().message() << std::endl;
  return text.ok() ? 0 : kFailed;
}

int Serve(amend::ServerOptions options, amend::StopSignals& signals) {
  amend::EventLog log(amend::LogOptionsOf(options));
  options.log = &log;
  auto server = amend::Server::Start(std::move(options));
  if (!server.ok()) {
    log.Write(amend::LogLevel::kError, "start_failed",
              {{"message", std::string(server.status().message())}});
    return kFailed;
  }
  const amend::MemoryWatch watch(&log);
  // Why it failed is in the log.
  signals.Serve([&] { (*server)->Reload().IgnoreError(); });
  std::cout << (*server)->ready_line() << std::endl;
  signals.WaitForStop();
  (*server)->Shutdown();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  amend::SetUpProcessMemory();
  amend::SetUpMemoryReserve();
  amend::KeepTensorsFromMemoryMargin();
  amend::StopSignals signals;
  amend::CommandLine command_line = amend::ParseCommandLine(argc, argv);
  if (command_line.exit_code.has_value()) {
    (*command_line.exit_code == 0 ? std::cout : std::cerr) << command_line.message << std::endl;
    return *command_line.exit_code;
  }
  if (command_line.check_config) return Check(command_line.options);
  return Serve(std::move(command_line.options), signals);
}
