#ifndef AMEND_SERVER_SECURITY_TOKEN_BUCKET_H_
#define AMEND_SERVER_SECURITY_TOKEN_BUCKET_H_

#include <algorithm>

#include "absl/time/time.h"

namespace amend {

// What fills a bucket, and how much it holds. A rate of 0 is no limit.
struct BucketLimit {
  double per_second = 0;
  double capacity = 0;
};

// A token bucket: holds up to a capacity, fills at a rate, is full at the beginning. The limit is
// passed to each call, since it may change meanwhile. Times do not go back; one that does counts as
// the latest one. Not thread-safe.
class TokenBucket {
 public:
  // Takes `amount`, unless that would have to wait: returns how long then. More than the capacity
  // can be taken from a full bucket; it is below zero afterwards.
  absl::Duration Take(double amount, const BucketLimit& limit, absl::Time now) {
    const absl::Duration wait = WaitFor(amount, limit, now);
    if (wait == absl::ZeroDuration()) missing_ += amount;
    return wait;
  }

  // How long until `amount` could be taken; zero for now.
  absl::Duration WaitFor(double amount, const BucketLimit& limit, absl::Time now) {
    Fill(limit, now);
    if (limit.per_second <= 0) return absl::ZeroDuration();
    const double lacking = missing_ + std::min(amount, limit.capacity) - limit.capacity;
    // Rounding must not make a client wait that waited as long as it was told to.
    constexpr double kSlack = 1e-6;
    if (lacking <= kSlack) return absl::ZeroDuration();
    return absl::Seconds(lacking / limit.per_second);
  }

  // Takes `amount` whether it is there or not.
  void Charge(double amount, const BucketLimit& limit, absl::Time now) {
    Fill(limit, now);
    missing_ += amount;
  }

 private:
  void Fill(const BucketLimit& limit, absl::Time now) {
    const double seconds = filled_ < now ? absl::ToDoubleSeconds(now - filled_) : 0;
    filled_ = std::max(filled_, now);
    // Without a limit nothing is remembered.
    missing_ = limit.per_second <= 0 ? 0 : std::max(0.0, missing_ - seconds * limit.per_second);
  }

  // What the bucket lacks to be full; more than its capacity is a debt.
  double missing_ = 0;
  absl::Time filled_ = absl::InfinitePast();
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_TOKEN_BUCKET_H_
