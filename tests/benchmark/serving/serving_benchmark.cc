// Measures a running server from outside: inter-token latency while idle and while a batch is being
// solved, and how long a promotion or rollback takes up to the first token of the other revision.
// Prints a table and one line of JSON.
//
//   serving_benchmark --server ADDR --edits FILE [--rounds 50] [--tokens 64]
//
// FILE is one that `amend edit --file` takes; its edits become live on the server, under a session
// of their own.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/dataset.h"
#include "client/edit_stream.h"
#include "nlohmann/json.hpp"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

struct Flags {
  std::string server = "127.0.0.1:50051";
  std::string edits;
  int rounds = 50;
  int tokens = 64;
  int batch = 20;
};

// Prompts that end late: the sampled text runs to the token limit more often than a fact's greedy
// answer.
v1::GenerateRequest LongRequest(const Flags& flags, uint64_t seed) {
  v1::GenerateRequest request;
  request.set_prompt("The");
  request.set_max_new_tokens(flags.tokens);
  request.set_temperature(1.0f);
  request.set_seed(seed);
  return request;
}

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * values.size()))];
}

class Report {
 public:
  void Add(const std::string& what, const std::vector<double>& seconds) {
    const double p50 = Percentile(seconds, 0.5) * 1e3;
    const double p99 = Percentile(seconds, 0.99) * 1e3;
    absl::PrintF("%-46s %8d %10.3f %10.3f\n", what, seconds.size(), p50, p99);
    json_[what] = {{"count", seconds.size()}, {"p50_ms", p50}, {"p99_ms", p99}};
  }
  void Print() const { std::cout << json_.dump() << std::endl; }

 private:
  nlohmann::ordered_json json_;
};

// Times between the messages of `rounds` streams, or of as many as fit until `stop`.
std::vector<double> InterTokenTimes(Client& client, const Flags& flags,
                                    const std::atomic<bool>& stop) {
  std::vector<double> times;
  for (int round = 0; round < flags.rounds && !stop; ++round) {
    absl::Time last = absl::InfinitePast();
    const absl::Status status = client.GenerateStream(
        LongRequest(flags, round), [&](const v1::GenerateStreamResponse& message) {
          const absl::Time now = absl::Now();
          if (message.token_ids_size() > 0 && last != absl::InfinitePast()) {
            times.push_back(absl::ToDoubleSeconds(now - last) / message.token_ids_size());
          }
          last = now;
        });
    if (!status.ok()) {
      std::cerr << status << std::endl;
      break;
    }
  }
  return times;
}

class SilentObserver : public EditStreamObserver {
  void OnStarted(int64_t) override {}
  void OnBatch(const v1::EditBatchStatus&) override {}
  void OnReconnect(int, const absl::Status&, absl::Duration) override {}
};

absl::Status StreamEdits(Client& client, const Flags& flags) {
  const absl::StatusOr<std::vector<EditRecord>> edits = ReadEdits(flags.edits);
  if (!edits.ok()) return edits.status();
  std::vector<v1::EditBatch> batches;
  for (size_t i = 0; i < edits->size(); ++i) {
    if (i % flags.batch == 0) batches.emplace_back();
    *batches.back().add_edits() = (*edits)[i].edit;
  }
  EditStreamOptions options;
  options.session = absl::StrCat("benchmark-", absl::ToUnixMicros(absl::Now()));
  SilentObserver observer;
  return client.StreamEdits(options, batches, &observer).status();
}

// Seconds of the verb, and from its start to the first token of the revision that it moved to.
struct MoveTimes {
  std::vector<double> verb;
  std::vector<double> first_token;
};

absl::StatusOr<MoveTimes> MoveBackAndForth(Client& client, const Flags& flags, int64_t newest) {
  MoveTimes times;
  for (int round = 0; round < flags.rounds; ++round) {
    const absl::Time start = absl::Now();
    absl::Status status;
    if (round % 2 == 0) {
      v1::RollbackRequest request;
      request.set_revision(0);
      request.set_reason("benchmark");
      status = client.Rollback(request).status();
    } else {
      v1::PromoteRequest request;
      request.set_revision(newest);
      status = client.Promote(request).status();
    }
    if (!status.ok()) return status;
    times.verb.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    v1::GenerateRequest request = LongRequest(flags, round);
    request.set_max_new_tokens(1);
    const absl::StatusOr<v1::GenerateResponse> answer = client.Generate(request);
    if (!answer.ok()) return answer.status();
    const int64_t wanted = round % 2 == 0 ? 0 : newest;
    if (answer->revision() != wanted) {
      return absl::InternalError(
          absl::StrCat("revision ", answer->revision(), " answered, not ", wanted));
    }
    times.first_token.push_back(absl::ToDoubleSeconds(absl::Now() - start));
  }
  return times;
}

absl::Status Run(const Flags& flags) {
  const std::unique_ptr<Client> client = Client::Create(ClientOptions{flags.server});
  Report report;
  absl::PrintF("%-46s %8s %10s %10s\n", "", "count", "p50 ms", "p99 ms");
  std::atomic<bool> stop{false};
  report.Add("inter-token, one stream, idle", InterTokenTimes(*client, flags, stop));

  absl::Status edited;
  const absl::Time start = absl::Now();
  std::thread editing([&] {
    edited = StreamEdits(*client, flags);
    stop = true;
  });
  Flags endless = flags;
  endless.rounds = 1 << 30;
  const std::vector<double> while_solving = InterTokenTimes(*client, endless, stop);
  editing.join();
  if (!edited.ok()) return edited;
  report.Add("inter-token, one stream, while solving", while_solving);
  absl::PrintF("the edits took %.2f s meanwhile\n", absl::ToDoubleSeconds(absl::Now() - start));

  const absl::StatusOr<v1::ServerInfo> info = client->GetServerInfo();
  if (!info.ok()) return info.status();
  absl::StatusOr<MoveTimes> times = MoveBackAndForth(*client, flags, info->live().revision());
  if (!times.ok()) return times.status();
  report.Add("promotion or rollback, until answered", times->verb);
  report.Add("promotion or rollback, until first token", times->first_token);
  report.Print();
  return absl::OkStatus();
}

}  // namespace
}  // namespace amend::client

int main(int argc, char** argv) {
  amend::client::Flags flags;
  CLI::App app(
      "Measures a running server: latencies while idle, while editing, and of label moves.");
  app.add_option("--server", flags.server, "HOST:PORT");
  app.add_option("--edits", flags.edits, "file of edits")->required();
  app.add_option("--rounds", flags.rounds, "streams and label moves");
  app.add_option("--tokens", flags.tokens, "tokens of a stream");
  app.add_option("--batch", flags.batch, "edits per batch");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = amend::client::Run(flags);
  if (!status.ok()) std::cerr << status << std::endl;
  return status.ok() ? 0 : 1;
}
