#ifndef AMEND_CORE_MODEL_RAGGED_ATTENTION_H_
#define AMEND_CORE_MODEL_RAGGED_ATTENTION_H_

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <vector>

// Causal attention of many short rows, each over a prefix of its own and its new tokens, without
// padding. Where rows have a few new tokens, LibTorch's attention spends its time on padding and on
// products too small for its matrix kernels: on 105 rows of 6 new tokens behind 16 it takes five
// times as long as this. float32, on the CPU. Letters: N rows, row i has p_i tokens in the prefix,
// n_i new ones and queries at the last q_i of them; P, T and R are the sums of p_i, n_i and q_i; h
// heads of e dimensions, g heads of keys and values (each serves h / g neighbouring heads of
// queries).

namespace amend {

// Where each row's tokens stand. Immutable. Gradients hold on to it.
class RaggedLayout : public torch::CustomClassHolder {
 public:
  // One number per row each; q_i <= n_i.
  RaggedLayout(const std::vector<int64_t>& prefix_lengths, const std::vector<int64_t>& new_lengths,
               const std::vector<int64_t>& query_lengths);

  struct Row {
    int64_t prefix_start, prefix_length, new_start, new_length, query_start, query_length;
    // Where the row's probabilities begin, for one head: [q_i, p_i + n_i].
    int64_t probability_start;
  };
  const std::vector<Row>& rows() const { return rows_; }
  // Sum of q_i * (p_i + n_i).
  int64_t probabilities() const { return probabilities_; }
  int64_t queries() const { return queries_; }

 private:
  std::vector<Row> rows_;
  int64_t probabilities_ = 0;
  int64_t queries_ = 0;
};

// query [R, h, e]; key, value [T, g, e]; prefix_key, prefix_value [P, g, e]. Returns [R, h * e].
// Differentiable in query, key and value.
at::Tensor AttendRagged(const c10::intrusive_ptr<RaggedLayout>& layout, const at::Tensor& query,
                        const at::Tensor& key, const at::Tensor& value,
                        const at::Tensor& prefix_key, const at::Tensor& prefix_value);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_RAGGED_ATTENTION_H_
