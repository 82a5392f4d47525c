#include "core/model/checkpoint.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/model/testing/model_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Json = nlohmann::json;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

Json Entry(const Json& dtype, const Json& shape, const Json& offsets) {
  return {{"dtype", dtype}, {"shape", shape}, {"data_offsets", offsets}};
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> OpenBytes(const std::string& bytes) {
  const std::string path = FreshDirectory("file") + "/weights.safetensors";
  WriteBytes(path, bytes);
  return SafetensorsFile::Open(path);
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> OpenHeader(const Json& header,
                                                            const std::string& data) {
  return OpenBytes(SafetensorsBytes(header, data));
}

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

std::string HeaderLength(uint64_t length) { return BytesOf(std::vector<uint64_t>{length}); }

TEST(SafetensorsFileTest, ReadsEveryDtype) {
  struct Case {
    const char* dtype;
    std::string data;
  };
  for (const Case& c : {
           Case{"F64", BytesOf<double>({1, 2})},
           Case{"F32", BytesOf<float>({1, 2})},
           Case{"F16", BytesOf<uint16_t>({0x3c00, 0x4000})},
           Case{"BF16", BytesOf<uint16_t>({0x3f80, 0x4000})},
           Case{"I64", BytesOf<int64_t>({1, 2})},
           Case{"I32", BytesOf<int32_t>({1, 2})},
           Case{"U8", BytesOf<uint8_t>({1, 2})},
       }) {
    AMEND_ASSERT_OK_AND_ASSIGN(
        const auto file, OpenHeader({{"x", Entry(c.dtype, {1, 2}, {0, c.data.size()})}}, c.data));
    EXPECT_THAT(*file->Read("x"), TensorNear(at::tensor({1.0, 2.0}).view({1, 2}), 0)) << c.dtype;
  }
}

TEST(SafetensorsFileTest, ReadsBooleansScalarsAndEmptyTensors) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file,
                             OpenHeader({{"__metadata__", {{"format", "pt"}}},
                                         {"bool", Entry("BOOL", {2}, {0, 2})},
                                         {"empty", Entry("F32", {0, 7}, {2, 2})},
                                         {"scalar", Entry("U8", Json::array(), {2, 3})}},
                                        BytesOf<uint8_t>({0, 1, 9})));
  EXPECT_THAT(file->TensorNames(), ElementsAre("bool", "empty", "scalar"));
  EXPECT_THAT(*file->Read("bool"), TensorNear(at::tensor({0, 1}), 0));
  EXPECT_THAT(*file->Read("scalar"), TensorNear(at::tensor(9).squeeze(), 0));
  EXPECT_THAT(file->Read("empty")->sizes(), ElementsAre(0, 7));
}

TEST(SafetensorsFileTest, AMissingTensorNamesFileAndTensor) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file, OpenHeader(Json::object(), ""));
  EXPECT_THAT(file->Read("x"), StatusIs(absl::StatusCode::kNotFound,
                                        AllOf(HasSubstr("weights.safetensors"), HasSubstr(" x"))));
}

