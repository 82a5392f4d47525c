#ifndef AMEND_SERVER_GENERATION_VALIDATION_H_
#define AMEND_SERVER_GENERATION_VALIDATION_H_

// Pure functions that check requests of GenerationService and turn them into core terms. Errors are
// INVALID_ARGUMENT with the reason GENERATION_INVALID (PROMPT_TOO_LONG for a prompt that passes the
// context) and a field violation; messages name the field, its value and the limit.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "amend/v1/generation.pb.h"
#include "core/base/types.h"
#include "core/evaluation/scorer.h"
#include "core/generation/sampler.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

inline constexpr int kMaxStopStrings = 16;
inline constexpr int kMaxStopBytes = 256;
inline constexpr int kMaxScoreItems = 1024;

struct GenerationLimits {
  // Positions, prompt and generated tokens together.
  int context_length = 0;
  // Valid ids are 0 .. vocabulary_size - 1.
  int vocabulary_size = 0;
  // Bytes of the longest token: longer texts are turned away before they are tokenized.
  int max_token_bytes = 0;
  // What max_new_tokens = 0 means.
  int default_max_new_tokens = 64;
};

GenerationLimits MakeGenerationLimits(int context_length, int vocabulary_size,
                                      const Tokenizer& tokenizer);

// A GenerateRequest in core terms, without the revision.
struct GenerationPlan {
  // 1 .. context_length tokens.
  std::vector<TokenId> prompt;
  int max_new_tokens = 0;
  SamplingParams sampling;
  std::vector<std::string> stop;
};

absl::StatusOr<GenerationPlan> PlanGeneration(const v1::GenerateRequest& request,
                                              const Tokenizer& tokenizer,
                                              const GenerationLimits& limits);

// Each continuation is tokenized as " " + continuation, apart from its prompt.
absl::StatusOr<std::vector<ScoreItem>> PlanScore(const v1::ScoreRequest& request,
                                                 const Tokenizer& tokenizer,
                                                 const GenerationLimits& limits);

// INVALID_ARGUMENT, naming `field` and the byte, where `text` is not UTF-8.
absl::Status CheckUtf8(absl::string_view field, absl::string_view text);

}  // namespace amend

#endif  // AMEND_SERVER_GENERATION_VALIDATION_H_
