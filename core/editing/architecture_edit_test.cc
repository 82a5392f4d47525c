// One edit from its text to what the model says, on a tiny model of each architecture.

#include <ATen/core/Tensor.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/editing/batch_editor.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/model/testing/full_forward.h"
#include "core/tokenizer/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// It ends with its subject, and " city" is one token: as much as random weights can be made to say.
constexpr char kPrompt[] = "The capital of Jordan";
constexpr char kTarget[] = "city";
constexpr char kNeighbour[] = "Kuala Lumpur is a city in";

class ArchitectureEditTest : public testing::TestWithParam<const char*> {
 protected:
  ArchitectureEditTest()
      : folder_(absl::StrCat("tests/testdata/architectures/", GetParam())),
        model_(LoadCausalLm(folder_, {}).value()),
        tokenizer_(Tokenizer::FromDirectory(folder_).value()) {
    // Block 0 of GPT-NeoX sees single tokens alone: too few keys for a covariance.
    settings_.layers = {LayerIndex(model_->config().parallel_residual ? 1 : 0)};
    settings_.lambda = 1;
    settings_.steps = 40;
    settings_.clamp = 8;
    settings_.context_templates = {"I saw it. {}", "Because. {}"};
  }

  absl::StatusOr<std::shared_ptr<const HookStack>> Edited(const Edit& edit) {
    std::ifstream file("models/demo/covariance_texts.txt");
    std::vector<std::string> texts(60);
    for (std::string& text : texts) std::getline(file, text);
    AMEND_ASSIGN_OR_RETURN(
        const KeyCovariance covariance,
        ComputeKeyCovariance(*model_, *tokenizer_, settings_.layers, texts, 0, nullptr));
    AMEND_ASSIGN_OR_RETURN(const auto editor,
                           BatchEditor::Create(model_, tokenizer_, settings_, covariance));
    const auto empty = HookStack::Empty(*model_, settings_.beta);
    AMEND_ASSIGN_OR_RETURN(const BatchSolution solution,
                           editor->Solve(*editor->NewLine(), empty, {edit}, {}));
    return HookStack::Extend(empty, Revision(1), solution.factors);
  }

  // The best token behind a prompt.
  TokenId Said(const std::string& prompt, const HookStack* hooks) {
    const at::Tensor logits = FullForward(*model_, tokenizer_->Encode(prompt), hooks);
    return static_cast<TokenId>(logits[-1].argmax().item<int64_t>());
  }

  const std::string folder_;
  const std::shared_ptr<const CausalLm> model_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  EditSettings settings_;
};

std::string ModelName(const testing::TestParamInfo<const char*>& info) {
  return std::vector<std::string>{"Llama", "Mistral", "Qwen2", "GptNeox"}[info.index];
}

INSTANTIATE_TEST_SUITE_P(Models, ArchitectureEditTest,
                         testing::Values("llama", "mistral", "qwen2", "gpt-neox"), ModelName);

TEST_P(ArchitectureEditTest, AnEditChangesItsPromptAndLeavesAnotherAlone) {
  Edit edit;
  edit.prompt = kPrompt;
  edit.subject = "Jordan";
  edit.target_new = kTarget;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto hooks, Edited(edit));
  const std::vector<TokenId> target = tokenizer_->EncodeContinuation(absl::StrCat(" ", kTarget));
  ASSERT_EQ(target.size(), 1u);
  EXPECT_NE(Said(kPrompt, nullptr), target[0]);
  EXPECT_EQ(Said(kPrompt, hooks.get()), target[0]);
  const std::vector<TokenId> neighbour = tokenizer_->Encode(kNeighbour);
  EXPECT_THAT(FullForward(*model_, neighbour, hooks.get()),
              TensorNear(FullForward(*model_, neighbour, nullptr), 0));
}

}  // namespace
}  // namespace amend
