#ifndef AMEND_CORE_EDITING_TESTING_RANDOM_MODEL_H_
#define AMEND_CORE_EDITING_TESTING_RANDOM_MODEL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/editing/edit_rows.h"
#include "core/editing/factors.h"
#include "core/model/causal_lm.h"

// Small random models, edits and factors for tests. All of them follow from the seed.

namespace amend {

struct RandomModelShape {
  int layers = 4;
  int hidden = 16;
  int heads = 2;
  int context = 48;
  int vocabulary = 40;

  int intermediate() const { return 4 * hidden; }
};

// Standard normal numbers.
at::Tensor RandomTensor(at::IntArrayRef shape, uint64_t seed);

// Writes a random GPT-2 checkpoint below the test's temporary directory and loads it. `change`, if
// given, sees the weights first. Ends the test program when that fails.
std::shared_ptr<const CausalLm> RandomGpt2(
    const RandomModelShape& shape, uint64_t seed,
    const std::function<void(std::map<std::string, at::Tensor>*)>& change = nullptr);

// An edit of random tokens: `prefixes` prefixed rows besides the plain one, a target of
// `target_length` tokens. The subject ends at the first token, at the last or between.
EditRows RandomEditRows(std::mt19937_64* random, int vocabulary, int prefixes, int target_length);

// `edits` edits at each of `layers`, with activations that are those of the keys.
RevisionFactors RandomFactors(const RandomModelShape& shape, const std::vector<int>& layers,
                              int edits, uint64_t seed);

// Largest |actual - expected| over the largest |expected|; infinite when the shapes differ or
// something is not a number.
double RelativeDifference(const at::Tensor& actual, const at::Tensor& expected);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_TESTING_RANDOM_MODEL_H_