TEST(SafetensorsFileTest, AMissingFileIsNotFoundAndADirectoryIsRefused) {
  EXPECT_THAT(SafetensorsFile::Open("no/such.safetensors"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such.safetensors")));
  const std::string directory = FreshDirectory("directory");
  EXPECT_FALSE(SafetensorsFile::Open(directory).ok());
}

TEST(SafetensorsFileTest, ATruncatedHeaderIsRefused) {
  const std::string good =
      SafetensorsBytes({{"x", Entry("F32", {1}, {0, 4})}}, BytesOf<float>({1}));
  for (size_t length = 0; length < good.size() - 4; ++length) {
    EXPECT_THAT(OpenBytes(good.substr(0, length)),
                StatusIs(kInvalid, HasSubstr("weights.safetensors")))
        << length;
  }
}

TEST(SafetensorsFileTest, TruncatedDataNamesTheTensor) {
  EXPECT_THAT(OpenHeader({{"x", Entry("F32", {1}, {0, 4})}}, "abc"),
              StatusIs(kInvalid, AllOf(HasSubstr("tensor x"), HasSubstr("[0, 4)"),
                                       HasSubstr("3 bytes of data"))));
}

TEST(SafetensorsFileTest, AHugeHeaderLengthIsRefusedBeforeItIsAllocated) {
  for (const uint64_t length : {uint64_t{1} << 40, ~uint64_t{0}, (uint64_t{1} << 63) + 2}) {
    EXPECT_THAT(OpenBytes(HeaderLength(length) + "{}"),
                StatusIs(kInvalid, HasSubstr(std::to_string(length))));
  }
}

TEST(SafetensorsFileTest, AHeaderThatIsNoObjectIsRefused) {
  for (const std::string text : {"[]", "{\"x\"", "", "\xff\xfe", "{\"\xff\": 1}"}) {
    EXPECT_THAT(OpenBytes(HeaderLength(text.size()) + text),
                StatusIs(kInvalid, HasSubstr("not a JSON object")))
        << testing::PrintToString(text);
  }
}

TEST(SafetensorsFileTest, AnUnknownDtypeIsNamed) {
  EXPECT_THAT(OpenHeader({{"x", Entry("F8_E4M3", {4}, {0, 4})}}, "abcd"),
              StatusIs(kInvalid, AllOf(HasSubstr("tensor x"), HasSubstr("F8_E4M3"))));
}

TEST(SafetensorsFileTest, OffsetsThatAreNotTheShapesBytesAreRefusedWithBothCounts) {
  EXPECT_THAT(
      OpenHeader({{"x", Entry("F32", {2}, {0, 4})}}, "abcd"),
      StatusIs(kInvalid, AllOf(HasSubstr("tensor x"), HasSubstr("has 4 bytes"), HasSubstr("8"))));
}

TEST(SafetensorsFileTest, OffsetsOutOfOrderOrOutsideAreRefused) {
  for (const Json& offsets : std::vector<Json>{{4, 0},
                                               {0, 5},
                                               {-4, 0},
                                               {4, 8},
                                               {0, 18446744073709551615u},
                                               {18446744073709551612u, 18446744073709551615u},
                                               {0.0, 4.0},
                                               {"0", "4"},
                                               {0},
                                               {0, 2, 4}}) {
    EXPECT_THAT(OpenHeader({{"x", Entry("F32", {1}, offsets)}}, "abcd"),
                StatusIs(kInvalid, HasSubstr("tensor x")))
        << offsets;
  }
}

TEST(SafetensorsFileTest, TensorsThatShareBytesAreRefusedAndBothNamed) {
  EXPECT_THAT(
      OpenHeader({{"x", Entry("U8", {3}, {0, 3})}, {"y", Entry("U8", {2}, {2, 4})}}, "abcd"),
      StatusIs(kInvalid, HasSubstr("x and y")));
}

TEST(SafetensorsFileTest, ShapesThatOverflowAreRefused) {
  const uint64_t minus_one = 18446744073709551615u;
  for (const Json& shape : std::vector<Json>{{uint64_t{1} << 62, 16},
                                             {minus_one, minus_one - 3},
                                             {int64_t{1} << 62, int64_t{1} << 62, 0},
                                             {-4},
                                             {1.0},
                                             {"4"}}) {
    EXPECT_THAT(OpenHeader({{"x", Entry("U8", shape, {0, 0})}}, "abcd"),
                StatusIs(kInvalid, HasSubstr("tensor x")))
        << shape;
    EXPECT_THAT(OpenHeader({{"x", Entry("U8", shape, {0, 4})}}, "abcd"),
                StatusIs(kInvalid, HasSubstr("tensor x")))
        << shape;
  }
}

TEST(SafetensorsFileTest, AnEntryWithoutItsFieldsIsRefused) {
  for (const Json& entry : std::vector<Json>{nullptr,
                                             3,
                                             Json::object(),
                                             {{"dtype", "F32"}},
                                             Entry(3, {1}, {0, 4}),
                                             Entry("F32", 1, {0, 4}),
                                             Entry("F32", {1}, "0,4")}) {
    EXPECT_THAT(OpenHeader({{"x", entry}}, "abcd"), StatusIs(kInvalid, HasSubstr("tensor x")))
        << entry;
  }
}

TEST(SafetensorsFileTest, FlippedBytesNeverCrash) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::string good = SafetensorsBytes({{"x", Entry("F32", {2, 2}, {0, 16})},
                                             {"y", Entry("BF16", {3}, {16, 22})},
                                             {"__metadata__", {{"format", "pt"}}}},
                                            std::string(22, 'a'));
  const std::string path = FreshDirectory("file") + "/weights.safetensors";
  for (int i = 0; i < 600; ++i) {
    std::string bytes = good;
    for (int flips = 1 + random() % 4; flips > 0; --flips) {
      // Mostly in the header, where it may still mean something.
      const size_t place = random() % (random() % 4 == 0 ? bytes.size() : bytes.size() - 22);
      bytes[place] = static_cast<char>(random() % 2 == 0 ? bytes[place] ^ (1 << random() % 8)
                                                         : '0' + random() % 10);
    }
    WriteBytes(path, bytes);
    const auto file = SafetensorsFile::Open(path);
    if (!file.ok()) continue;
    for (const std::string& name : (*file)->TensorNames()) EXPECT_THAT((*file)->Read(name), IsOk());
  }
}

TEST(SafetensorsFileTest, DataThatVanishesAfterOpenIsDataLoss) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file,
                             OpenHeader({{"x", Entry("F32", {1}, {0, 4})}}, "abcd"));
  std::filesystem::resize_file(file->path(), 10);
  EXPECT_THAT(file->Read("x"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("tensor x")));
}

