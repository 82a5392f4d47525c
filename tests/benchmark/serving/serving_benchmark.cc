// Measures a running server from outside: inter-token latency while idle and while a batch is being
// solved, and how long a promotion or rollback takes up to the first token of the other revision:
// idle, beside running streams, and beside running streams and a batch that is being solved. Prints
// a table and one line of JSON.
//
//   serving_benchmark --server ADDR --edits FILE [--rounds 50] [--tokens 64] [--moves 200]
//                     [--streams 4] [--batch 20]
//
// FILE is one that `amend edit --file` takes; its edits become live on the server, under a session
// of their own. The batches that are solved beside label moves are staged and stay so.
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
  int moves = 200;
  int streams = 4;
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
    const double p90 = Percentile(seconds, 0.9) * 1e3;
    const double p99 = Percentile(seconds, 0.99) * 1e3;
    absl::PrintF("%-64s %8d %10.3f %10.3f %10.3f\n", what, seconds.size(), p50, p90, p99);
    json_[what] = {{"count", seconds.size()}, {"p50_ms", p50}, {"p90_ms", p90}, {"p99_ms", p99}};
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

absl::StatusOr<std::vector<v1::EditBatch>> ReadBatches(const Flags& flags) {
  const absl::StatusOr<std::vector<EditRecord>> edits = ReadEdits(flags.edits);
  if (!edits.ok()) return edits.status();
  std::vector<v1::EditBatch> batches;
  for (size_t i = 0; i < edits->size(); ++i) {
    if (i % flags.batch == 0) batches.emplace_back();
    *batches.back().add_edits() = (*edits)[i].edit;
  }
  if (batches.empty()) return absl::InvalidArgumentError("the file holds no edits");
  return batches;
}

absl::Status StreamEdits(Client& client, const std::vector<v1::EditBatch>& batches) {
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
  for (int round = 0; round < flags.moves; ++round) {
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

// Streams that run, and where wanted batches that are solved, until Stop().
class Load {
 public:
  Load(Client& client, const Flags& flags, const v1::EditBatch* batch) : times_(flags.streams) {
    Flags endless = flags;
    endless.rounds = 1 << 30;
    for (int i = 0; i < flags.streams; ++i) {
      threads_.emplace_back(
          [this, &client, endless, i] { times_[i] = InterTokenTimes(client, endless, stop_); });
    }
    if (batch == nullptr) return;
    threads_.emplace_back([this, &client, batch] {
      while (!stop_ && edited_.ok()) {
        v1::SubmitEditBatchRequest request;
        *request.mutable_batch() = *batch;
        request.set_promotion(v1::STAGE_ONLY);
        edited_ = client.SubmitEditBatch(request).status();
      }
    });
  }

  // The times between the tokens of all streams.
  absl::StatusOr<std::vector<double>> Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    if (!edited_.ok()) return edited_;
    std::vector<double> all;
    for (const std::vector<double>& times : times_)
      all.insert(all.end(), times.begin(), times.end());
    return all;
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::vector<double>> times_;
  absl::Status edited_;
  std::vector<std::thread> threads_;
};

// Label moves beside `streams` streams and, where `batch` is given, beside the solving of it.
absl::Status MeasureMoves(Client& client, Flags flags, const v1::EditBatch* batch,
                          const std::string& beside, int64_t newest, Report& report) {
  Load load(client, flags, batch);
  const absl::StatusOr<MoveTimes> times = MoveBackAndForth(client, flags, newest);
  const absl::StatusOr<std::vector<double>> tokens = load.Stop();
  if (!times.ok()) return times.status();
  if (!tokens.ok()) return tokens.status();
  report.Add(absl::StrCat("label move, until answered, ", beside), times->verb);
  report.Add(absl::StrCat("label move, until first token, ", beside), times->first_token);
  if (!tokens->empty()) {
    report.Add(absl::StrCat("inter-token, ", flags.streams, " streams, ", beside), *tokens);
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  const std::unique_ptr<Client> client = Client::Create(ClientOptions{flags.server});
  const absl::StatusOr<std::vector<v1::EditBatch>> batches = ReadBatches(flags);
  if (!batches.ok()) return batches.status();
  Report report;
  absl::PrintF("%-64s %8s %10s %10s %10s\n", "", "count", "p50 ms", "p90 ms", "p99 ms");
  std::atomic<bool> stop{false};
  report.Add("inter-token, one stream, idle", InterTokenTimes(*client, flags, stop));

  absl::Status edited;
  const absl::Time start = absl::Now();
  std::thread editing([&] {
    edited = StreamEdits(*client, *batches);
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
  const int64_t newest = info->live().revision();
  Flags alone = flags;
  alone.streams = 0;
  absl::Status status = MeasureMoves(*client, alone, nullptr, "idle", newest, report);
  if (!status.ok()) return status;
  status = MeasureMoves(*client, flags, nullptr, "streams", newest, report);
  if (!status.ok()) return status;
  status = MeasureMoves(*client, flags, &batches->front(), "streams and solving", newest, report);
  if (!status.ok()) return status;
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
  app.add_option("--rounds", flags.rounds, "streams of the idle server");
  app.add_option("--moves", flags.moves, "label moves");
  app.add_option("--streams", flags.streams, "streams beside label moves");
  app.add_option("--tokens", flags.tokens, "tokens of a stream");
  app.add_option("--batch", flags.batch, "edits per batch");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = amend::client::Run(flags);
  if (!status.ok()) std::cerr << status << std::endl;
  return status.ok() ? 0 : 1;
}
