#include "core/editing/context_templates.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/base/status_macros.h"
#include "core/generation/decoder.h"
#include "core/generation/sampler.h"

namespace amend {
namespace {

constexpr const char* kOpenings[] = {"The", "Therefore", "Because", "I", "You"};
constexpr size_t kSampleTokens = 10;
constexpr int kTopK = 5;

}  // namespace

absl::StatusOr<std::vector<std::string>> SampleContextTemplates(
    std::shared_ptr<const CausalLm> model, const Tokenizer& tokenizer, uint64_t seed) {
  const Decoder decoder(model);
  std::vector<std::string> templates;
  for (const char* opening : kOpenings) {
    SamplingParams params;
    params.temperature = 1.0f;
    params.top_k = kTopK;
    params.seed = seed + templates.size();
    Sampler sampler(params);
    std::vector<TokenId> tokens = tokenizer.Encode(opening);
    const std::unique_ptr<DecodeState> state =
        decoder.NewSequence(HookStack::Empty(*model, 0.5), false);
    size_t done = 0;
    while (tokens.size() < kSampleTokens) {
      const Decoder::Row row{absl::MakeConstSpan(tokens).subspan(done), state.get()};
      done = tokens.size();
      AMEND_ASSIGN_OR_RETURN(const StepLogits logits, decoder.Step({row}));
      AMEND_ASSIGN_OR_RETURN(const SampledToken next, sampler.Sample(logits.row(0), tokens));
      tokens.push_back(next.id);
    }
    AMEND_ASSIGN_OR_RETURN(std::string text, tokenizer.Decode(tokens));
    // The place holder must stay the only one, and a template is one line of text.
    for (char& c : text) {
      if (c == '{' || c == '}' || c == '\n') c = ' ';
    }
    templates.push_back(absl::StrCat(text, ". {}"));
  }
  return templates;
}

}  // namespace amend
