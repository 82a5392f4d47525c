#include "server/security/principal_usage.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/errors.h"

namespace amend {
namespace {

// When a call ends is not known.
constexpr absl::Duration kCallsRetryDelay = absl::Seconds(1);

BucketLimit RequestLimit(const v1::PrincipalLimits& limits) {
  const double rate = limits.requests_per_second();
  const int burst = limits.request_burst();
  return {rate, burst > 0 ? burst : std::max(1.0, std::ceil(rate))};
}

BucketLimit PerMinute(int64_t amount) {
  return {static_cast<double>(amount) / 60, static_cast<double>(amount)};
}

absl::Status QuotaExceeded(absl::string_view quota, int64_t limit, absl::Duration wait) {
  return WithRetryDelay(
      WithReason(absl::ResourceExhaustedError(
                     absl::StrCat("the limit of this principal is used up: ", quota, " ", limit)),
                 "QUOTA_EXCEEDED", {{"quota", std::string(quota)}, {"limit", absl::StrCat(limit)}}),
      wait);
}

}  // namespace

absl::Status PrincipalUsage::BeginCall(const v1::PrincipalLimits& limits, bool generates,
                                       absl::Time now) {
  absl::MutexLock lock(&mutex_);
  if (limits.concurrent_calls() > 0 && calls_ >= limits.concurrent_calls()) {
    return QuotaExceeded("concurrent_calls", limits.concurrent_calls(), kCallsRetryDelay);
  }
  const int64_t tokens = limits.generated_tokens_per_minute();
  const absl::Duration until_tokens =
      generates ? tokens_.WaitFor(1, PerMinute(tokens), now) : absl::ZeroDuration();
  if (until_tokens > absl::ZeroDuration()) {
    return QuotaExceeded("generated_tokens_per_minute", tokens, until_tokens);
  }
  const absl::Duration until_request = requests_.Take(1, RequestLimit(limits), now);
  if (until_request > absl::ZeroDuration()) {
    return WithRetryDelay(
        WithReason(
            absl::ResourceExhaustedError(absl::StrCat(
                "this principal may begin ", limits.requests_per_second(), " calls a second")),
            "RATE_LIMITED", {{"requests_per_second", absl::StrCat(limits.requests_per_second())}}),
        until_request);
  }
  ++calls_;
  return absl::OkStatus();
}

void PrincipalUsage::EndCall() {
  absl::MutexLock lock(&mutex_);
  --calls_;
}

absl::Status PrincipalUsage::TakeEdits(const v1::PrincipalLimits& limits, int count,
                                       absl::Time now) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration wait = edits_.Take(count, PerMinute(limits.edits_per_minute()), now);
  if (wait == absl::ZeroDuration()) return absl::OkStatus();
  return QuotaExceeded("edits_per_minute", limits.edits_per_minute(), wait);
}

void PrincipalUsage::AddGeneratedTokens(const v1::PrincipalLimits& limits, int64_t count,
                                        absl::Time now) {
  absl::MutexLock lock(&mutex_);
  tokens_.Charge(static_cast<double>(count), PerMinute(limits.generated_tokens_per_minute()), now);
}

}  // namespace amend
