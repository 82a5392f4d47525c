#include "core/generation/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/generation/logit_scan.h"

namespace amend {
namespace {

absl::Status OutOfRange(const char* field, double value, const char* range) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, ", not ", range));
}

// Even in [0, 1), of 53 bits.
double Uniform(std::mt19937_64& generator) {
  return static_cast<double>(generator() >> 11) * 0x1p-53;
}

absl::Status NoFiniteLogit(size_t count) {
  return absl::InternalError(absl::StrCat("none of ", count, " logits is finite"));
}

}  // namespace

absl::Status ValidateSamplingParams(const SamplingParams& params) {
  if (!std::isfinite(params.temperature) || params.temperature < 0) {
    return OutOfRange("temperature", params.temperature, "a finite number of at least 0");
  }
  if (params.top_k < 0) return OutOfRange("top_k", params.top_k, "at least 0");
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return OutOfRange("top_p", params.top_p, "above 0 and at most 1");
  }
  if (!std::isfinite(params.repetition_penalty) || params.repetition_penalty <= 0) {
    return OutOfRange("repetition_penalty", params.repetition_penalty, "a finite number above 0");
  }
  return absl::OkStatus();
}

Sampler::Sampler(const SamplingParams& params) : params_(params), generator_(params.seed) {}

bool Sampler::Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

absl::StatusOr<SampledToken> Sampler::Sample(absl::Span<const float> logits,
                                             absl::Span<const TokenId> seen) {
  const BestLogit best = FindBestLogit(logits);
  if (best.id < 0) return NoFiniteLogit(logits.size());
  absl::Span<const float> adjusted = logits;
  if (params_.repetition_penalty != 1) {
    if (absl::Status status = Penalize(logits, seen); !status.ok()) return status;
    adjusted = adjusted_;
  }
  TokenId id = best.id;
  if (params_.temperature != 0) {
    id = Draw(adjusted);
  } else if (params_.repetition_penalty != 1) {
    id = FindBestLogit(adjusted).id;
  }
  return SampledToken{id, static_cast<float>(static_cast<double>(logits[id]) - best.logit -
                                             LogSumExpBelow(logits, best.logit))};
}

absl::Status Sampler::Penalize(absl::Span<const float> logits, absl::Span<const TokenId> seen) {
  adjusted_.assign(logits.begin(), logits.end());
  constexpr float kMax = std::numeric_limits<float>::max();
  for (TokenId id : seen) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) {
      return absl::InternalError(
          absl::StrCat("seen token ", id, " is outside the vocabulary of ", logits.size()));
    }
    const float logit = logits[id];
    if (!std::isfinite(logit)) continue;
    const float penalized =
        logit > 0 ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
    adjusted_[id] = std::clamp(penalized, -kMax, kMax);
  }
  return absl::OkStatus();
}

void Sampler::TakeCandidates(absl::Span<const float> logits) {
  candidates_.clear();
  const size_t top_k = static_cast<size_t>(params_.top_k);
  const bool all = top_k == 0 || top_k >= logits.size();
  // With top_k a heap of the best so far, the last of them on top. Few logits get past that one.
  for (size_t id = 0; id < logits.size(); ++id) {
    if (!std::isfinite(logits[id])) continue;
    const Candidate candidate{static_cast<TokenId>(id), logits[id], 0};
    if (all) {
      candidates_.push_back(candidate);
      continue;
    }
    if (candidates_.size() == top_k) {
      if (!Before(candidate, candidates_.front())) continue;
      std::pop_heap(candidates_.begin(), candidates_.end(), Before);
      candidates_.pop_back();
    }
    candidates_.push_back(candidate);
    std::push_heap(candidates_.begin(), candidates_.end(), Before);
  }
  if (!all) std::sort_heap(candidates_.begin(), candidates_.end(), Before);
}

TokenId Sampler::Draw(absl::Span<const float> logits) {
  TakeCandidates(logits);
  const double best = std::min_element(candidates_.begin(), candidates_.end(), Before)->logit;
  double total = 0;
  for (Candidate& candidate : candidates_) {
    candidate.weight = std::exp((candidate.logit - best) / params_.temperature);
    total += candidate.weight;
  }
  if (params_.top_p < 1) total = TruncateToTopP(total);

  double left = Uniform(generator_) * total;
  TokenId last = -1;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0) continue;
    last = candidate.id;
    left -= candidate.weight;
    if (left < 0) break;
  }
  return last;
}

double Sampler::TruncateToTopP(double total) {
  // Few tokens hold nearly all the weight: sort a growing beginning until it reaches top_p.
  size_t sorted = 0;
  double sum = 0;
  for (size_t block = 64; sorted < candidates_.size(); block *= 8) {
    const size_t end = std::min(candidates_.size(), sorted + block);
    const auto first = candidates_.begin() + sorted;
    const auto border = candidates_.begin() + end;
    if (border != candidates_.end()) std::nth_element(first, border, candidates_.end(), Before);
    std::sort(first, border, Before);
    for (; sorted < end; ++sorted) {
      sum += candidates_[sorted].weight;
      if (sum >= params_.top_p * total) {
        candidates_.resize(sorted + 1);
        return sum;
      }
    }
  }
  return sum;
}

}  // namespace amend
