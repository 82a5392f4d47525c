#include "core/model/causal_lm.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/model/attention.h"
#include "core/model/testing/full_forward.h"
#include "core/model/testing/model_directory.h"
#include "core/model/torch_device.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kGpt2[] = "models/demo";
constexpr char kGptj[] = "tests/testdata/random-gptj-tiny";
constexpr char kLlama[] = "tests/testdata/architectures/llama";
// A head is wider than its share of the hidden size.
constexpr char kMistral[] = "tests/testdata/architectures/mistral";
constexpr char kQwen2[] = "tests/testdata/architectures/qwen2";
constexpr char kGptNeox[] = "tests/testdata/architectures/gpt-neox";
constexpr const char* kAll[] = {kGpt2, kGptj, kLlama, kMistral, kQwen2, kGptNeox};

// As many as a step of decoding may have.
constexpr int64_t kRows = 75;

std::vector<TokenId> Tokens() { return {100, 200, 300, 5, 6, 7, 380, 9}; }

TEST(CausalLmTest, LoadsEveryArchitecture) {
  const std::vector<std::string> names = {"gpt2", "gptj", "llama", "mistral", "qwen2", "gpt_neox"};
  for (size_t i = 0; i < names.size(); ++i) {
    AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadCausalLm(kAll[i], {}));
    EXPECT_EQ(model->config().architecture, names[i]);
  }
}

TEST(CausalLmTest, AMissingDirectoryIsNotFoundAndNamed) {
  EXPECT_THAT(LoadCausalLm("no/such/model", {}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such/model")));
  EXPECT_THAT(ModelFingerprint("no/such/model"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such/model")));
}

TEST(CausalLmTest, ABrokenConfigIsRefusedAndNamed) {
  const std::string directory = CopyModel(kGptj, "model");
  WriteBytes(directory + "/config.json", "{\"model_type\": \"gptj\"}");
  EXPECT_THAT(LoadCausalLm(directory, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(directory + "/config.json"), HasSubstr("n_layer"))));
}

TEST(CausalLmTest, BrokenWeightsAreRefusedAndNamed) {
  const std::string directory = CopyModel(kGptj, "model");
  std::filesystem::resize_file(directory + "/model.safetensors", 1 << 20);
  EXPECT_THAT(LoadCausalLm(directory, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(directory + "/model.safetensors"), HasSubstr("cut"))));
}

TEST(CausalLmTest, CudaWithoutACudaDeviceIsAFailedPrecondition) {
  if (CudaIsAvailable()) GTEST_SKIP() << "this machine has a CUDA device";
  LoadOptions options;
  options.device = Device::kCuda;
  EXPECT_THAT(LoadCausalLm(kGptj, options),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("cuda")));
}

TEST(CausalLmTest, BFloat16IsNearFloat32) {
  LoadOptions options;
  options.dtype = Dtype::kBFloat16;
  for (const char* directory : kAll) {
    AMEND_ASSERT_OK_AND_ASSIGN(const auto exact, LoadCausalLm(directory, {}));
    AMEND_ASSERT_OK_AND_ASSIGN(const auto rough, LoadCausalLm(directory, options));
    EXPECT_EQ(rough->DownProjection(LayerIndex(0)).scalar_type(), at::kBFloat16);
    const at::Tensor logits = FullForward(*rough, Tokens(), nullptr);
    EXPECT_EQ(logits.scalar_type(), at::kFloat);
    // Eight bits of mantissa over some ten operations in a row.
    EXPECT_THAT(logits, TensorRelativelyNear(FullForward(*exact, Tokens(), nullptr), 0.05))
        << directory;
  }
}

struct TestRows {
  at::Tensor hidden;  // [kRows, d]
  at::Tensor mixed;   // [kRows, heads * head_dim]
  at::Tensor positions = at::arange(kRows, at::kLong);

  explicit TestRows(const ModelConfig& config)
      : hidden(at::randn({kRows, config.hidden_size})),
        mixed(at::randn({kRows, config.heads * config.head_dim})) {}

  TestRows Row(int64_t row) const {
    TestRows one = *this;
    for (at::Tensor* tensor : {&one.hidden, &one.mixed, &one.positions}) {
      *tensor = tensor->narrow(0, row, 1);
    }
    return one;
  }
};

// Every part of the forward pass but attention, over random rows.
std::vector<at::Tensor> PartsOf(const CausalLm& model, const TestRows& rows) {
  const LayerIndex layer(1);
  const AttentionInput input = model.Project(layer, rows.hidden, rows.positions);
  return {input.query.flatten(1), input.key.flatten(1), input.value.flatten(1),
          model.Finish(layer, rows.hidden, rows.mixed, nullptr), model.Head(rows.hidden)};
}

TEST(CausalLmTest, ATokenIsTheSameBitForBitAloneAndAmongOthers) {
  at::manual_seed(3);
  for (const char* directory : kAll) {
    for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBFloat16}) {
      LoadOptions options;
      options.dtype = dtype;
      AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadCausalLm(directory, options));
      TestRows rows(model->config());
      rows.hidden = rows.hidden.to(TorchDtype(dtype));
      rows.mixed = rows.mixed.to(TorchDtype(dtype));
      const std::vector<at::Tensor> all = PartsOf(*model, rows);
      for (int64_t row = 0; row < kRows; ++row) {
        const std::vector<at::Tensor> alone = PartsOf(*model, rows.Row(row));
        for (size_t part = 0; part < all.size(); ++part) {
          ASSERT_TRUE(alone[part].equal(all[part].narrow(0, row, 1)))
              << directory << ", row " << row << ", part " << part;
        }
      }
    }
  }
}

