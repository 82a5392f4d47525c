#include "core/editing/merged_checkpoint.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/digest.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/stacked_factors.h"
#include "core/editing/testing/random_model.h"
#include "core/model/checkpoint.h"
#include "core/model/hook_point.h"
#include "core/model/model_config.h"
#include "core/model/testing/full_forward.h"
#include "core/model/testing/model_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

// A model directory in a dtype, with a tokenizer file and one that is nobody's business.
struct Case {
  const char* source;
  at::ScalarType dtype;
};
constexpr Case kCases[] = {{"models/demo", at::kFloat},
                           {"models/demo", at::kHalf},
                           {"tests/testdata/random-gptj-tiny", at::kFloat},
                           {"tests/testdata/random-gptj-tiny", at::kBFloat16},
                           {"tests/testdata/architectures/llama", at::kBFloat16},
                           {"tests/testdata/architectures/qwen2", at::kFloat},
                           {"tests/testdata/architectures/gpt-neox", at::kHalf}};

std::map<std::string, at::Tensor> TensorsOf(const std::string& file) {
  std::map<std::string, at::Tensor> tensors;
  const auto opened = SafetensorsFile::Open(file);
  EXPECT_THAT(opened, IsOk());
  for (const std::string& name : (*opened)->TensorNames()) tensors[name] = *(*opened)->Read(name);
  return tensors;
}

std::string MakeModel(const Case& of, const std::string& name) {
  const std::string directory = FreshDirectory(name);
  for (const char* file : {"/config.json", "/tokenizer.json"}) {
    WriteBytes(directory + file, ReadBytes(std::string(of.source) + file));
  }
  WriteBytes(directory + "/covariance_texts.txt", "not a part of a checkpoint");
  auto tensors = TensorsOf(std::string(of.source) + "/model.safetensors");
  for (auto& [tensor, values] : tensors) values = values.to(of.dtype);
  EXPECT_THAT(WriteSafetensors(tensors, directory + "/model.safetensors", {{"from", "a test"}}),
              IsOk());
  return directory;
}

// A model of a directory with edits in two layers, in two revisions.
struct Edited {
  explicit Edited(const std::string& directory) {
    auto loaded = LoadCausalLm(directory, LoadOptions());
    EXPECT_THAT(loaded, IsOk());
    model = *std::move(loaded);
    options.model_directory = directory;
    options.model_fingerprint = *ModelFingerprint(directory);
    options.revision = Revision(2);
    hooks = HookStack::Empty(*model, 0.5);
    RandomModelShape shape;
    shape.hidden = model->config().hidden_size;
    for (int64_t i = 1; i <= 2; ++i) {
      auto extended = HookStack::Extend(hooks, Revision(i), RandomFactors(shape, {0, 1}, 3, i));
      EXPECT_THAT(extended, IsOk());
      hooks = *std::move(extended);
    }
  }

  std::shared_ptr<const CausalLm> model;
  std::shared_ptr<const HookStack> hooks;
  MergedCheckpoint::Options options;
};

// Writes all pieces below `directory`, checking what they say of themselves.
absl::Status WriteExport(MergedCheckpoint& merged, int64_t piece_bytes,
                         const std::string& directory) {
  std::vector<std::string> files(merged.files().size());
  std::vector<std::string> digests(merged.files().size());
  while (true) {
    auto piece = merged.Next();
    if (!piece.ok()) return piece.status();
    if (!piece->has_value()) break;
    EXPECT_LE(static_cast<int64_t>((*piece)->bytes.size()), piece_bytes);
    files.at((*piece)->file) += (*piece)->bytes;
    digests.at((*piece)->file) += (*piece)->sha256;
  }
  for (size_t i = 0; i < files.size(); ++i) {
    EXPECT_EQ(static_cast<int64_t>(files[i].size()), merged.files()[i].size);
    EXPECT_EQ(Sha256Hex(files[i]), digests[i]) << merged.files()[i].name;
    WriteBytes(directory + "/" + merged.files()[i].name, files[i]);
  }
  return absl::OkStatus();
}

std::string Export(const Edited& edited, const std::string& name) {
  const std::string directory = FreshDirectory(name);
  auto merged = MergedCheckpoint::Create(edited.options, *edited.model, edited.hooks);
  EXPECT_THAT(merged, IsOk());
  EXPECT_THAT(WriteExport(**merged, edited.options.piece_bytes, directory), IsOk());
  return directory;
}

// The edits of `hooks`, each always on.
class AlwaysOn : public DownProjectionHook {
 public:
  explicit AlwaysOn(const HookStack& hooks) : hooks_(hooks) {}
  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    StackedFactors factors = hooks_.LayerFactorsOf(layer);
    factors.threshold = at::Tensor();
    return factors.empty() ? output : ApplyFactors(factors, input, output).output;
  }

 private:
  const HookStack& hooks_;
};

