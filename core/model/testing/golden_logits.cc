#include "core/model/testing/golden_logits.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/tensor.h>

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/base/testing/tensor_matchers.h"
#include "core/base/types.h"
#include "core/model/testing/full_forward.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using Json = nlohmann::json;

// logits [vocabulary] of one position. The sampled ids, then the best ones, are compared.
void ExpectPosition(const at::Tensor& logits, const std::vector<int64_t>& sampled_ids,
                    const Json& golden, double relative) {
  const double tolerance = relative * golden["largest_magnitude"].get<double>();
  const auto expect_at = [&](const std::vector<int64_t>& ids, const Json& expected) {
    EXPECT_THAT(logits.index_select(0, at::tensor(ids)),
                TensorNear(at::tensor(expected.get<std::vector<double>>()), tolerance))
        << "of the ids " << testing::PrintToString(ids);
  };
  expect_at(sampled_ids, golden["sampled_logits"]);
  expect_at(golden["best_ids"], golden["best_logits"]);
  EXPECT_EQ(logits.argmax().item<int64_t>(), golden["best_ids"][0].get<int64_t>());
  EXPECT_NEAR(at::logsumexp(logits.to(at::kDouble), {0}).item<double>(),
              golden["log_sum_exp"].get<double>(), tolerance);
}

}  // namespace

void ExpectGoldenLogits(const CausalLm& model, const std::string& path, double relative) {
  std::ifstream file(path);
  ASSERT_TRUE(file.is_open()) << path;
  const Json golden = Json::parse(file);
  EXPECT_EQ(model.ParameterCount(), golden["parameters"].get<int64_t>());
  int positions = 0;
  for (const Json& prompt : golden["prompts"]) {
    const at::Tensor logits =
        FullForward(model, prompt["ids"].get<std::vector<TokenId>>(), /*hook=*/nullptr);
    for (const Json& position : prompt["positions"]) {
      SCOPED_TRACE(testing::Message() << "prompt \"" << prompt["name"].get<std::string>()
                                      << "\", position " << position["position"]);
      ExpectPosition(logits[position["position"].get<int64_t>()], golden["sampled_ids"], position,
                     relative);
      ++positions;
    }
  }
  EXPECT_GT(positions, 50) << path;
}

}  // namespace amend