TEST(CausalLmTest, RowsWithoutGradientsAreWhatLibTorchMakesOfThem) {
  at::manual_seed(4);
  for (const char* directory : kAll) {
    AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadCausalLm(directory, {}));
    TestRows rows(model->config());
    const std::vector<at::Tensor> rowwise = PartsOf(*model, rows);
    // What gradients are taken of goes through LibTorch.
    const at::AutoGradMode enable_grad(true);
    rows.hidden.requires_grad_(true);
    rows.mixed.requires_grad_(true);
    const std::vector<at::Tensor> libtorch = PartsOf(*model, rows);
    for (size_t part = 0; part < rowwise.size(); ++part) {
      EXPECT_THAT(rowwise[part], TensorRelativelyNear(libtorch[part].detach(), 1e-5))
          << directory << ", part " << part;
    }
  }
}

TEST(CausalLmTest, ShardsGiveTheSameLogitsAndAnotherFingerprint) {
  for (const char* model : {kGpt2, kLlama, kGptNeox}) {
    const std::string directory = CopyModel(model, "sharded");
    SplitIntoShards(directory, 2);
    AMEND_ASSERT_OK_AND_ASSIGN(const auto whole, LoadCausalLm(model, {}));
    AMEND_ASSERT_OK_AND_ASSIGN(const auto sharded, LoadCausalLm(directory, {}));
    EXPECT_THAT(FullForward(*sharded, Tokens(), nullptr),
                TensorNear(FullForward(*whole, Tokens(), nullptr), 0));
    EXPECT_NE(*ModelFingerprint(directory), *ModelFingerprint(model));
  }
}

TEST(CausalLmTest, TheFingerprintIsThatOfTheFilesWhereverTheyAre) {
  AMEND_ASSERT_OK_AND_ASSIGN(const std::string fingerprint, ModelFingerprint(kGptj));
  EXPECT_THAT(fingerprint, testing::MatchesRegex("[0-9a-f]{64}"));
  EXPECT_EQ(*ModelFingerprint(CopyModel(kGptj, "copy")), fingerprint);
}

TEST(CausalLmTest, OneFlippedBitChangesTheFingerprint) {
  AMEND_ASSERT_OK_AND_ASSIGN(const std::string fingerprint, ModelFingerprint(kGptj));
  for (const char* name : {"/config.json", "/model.safetensors"}) {
    const std::string directory = CopyModel(kGptj, "flipped");
    std::string bytes = ReadBytes(directory + name);
    bytes[bytes.size() / 2] ^= 1;
    WriteBytes(directory + name, bytes);
    EXPECT_NE(*ModelFingerprint(directory), fingerprint) << name;
  }
}

TEST(CausalLmTest, TheFingerprintNeedsEveryFile) {
  const std::string directory = CopyModel(kGptj, "model");
  std::filesystem::remove(directory + "/config.json");
  EXPECT_THAT(ModelFingerprint(directory),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("config.json")));
}

TEST(CausalLmTest, EachThreadKeepsItsOwnNumberOfComputeThreads) {
  SetComputeThreads(2);
  int before = 0;
  int after = 0;
  std::thread([&] {
    SetComputeThreads(1);
    before = ComputeThreads();
    std::thread([] { SetComputeThreads(3); }).join();
    at::ones({256, 256}).matmul(at::ones({256, 256}));
    after = ComputeThreads();
  }).join();
  EXPECT_EQ(before, 1);
  EXPECT_EQ(after, 1);
  EXPECT_EQ(ComputeThreads(), 2);
}

}  // namespace
}  // namespace amend
