#ifndef AMEND_CORE_GENERATION_SAMPLER_H_
#define AMEND_CORE_GENERATION_SAMPLER_H_

#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"

namespace amend {

// How the next token is chosen from logits.
struct SamplingParams {
  // 0 is greedy.
  float temperature = 0.0f;
  // 0 means all tokens.
  int top_k = 0;
  // In (0, 1]. The fewest most probable tokens that reach this sum stay, counted after temperature
  // and top_k.
  float top_p = 1.0f;
  // > 0; 1 is none. Divides positive and multiplies negative logits of tokens seen so far (CTRL,
  // arXiv 1909.05858), once each.
  float repetition_penalty = 1.0f;
  uint64_t seed = 0;
};

// INVALID_ARGUMENT, naming the field and its value, for a parameter outside its range or not a
// number.
absl::Status ValidateSamplingParams(const SamplingParams& params);

struct SampledToken {
  TokenId id = 0;
  // Log probability under the model's own distribution (before penalty, temperature and
  // truncation).
  float logprob = 0.0f;
};

// Chooses tokens for one sequence. The same params and logits give the same tokens, also with other
// standard libraries: draws are made here from the generator's bits. Logits that are not finite are
// never chosen. Not thread-safe; owned by the sequence.
class Sampler {
 public:
  // `params` are valid.
  explicit Sampler(const SamplingParams& params);

  // `logits` [vocabulary]; `seen` are the tokens of the prompt and those generated so far. Ties go
  // to the lowest id. INTERNAL when no logit is finite, or a seen token is outside the vocabulary.
  absl::StatusOr<SampledToken> Sample(absl::Span<const float> logits,
                                      absl::Span<const TokenId> seen);

 private:
  struct Candidate {
    TokenId id;
    float logit;    // after the penalty
    double weight;  // exp((logit - best) / temperature)
  };
  // More probable first, lower ids first among equals.
  static bool Before(const Candidate& a, const Candidate& b);

  // Fills adjusted_ with the logits after the penalty.
  absl::Status Penalize(absl::Span<const float> logits, absl::Span<const TokenId> seen);
  // Fills candidates_ with the finite ones of `logits`; with top_k the best of them, in order.
  void TakeCandidates(absl::Span<const float> logits);
  // Some logit is finite.
  TokenId Draw(absl::Span<const float> logits);
  // Cuts candidates_ to top_p of their `total` weight, and returns the weight that stays.
  double TruncateToTopP(double total);

  SamplingParams params_;
  std::mt19937_64 generator_;
  std::vector<float> adjusted_;        // reused from call to call
  std::vector<Candidate> candidates_;  // reused from call to call
};

}  // namespace amend

#endif  // AMEND_CORE_GENERATION_SAMPLER_H_