class MergedCheckpointTest : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(Models, MergedCheckpointTest, testing::ValuesIn(kCases),
                         [](const auto& info) {
                           const auto config = ReadModelConfig(info.param.source);
                           return config->architecture + toString(info.param.dtype);
                         });

TEST_P(MergedCheckpointTest, EditedTensorsAreTheDenseSumAndAllOthersAreAsTheyWere) {
  const Edited edited(MakeModel(GetParam(), "model"));
  const std::string out = Export(edited, "out");
  auto before = TensorsOf(edited.options.model_directory + "/model.safetensors");
  const auto after = TensorsOf(out + "/model.safetensors");
  ASSERT_EQ(after.size(), before.size());
  for (const int layer : {0, 1}) {
    const StoredProjection stored = edited.model->StoredDownProjection(LayerIndex(layer));
    const StackedFactors factors = edited.hooks->LayerFactorsOf(LayerIndex(layer));
    at::Tensor update = factors.u.to(at::kDouble).t().mm(factors.v.to(at::kDouble));  // [out, in]
    if (stored.layout == ProjectionLayout::kInOut) update = update.t();
    const std::string name = before.count(stored.tensor) > 0
                                 ? stored.tensor
                                 : stored.tensor.substr(std::string("transformer.").size());
    ASSERT_EQ(before.count(name), 1u) << name;
    const at::Tensor expected = before[name].to(at::kDouble) + update;
    EXPECT_EQ(after.at(name).scalar_type(), GetParam().dtype);
    const double epsilon = GetParam().dtype == at::kBFloat16 ? 0x1p-8
                           : GetParam().dtype == at::kHalf   ? 0x1p-11
                                                             : 0x1p-24;
    EXPECT_LE(RelativeDifference(after.at(name), expected), 1.001 * epsilon);
    EXPECT_GT(RelativeDifference(after.at(name), before[name]), 0.01);
    before.erase(name);
  }
  for (const auto& [name, tensor] : before) EXPECT_TRUE(at::equal(after.at(name), tensor)) << name;
}

TEST_P(MergedCheckpointTest, TheMergedModelAnswersAsTheEditsWouldAlwaysOn) {
  const Edited edited(MakeModel(GetParam(), "model"));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto merged, LoadCausalLm(Export(edited, "out"), LoadOptions()));
  const std::vector<TokenId> tokens = {5, 17, 3, 44, 8, 90, 2};
  const AlwaysOn always_on(*edited.hooks);
  const at::Tensor expected = FullForward(*edited.model, tokens, &always_on);
  const double tolerance = GetParam().dtype == at::kFloat ? 1e-5 : 0.05;
  EXPECT_LE(RelativeDifference(FullForward(*merged, tokens, nullptr), expected), tolerance);
  // The scope makes a difference: not every edit fires at every token.
  EXPECT_GT(RelativeDifference(FullForward(*edited.model, tokens, edited.hooks.get()), expected),
            2 * tolerance);
}

TEST_P(MergedCheckpointTest, TheHeaderSaysWhatItIs) {
  const Edited edited(MakeModel(GetParam(), "model"));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file,
                             SafetensorsFile::Open(Export(edited, "out") + "/model.safetensors"));
  EXPECT_EQ(file->metadata().at("format"), "pt");
  EXPECT_EQ(file->metadata().at("from"), "a test");
  EXPECT_EQ(file->metadata().at("amend_format"), "merged-checkpoint-1");
  EXPECT_EQ(file->metadata().at("amend_base_fingerprint"), edited.options.model_fingerprint);
  EXPECT_EQ(file->metadata().at("amend_revision"), "2");
  EXPECT_EQ(file->metadata().at("amend_edits"), "6");
}

constexpr Case kDemo = kCases[0];

TEST(MergedCheckpointTest, ADirectoryHasTheFilesOfACheckpointAndNoOthers) {
  const Edited edited(MakeModel(kDemo, "model"));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto merged,
                             MergedCheckpoint::Create(edited.options, *edited.model, edited.hooks));
  std::vector<std::string> names;
  for (const ExportFile& file : merged->files()) names.push_back(file.name);
  EXPECT_THAT(names, testing::ElementsAre("config.json", "tokenizer.json", "model.safetensors"));
}

TEST(MergedCheckpointTest, PiecesOfAnySizeMakeTheSameFiles) {
  Edited edited(MakeModel(kDemo, "model"));
  const std::string whole = ReadBytes(Export(edited, "whole") + "/model.safetensors");
  edited.options.piece_bytes = 12345;
  EXPECT_EQ(ReadBytes(Export(edited, "pieces") + "/model.safetensors"), whole);
}

