#include "server/generation_validation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/utf8.h"
#include "server/errors.h"

namespace amend {
namespace {

absl::Status Invalid(absl::string_view field, absl::string_view what) {
  return WithFieldViolations(
      WithReason(absl::InvalidArgumentError(absl::StrCat(field, ": ", what)), "GENERATION_INVALID"),
      {{std::string(field), std::string(what)}});
}

absl::Status TooLong(absl::string_view field, absl::string_view length, int context_length) {
  const std::string what =
      absl::StrCat("has ", length, " tokens, the model's context holds ", context_length);
  return WithFieldViolations(
      WithReason(
          absl::InvalidArgumentError(absl::StrCat(field, ": ", what)), "PROMPT_TOO_LONG",
          {{"tokens", std::string(length)}, {"context_length", absl::StrCat(context_length)}}),
      {{std::string(field), what}});
}

// Where a text stands in its sequence.
enum class TextPlace { kBeginning, kContinuation };

// Tokens of `text`, not empty and no more than the context.
absl::StatusOr<std::vector<TokenId>> TokensOf(absl::string_view field, absl::string_view text,
                                              TextPlace place, const Tokenizer& tokenizer,
                                              const GenerationLimits& limits) {
  AMEND_RETURN_IF_ERROR(CheckUtf8(field, text));
  if (text.empty()) return Invalid(field, "is empty");
  const int64_t bytes_per_token = std::max(limits.max_token_bytes, 1);
  const int64_t at_least = static_cast<int64_t>(text.size()) / bytes_per_token;
  if (at_least > limits.context_length) {
    return TooLong(field, absl::StrCat("at least ", at_least), limits.context_length);
  }
  std::vector<TokenId> tokens =
      place == TextPlace::kBeginning ? tokenizer.Encode(text) : tokenizer.EncodeContinuation(text);
  if (tokens.empty()) return Invalid(field, "has no tokens");
  if (tokens.size() > static_cast<size_t>(limits.context_length)) {
    return TooLong(field, absl::StrCat(tokens.size()), limits.context_length);
  }
  return tokens;
}

absl::StatusOr<std::vector<TokenId>> GivenTokens(const v1::GenerateRequest::TokenIds& given,
                                                 const GenerationLimits& limits) {
  if (given.ids().empty()) return Invalid("token_ids", "is empty");
  if (given.ids_size() > limits.context_length) {
    return TooLong("token_ids", absl::StrCat(given.ids_size()), limits.context_length);
  }
  for (int i = 0; i < given.ids_size(); ++i) {
    if (given.ids(i) < 0 || given.ids(i) >= limits.vocabulary_size) {
      return Invalid(absl::StrCat("token_ids.ids[", i, "]"),
                     absl::StrCat("is ", given.ids(i), ", the vocabulary has ids 0 to ",
                                  limits.vocabulary_size - 1));
    }
  }
  return std::vector<TokenId>(given.ids().begin(), given.ids().end());
}

absl::StatusOr<std::vector<TokenId>> PromptOf(const v1::GenerateRequest& request,
                                              const Tokenizer& tokenizer,
                                              const GenerationLimits& limits) {
  switch (request.input_case()) {
    case v1::GenerateRequest::kPrompt:
      return TokensOf("prompt", request.prompt(), TextPlace::kBeginning, tokenizer, limits);
    case v1::GenerateRequest::kTokenIds:
      return GivenTokens(request.token_ids(), limits);
    case v1::GenerateRequest::INPUT_NOT_SET:
      break;
  }
  return Invalid("prompt", "is missing: give prompt or token_ids");
}

absl::StatusOr<SamplingParams> SamplingOf(const v1::GenerateRequest& request) {
  SamplingParams params;
  params.temperature = request.temperature();
  params.top_k = request.top_k();
  params.top_p = request.top_p() == 0 ? 1.0f : request.top_p();
  params.repetition_penalty =
      request.repetition_penalty() == 0 ? 1.0f : request.repetition_penalty();
  params.seed = request.seed();
  // Written so that NaN fails.
  if (!(params.temperature >= 0 && params.temperature <= 1e6f)) {
    return Invalid("temperature", absl::StrCat("is ", params.temperature, ", not in [0, 1e6]"));
  }
  if (params.top_k < 0) return Invalid("top_k", absl::StrCat("is ", params.top_k, ", below 0"));
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return Invalid("top_p", absl::StrCat("is ", request.top_p(), ", not in (0, 1]"));
  }
  if (!(params.repetition_penalty > 0 && params.repetition_penalty <= 1e6f)) {
    return Invalid("repetition_penalty",
                   absl::StrCat("is ", params.repetition_penalty, ", not in (0, 1e6]"));
  }
  const absl::Status valid = ValidateSamplingParams(params);
  if (!valid.ok()) return WithReason(valid, "GENERATION_INVALID");
  return params;
}

absl::StatusOr<std::vector<std::string>> StopOf(const v1::GenerateRequest& request) {
  if (request.stop_size() > kMaxStopStrings) {
    return Invalid("stop", absl::StrCat("has ", request.stop_size(), " strings, the limit is ",
                                        kMaxStopStrings));
  }
  for (int i = 0; i < request.stop_size(); ++i) {
    const std::string field = absl::StrCat("stop[", i, "]");
    const std::string& stop = request.stop(i);
    if (stop.empty()) return Invalid(field, "is empty");
    if (stop.size() > kMaxStopBytes) {
      return Invalid(field,
                     absl::StrCat("has ", stop.size(), " bytes, the limit is ", kMaxStopBytes));
    }
    AMEND_RETURN_IF_ERROR(CheckUtf8(field, stop));
  }
  return std::vector<std::string>(request.stop().begin(), request.stop().end());
}

}  // namespace

