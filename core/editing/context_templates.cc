#include "core/editing/context_templates.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "core/base/status_macros.h"
#include "core/base/utf8.h"
#include "core/generation/decoder.h"
#include "core/generation/sampler.h"

namespace amend {
namespace {

constexpr const char* kOpenings[] = {"The", "Therefore", "Because", "I", "You"};
constexpr size_t kSampleTokens = 10;
constexpr int kTopK = 5;

// The place holder must stay the only one, and a template is one line of valid UTF-8: a sample may
// end, or go wrong, within a character.
std::string OneLine(absl::string_view text) {
  std::string result;
  while (!text.empty()) {
    const Utf8Step step = FirstUtf8(text);
    const bool control = static_cast<unsigned char>(text[0]) < ' ' || text[0] == '\x7f';
    if (step.kind != Utf8Step::Kind::kValid || control || text[0] == '{' || text[0] == '}') {
      result += ' ';
    } else {
      result.append(text.data(), step.length);
    }
    text.remove_prefix(step.length);
  }
  return result;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SampleContextTemplates(
    std::shared_ptr<const CausalLm> model, const Tokenizer& tokenizer, uint64_t seed) {
  Decoder decoder(model);
  std::vector<std::string> templates;
  for (const char* opening : kOpenings) {
    SamplingParams params;
    params.temperature = 1.0f;
    params.top_k = kTopK;
    params.seed = seed + templates.size();
    Sampler sampler(params);
    std::vector<TokenId> tokens = tokenizer.Encode(opening);
    const size_t beginning = tokenizer.beginning().size();
    const std::unique_ptr<DecodeState> state =
        decoder.NewSequence(HookStack::Empty(*model, 0.5), false);
    size_t done = 0;
    while (tokens.size() < beginning + kSampleTokens) {
      const Decoder::Row row{absl::MakeConstSpan(tokens).subspan(done), state.get()};
      done = tokens.size();
      AMEND_ASSIGN_OR_RETURN(const StepLogits logits, decoder.Step({row}));
      AMEND_ASSIGN_OR_RETURN(const SampledToken next, sampler.Sample(logits.row(0), tokens));
      tokens.push_back(next.id);
    }
    // The beginning and the end of a text are no text: written out, they would be read back as
    // their characters.
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<int64_t>(beginning));
    const std::vector<TokenId>& ends = model->config().end_of_text_ids;
    tokens.erase(
        std::remove_if(tokens.begin(), tokens.end(),
                       [&](TokenId id) { return std::count(ends.begin(), ends.end(), id) > 0; }),
        tokens.end());
    AMEND_ASSIGN_OR_RETURN(const std::string text, tokenizer.Decode(tokens));
    // A space that the tokenizer puts before every text is put there again.
    templates.push_back(absl::StrCat(absl::StripPrefix(OneLine(text), " "), ". {}"));
  }
  return templates;
}

}  // namespace amend