TEST(MergedCheckpointTest, ShardsStayShards) {
  const std::string single = MakeModel(kDemo, "single");
  const auto expected = TensorsOf(Export(Edited(single), "expected") + "/model.safetensors");
  const std::string directory = MakeModel(kDemo, "model");
  const auto shards = SplitIntoShards(directory, 3);
  const std::string out = Export(Edited(directory), "out");
  EXPECT_EQ(ReadBytes(out + "/model.safetensors.index.json"),
            ReadBytes(directory + "/model.safetensors.index.json"));
  size_t tensors = 0;
  for (const std::string& shard : shards) {
    for (const auto& [name, tensor] : TensorsOf(out + "/" + shard)) {
      EXPECT_TRUE(at::equal(tensor, expected.at(name))) << name;
      ++tensors;
    }
  }
  EXPECT_EQ(tensors, expected.size());
}

TEST(MergedCheckpointTest, ProjectionsAloneAreOneFile) {
  Edited edited(MakeModel(kDemo, "model"));
  const auto expected = TensorsOf(Export(edited, "whole") + "/model.safetensors");
  edited.options.projections_only = true;
  const std::string file = Export(edited, "out") + "/merged_projections.safetensors";
  const auto found = TensorsOf(file);
  EXPECT_EQ(found.size(), 2u);
  for (const auto& [name, tensor] : found) EXPECT_TRUE(at::equal(tensor, expected.at(name)));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto opened, SafetensorsFile::Open(file));
  EXPECT_EQ(opened->metadata().at("amend_format"), "merged-projections-1");
}

TEST(MergedCheckpointTest, WithoutEditsItIsTheModelItself) {
  Edited edited(MakeModel(kDemo, "model"));
  edited.hooks = HookStack::Empty(*edited.model, 0.5);
  edited.options.revision = kBaseRevision;
  const auto found = TensorsOf(Export(edited, "out") + "/model.safetensors");
  for (const auto& [name, tensor] :
       TensorsOf(edited.options.model_directory + "/model.safetensors")) {
    EXPECT_TRUE(at::equal(found.at(name), tensor)) << name;
  }
  edited.options.projections_only = true;
  EXPECT_TRUE(TensorsOf(Export(edited, "none") + "/merged_projections.safetensors").empty());
}

TEST(MergedCheckpointTest, AModelDirectoryThatWasReplacedIsFoundAtTheEnd) {
  const Edited edited(MakeModel(kDemo, "model"));
  const std::string weights = edited.options.model_directory + "/model.safetensors";
  std::string bytes = ReadBytes(weights);
  bytes.back() ^= 1;
  WriteBytes(weights, bytes);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto merged,
                             MergedCheckpoint::Create(edited.options, *edited.model, edited.hooks));
  EXPECT_THAT(WriteExport(*merged, edited.options.piece_bytes, FreshDirectory("out")),
              StatusIs(StatusCode::kDataLoss, AllOf(HasSubstr(edited.options.model_directory),
                                                    HasSubstr(edited.options.model_fingerprint))));
}

TEST(MergedCheckpointTest, AWeightFileThatWasCutIsNamed) {
  const Edited edited(MakeModel(kDemo, "model"));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto merged,
                             MergedCheckpoint::Create(edited.options, *edited.model, edited.hooks));
  const std::string weights = edited.options.model_directory + "/model.safetensors";
  WriteBytes(weights, ReadBytes(weights).substr(0, 100000));
  EXPECT_THAT(WriteExport(*merged, edited.options.piece_bytes, FreshDirectory("out")),
              StatusIs(StatusCode::kDataLoss, HasSubstr(weights)));
}

TEST(MergedCheckpointTest, AWeightThatDoesNotFitTheTypeIsNamed) {
  Edited edited(MakeModel(kCases[1], "model"));
  RandomModelShape shape;
  shape.hidden = edited.model->config().hidden_size;
  RevisionFactors factors = RandomFactors(shape, {0, 1}, 1, 9);
  for (float& value : factors.layers[1].u.values) value *= 1e7F;
  AMEND_ASSERT_OK_AND_ASSIGN(edited.hooks, HookStack::Extend(edited.hooks, Revision(3), factors));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto merged,
                             MergedCheckpoint::Create(edited.options, *edited.model, edited.hooks));
  EXPECT_THAT(WriteExport(*merged, edited.options.piece_bytes, FreshDirectory("out")),
              StatusIs(StatusCode::kOutOfRange,
                       AllOf(HasSubstr("h.1.mlp.c_proj.weight"), HasSubstr("F16"))));
}

}  // namespace
}  // namespace amend