TEST(WriteSafetensorsTest, WhatIsWrittenIsReadBackInItsDtype) {
  const std::string path = FreshDirectory("out") + "/x.safetensors";
  const at::Tensor a = at::arange(6, at::kDouble).view({2, 3});
  ASSERT_THAT(WriteSafetensors({{"a", a},
                                {"transposed", a.t().to(at::kFloat)},
                                {"count", at::full({}, 7, at::kLong)},
                                {"empty", at::zeros({0, 2})}},
                               path),
              IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Open(path));
  EXPECT_THAT(*file->Read("a"), TensorNear(a, 0));
  EXPECT_THAT(*file->Read("transposed"), TensorNear(a.t(), 0));
  EXPECT_EQ(file->Read("a")->scalar_type(), at::kDouble);
  EXPECT_EQ(file->Read("transposed")->scalar_type(), at::kFloat);
  EXPECT_EQ(file->Read("count")->item<int64_t>(), 7);
  EXPECT_EQ(file->Read("empty")->numel(), 0);
}

TEST(WriteSafetensorsTest, ADtypeThatTheFormatLacksIsRefused) {
  const std::string path = FreshDirectory("out") + "/x.safetensors";
  EXPECT_THAT(WriteSafetensors({{"a", at::zeros({1}, at::kComplexFloat)}}, path),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tensor a")));
}

TEST(WriteSafetensorsTest, MetadataIsReadBack) {
  const std::string path = FreshDirectory("out") + "/x.safetensors";
  ASSERT_THAT(WriteSafetensors({{"a", at::zeros({1})}}, path, {{"tokens", "12"}}), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Open(path));
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("tokens", "12")));
  EXPECT_THAT(file->TensorNames(), ElementsAre("a"));
}

TEST(SafetensorsFileTest, MetadataThatIsNoTextIsLeftOut) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const auto file, OpenHeader({{"__metadata__", {{"tokens", 12}, {"format", "pt"}}}}, ""));
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("format", "pt")));
}

TEST(WriteSafetensorsTest, ReplacesAFileAndLeavesNoOther) {
  const std::string directory = FreshDirectory("out");
  const std::string path = directory + "/x.safetensors";
  ASSERT_THAT(WriteSafetensors({{"a", at::zeros({2})}}, path), IsOk());
  ASSERT_THAT(WriteSafetensors({{"b", at::zeros({2})}}, path), IsOk());
  EXPECT_THAT((*SafetensorsFile::Open(path))->TensorNames(), ElementsAre("b"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory),
                          std::filesystem::directory_iterator()),
            1);
}

