#ifndef AMEND_CLIENT_LOAD_GENERATOR_H_
#define AMEND_CLIENT_LOAD_GENERATOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "amend/v1/generation.pb.h"
#include "client/client.h"

namespace amend::client {

struct LoadProgress {
  int64_t started = 0;
  int64_t done = 0;
  int64_t failed = 0;
  int64_t tokens = 0;
  absl::Duration elapsed;
};

struct LoadOptions {
  // Taken in turn. Not empty.
  std::vector<std::string> prompts;
  // Of every request, but for its prompt; its seed counts up from here.
  amend::v1::GenerateRequest request;
  // Closed loop: so many streams, each of which asks again once it is answered. Open loop: so many
  // requests at a time at most.
  int streams = 4;
  // Requests a second. Above 0 the loop is open: requests come at random (Poisson), however long
  // the earlier ones take.
  double rate = 0;
  // Of the arrivals.
  uint64_t seed = 0;
  // The load ends after so many requests, or when no more begin after this time.
  int64_t requests = 100;
  absl::Duration duration = absl::InfiniteDuration();
  // The first ones are not counted.
  int64_t warmup = 0;
  // Called now and then by the thread of RunLoad. May be null.
  std::function<void(const LoadProgress&)> progress;
};

// Numbers in seconds, by size. A value.
class Distribution {
 public:
  Distribution() = default;
  explicit Distribution(std::vector<double> values);

  size_t count() const { return values_.size(); }
  // The smallest value that `share` (in [0, 1]) of them do not exceed; 0 without values.
  double Percentile(double share) const;
  double mean() const;
  double max() const { return values_.empty() ? 0 : values_.back(); }

 private:
  std::vector<double> values_;
};

struct LoadReport {
  int64_t done = 0;
  int64_t failed = 0;
  // By code and reason.
  std::map<std::string, int64_t> errors;
  // The first of them; OK when none failed.
  absl::Status first_error;
  // Open loop: requests that began late because `streams` others were running.
  int64_t late = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_prompt_tokens = 0;
  int64_t tokens = 0;
  // From the beginning of the first counted request to the end of the last one.
  double seconds = 0;
  // From when the request was to begin, so that waiting for a stream counts.
  Distribution to_first_token;
  // Between messages of one answer; a message with several tokens counts as so many equal parts.
  Distribution between_tokens;
  Distribution request;
};

// Asks the server as the options say and measures, with a thread a stream. Returns once all
// requests have ended.
LoadReport RunLoad(Client* client, const LoadOptions& options);

}  // namespace amend::client

#endif  // AMEND_CLIENT_LOAD_GENERATOR_H_