GenerationLimits MakeGenerationLimits(int context_length, int vocabulary_size,
                                      const Tokenizer& tokenizer) {
  GenerationLimits limits;
  limits.context_length = context_length;
  limits.vocabulary_size = vocabulary_size;
  for (TokenId id = 0; id < tokenizer.vocabulary_size(); ++id) {
    limits.max_token_bytes =
        std::max(limits.max_token_bytes, static_cast<int>(tokenizer.TokenBytes(id).size()));
  }
  return limits;
}

absl::StatusOr<GenerationPlan> PlanGeneration(const v1::GenerateRequest& request,
                                              const Tokenizer& tokenizer,
                                              const GenerationLimits& limits) {
  GenerationPlan plan;
  if (request.max_new_tokens() < 0 || request.max_new_tokens() > limits.context_length) {
    return Invalid("max_new_tokens",
                   absl::StrCat("is ", request.max_new_tokens(),
                                ", not in 0 to the model's context of ", limits.context_length));
  }
  plan.max_new_tokens =
      request.max_new_tokens() == 0 ? limits.default_max_new_tokens : request.max_new_tokens();
  AMEND_ASSIGN_OR_RETURN(plan.sampling, SamplingOf(request));
  AMEND_ASSIGN_OR_RETURN(plan.stop, StopOf(request));
  AMEND_ASSIGN_OR_RETURN(plan.prompt, PromptOf(request, tokenizer, limits));
  return plan;
}

absl::StatusOr<std::vector<ScoreItem>> PlanScore(const v1::ScoreRequest& request,
                                                 const Tokenizer& tokenizer,
                                                 const GenerationLimits& limits) {
  if (request.items().empty() || request.items_size() > kMaxScoreItems) {
    return Invalid("items",
                   absl::StrCat("has ", request.items_size(), " items, not 1 to ", kMaxScoreItems));
  }
  std::vector<ScoreItem> items;
  items.reserve(request.items_size());
  for (int i = 0; i < request.items_size(); ++i) {
    const std::string field = absl::StrCat("items[", i, "]");
    const v1::ScoreRequest::Item& item = request.items(i);
    if (item.continuation().empty())
      return Invalid(absl::StrCat(field, ".continuation"), "is empty");
    ScoreItem planned;
    AMEND_ASSIGN_OR_RETURN(planned.prompt, TokensOf(absl::StrCat(field, ".prompt"), item.prompt(),
                                                    TextPlace::kBeginning, tokenizer, limits));
    AMEND_ASSIGN_OR_RETURN(
        planned.continuation,
        TokensOf(absl::StrCat(field, ".continuation"), absl::StrCat(" ", item.continuation()),
                 TextPlace::kContinuation, tokenizer, limits));
    const size_t total = planned.prompt.size() + planned.continuation.size();
    if (total > static_cast<size_t>(limits.context_length)) {
      return TooLong(field, absl::StrCat(total), limits.context_length);
    }
    items.push_back(std::move(planned));
  }
  return items;
}

absl::Status CheckUtf8(absl::string_view field, absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = FirstUtf8(text.substr(i));
    if (step.kind != Utf8Step::Kind::kValid) {
      return Invalid(field, absl::StrCat("is not valid UTF-8 at byte ", i));
    }
    i += step.length;
  }
  return absl::OkStatus();
}

}  // namespace amend
