#include "client/load_generator.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/errors.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

constexpr absl::Duration kProgressPeriod = absl::Milliseconds(200);

// A request that is to begin.
struct Arrival {
  int64_t number = 0;
  absl::Time time;
};

// What one request came to.
struct Answer {
  absl::Status status;
  absl::Time begin, first_token, end;
  std::vector<double> gaps;
  int64_t tokens = 0;
  v1::Usage usage;
};

// Shared by the streams. Thread-safe.
class Load {
 public:
  Load(Client* client, const LoadOptions& options)
      : client_(client), options_(options), start_(absl::Now()), random_(options.seed) {}

  // One stream: until there is nothing more to ask.
  void RunStream() {
    while (const std::optional<Arrival> arrival = NextArrival()) {
      const absl::Duration early = arrival->time - absl::Now();
      if (early > absl::ZeroDuration()) absl::SleepFor(early);
      Add(*arrival, Ask(*arrival), early < absl::ZeroDuration());
    }
    absl::MutexLock lock(&mutex_);
    ++ended_streams_;
  }

  // False while streams run.
  bool AwaitEnd(absl::Duration at_most) {
    absl::MutexLock lock(&mutex_);
    const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return ended_streams_ == options_.streams;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&ended), at_most);
  }

  LoadProgress progress() {
    absl::MutexLock lock(&mutex_);
    return {started_, report_.done, report_.failed, report_.tokens, absl::Now() - start_};
  }

  // Once all streams have ended.
  LoadReport TakeReport() {
    absl::MutexLock lock(&mutex_);
    report_.to_first_token = Distribution(std::move(to_first_token_));
    report_.between_tokens = Distribution(std::move(between_tokens_));
    report_.request = Distribution(std::move(request_));
    report_.seconds = std::max(0.0, absl::ToDoubleSeconds(last_end_ - first_begin_));
    return std::move(report_);
  }

 private:
  bool open_loop() const { return options_.rate > 0; }

  std::optional<Arrival> NextArrival() {
    absl::MutexLock lock(&mutex_);
    absl::Time time = absl::Now();
    if (open_loop()) {
      // In (0, 1].
      const double uniform = (static_cast<double>(random_() >> 11) + 1) / (1ull << 53);
      next_arrival_ += absl::Seconds(-std::log(uniform) / options_.rate);
      time = start_ + next_arrival_;
    }
    if (started_ >= options_.warmup + options_.requests || time - start_ > options_.duration) {
      return std::nullopt;
    }
    return Arrival{started_++, time};
  }

  Answer Ask(const Arrival& arrival) {
    v1::GenerateRequest request = options_.request;
    request.set_prompt(options_.prompts[arrival.number % options_.prompts.size()]);
    request.set_seed(options_.request.seed() + arrival.number);
    Answer answer;
    answer.begin = open_loop() ? arrival.time : absl::Now();
    absl::Time last;
    answer.status =
        client_->GenerateStream(request, [&](const v1::GenerateStreamResponse& message) {
          const absl::Time now = absl::Now();
          if (message.has_usage()) answer.usage = message.usage();
          const int count = message.token_ids_size();
          if (count == 0) return;
          if (answer.tokens == 0) {
            answer.first_token = now;
          } else {
            answer.gaps.insert(answer.gaps.end(), count, absl::ToDoubleSeconds(now - last) / count);
          }
          answer.tokens += count;
          last = now;
        });
    answer.end = absl::Now();
    return answer;
  }

  void Add(const Arrival& arrival, const Answer& answer, bool late) {
    absl::MutexLock lock(&mutex_);
    if (arrival.number < options_.warmup) return;
    first_begin_ = std::min(first_begin_, answer.begin);
    last_end_ = std::max(last_end_, answer.end);
    if (late && open_loop()) ++report_.late;
    report_.tokens += answer.tokens;
    if (!answer.status.ok()) {
      if (report_.failed++ == 0) report_.first_error = answer.status;
      ++report_.errors[absl::StrCat(absl::StatusCodeToString(answer.status.code()), " ",
                                    ErrorReason(answer.status))];
      return;
    }
    ++report_.done;
    report_.prompt_tokens += answer.usage.prompt_tokens();
    report_.cached_prompt_tokens += answer.usage.cached_prompt_tokens();
    request_.push_back(absl::ToDoubleSeconds(answer.end - answer.begin));
    if (answer.tokens > 0) {
      to_first_token_.push_back(absl::ToDoubleSeconds(answer.first_token - answer.begin));
    }
    between_tokens_.insert(between_tokens_.end(), answer.gaps.begin(), answer.gaps.end());
  }

  Client* const client_;
  const LoadOptions& options_;
  const absl::Time start_;

  absl::Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  absl::Duration next_arrival_ ABSL_GUARDED_BY(mutex_);
  int64_t started_ ABSL_GUARDED_BY(mutex_) = 0;
  int ended_streams_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time first_begin_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  absl::Time last_end_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::vector<double> to_first_token_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> between_tokens_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> request_ ABSL_GUARDED_BY(mutex_);
  LoadReport report_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

Distribution::Distribution(std::vector<double> values) : values_(std::move(values)) {
  std::sort(values_.begin(), values_.end());
}

double Distribution::Percentile(double share) const {
  if (values_.empty()) return 0;
  const auto rank = static_cast<int64_t>(std::ceil(share * static_cast<double>(values_.size())));
  return values_[std::clamp<int64_t>(rank - 1, 0, static_cast<int64_t>(values_.size()) - 1)];
}

double Distribution::mean() const {
  if (values_.empty()) return 0;
  double sum = 0;
  for (const double value : values_) sum += value;
  return sum / static_cast<double>(values_.size());
}

LoadReport RunLoad(Client* client, const LoadOptions& options) {
  Load load(client, options);
  std::vector<std::thread> streams;
  for (int i = 0; i < options.streams; ++i) streams.emplace_back([&load] { load.RunStream(); });
  while (!load.AwaitEnd(kProgressPeriod)) {
    if (options.progress) options.progress(load.progress());
  }
  for (std::thread& stream : streams) stream.join();
  return load.TakeReport();
}

}  // namespace amend::client