TEST(WriteSafetensorsTest, AFolderThatIsNotThereIsUnavailableAndNamed) {
  EXPECT_THAT(WriteSafetensors({}, "no/such/folder/x.safetensors"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no/such/folder/x.safetensors")));
}

TEST(CheckpointTest, ConvertsToTheDtypeAskedFor) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open("models/demo"));
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor half,
                             checkpoint->Read("transformer.ln_f.weight", {256}, at::kHalf));
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor single,
                             checkpoint->Read("transformer.ln_f.weight", {256}, at::kFloat));
  EXPECT_EQ(single.scalar_type(), at::kFloat);
  EXPECT_THAT(single, TensorNear(half, 0));
}

TEST(CheckpointTest, TheTransformerPrefixMayBeAbsentInTheFile) {
  const std::string directory = FreshDirectory("model");
  ASSERT_THAT(
      WriteSafetensors({{"wte.weight", at::zeros({2, 3})}}, directory + "/model.safetensors"),
      IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(directory));
  EXPECT_TRUE(checkpoint->Contains("transformer.wte.weight"));
  EXPECT_THAT(checkpoint->Read("transformer.wte.weight", {2, 3}, at::kFloat), IsOk());
}

TEST(CheckpointTest, AWrongShapeNamesFileTensorAndBothShapes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open("models/demo"));
  EXPECT_THAT(checkpoint->Read("transformer.ln_f.weight", {1, 255}, at::kFloat),
              StatusIs(kInvalid, AllOf(HasSubstr("model.safetensors"), HasSubstr("ln_f.weight"),
                                       HasSubstr("[256]"), HasSubstr("[1, 255]"))));
}

TEST(CheckpointTest, AMissingTensorNamesItAndTheDirectory) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open("models/demo"));
  EXPECT_FALSE(checkpoint->Contains("nothing"));
  EXPECT_THAT(
      checkpoint->Read("nothing", {1}, at::kFloat),
      StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("models/demo"), HasSubstr("nothing"))));
}

TEST(CheckpointTest, ADirectoryWithoutWeightsIsNotFoundAndNamed) {
  EXPECT_THAT(Checkpoint::Open(FreshDirectory("empty")),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("_empty"), HasSubstr("model.safetensors.index.json"))));
}

TEST(CheckpointTest, ShardsHoldTheSameTensors) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto whole,
                             SafetensorsFile::Open("models/demo/model.safetensors"));
  const std::string directory = CopyModel("models/demo", "sharded");
  const std::vector<std::string> shards = SplitIntoShards(directory, 2);
  EXPECT_THAT(*Checkpoint::WeightFiles(directory),
              ElementsAre(directory + "/" + shards[0], directory + "/" + shards[1]));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto sharded, Checkpoint::Open(directory));
  for (const std::string& name : whole->TensorNames()) {
    const at::Tensor expected = *whole->Read(name);
    EXPECT_THAT(*sharded->Read(name, expected.sizes().vec(), at::kFloat), TensorNear(expected, 0))
        << name;
  }
}

TEST(CheckpointTest, AMissingShardIsNotFoundAndNamed) {
  const std::string directory = CopyModel("models/demo", "sharded");
  const std::vector<std::string> shards = SplitIntoShards(directory, 2);
  std::filesystem::remove(directory + "/" + shards[1]);
  EXPECT_THAT(Checkpoint::Open(directory),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(shards[1])));
}

TEST(CheckpointTest, AMalformedIndexIsRefusedAndNamed) {
  for (const char* text : {"", "[]", "{}", "{\"weight_map\": 3}", "{\"weight_map\": {\"x\": 3}}",
                           "{\"weight_map\": {\"x\": \"../other/model.safetensors\"}}"}) {
    const std::string directory = FreshDirectory("index");
    WriteBytes(directory + "/model.safetensors.index.json", text);
    EXPECT_THAT(Checkpoint::Open(directory),
                StatusIs(kInvalid, HasSubstr("model.safetensors.index.json")))
        << text;
  }
}

}  // namespace
}  // namespace amend
