#include "core/editing/fired_memo.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace amend {
namespace {

// The first rows of `tensor` that a token still has to be held against, when it was held against
// `known` of `edits` rows: the last 1, 2, 4, 8 ... of them, so that tokens fall into few groups.
int64_t FirstRowToScreen(int64_t known, int64_t edits) {
  if (known >= edits) return edits;
  int64_t missing = 1;
  while (missing < edits - known) missing *= 2;
  return std::max<int64_t>(0, edits - missing);
}

}  // namespace

// One of the different tokens of a call.
struct FiredMemo::Token {
  absl::string_view bytes;
  int64_t first_place = 0;  // in the input
  Entry entry;
};

std::vector<FiredEdit> FiredMemo::Find(const StackedFactors& factors, const FactorScreen& screen,
                                       const at::Tensor& input) {
  if (factors.empty()) return {};
  const at::Tensor x = input.detach().to(at::kFloat).contiguous();
  const int64_t edits = factors.v.size(0);
  const auto row_bytes = static_cast<size_t>(x.size(1)) * sizeof(float);
  const auto* data = reinterpret_cast<const char*>(x.const_data_ptr<float>());
  std::vector<Token> tokens;
  std::vector<size_t> token_at;
  absl::flat_hash_map<absl::string_view, size_t> numbers;
  for (int64_t place = 0; place < x.size(0); ++place) {
    const absl::string_view bytes(data + static_cast<size_t>(place) * row_bytes, row_bytes);
    const auto [it, is_new] = numbers.try_emplace(bytes, tokens.size());
    if (is_new) tokens.push_back({bytes, place, {}});
    token_at.push_back(it->second);
  }
  Recall(&tokens);

  std::map<int64_t, std::vector<size_t>> by_first_row;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t first = FirstRowToScreen(tokens[i].entry.edits, edits);
    if (first < edits) by_first_row[first].push_back(i);
  }
  for (const auto& [first, some] : by_first_row) {
    std::vector<int64_t> places;
    for (const size_t i : some) {
      places.push_back(tokens[i].first_place);
      std::vector<Fired>& fired = tokens[i].entry.fired;
      while (!fired.empty() && fired.back().row >= first) fired.pop_back();
      tokens[i].entry.edits = edits;
    }
    const int64_t rows = edits - first;
    const StackedFactors more = {factors.u.narrow(0, first, rows), factors.v.narrow(0, first, rows),
                                 factors.threshold.narrow(0, first, rows)};
    const FactorScreen more_screen = screen.Rows(first, rows);
    const at::Tensor inputs = x.index_select(0, at::tensor(at::ArrayRef<int64_t>(places)));
    for (const FiredEdit& edit : FindFired(more, &more_screen, inputs)) {
      tokens[some[static_cast<size_t>(edit.token)]].entry.fired.push_back(
          {first + edit.row, edit.activation});
    }
  }
  Remember(tokens, x.size(1));

  std::vector<FiredEdit> result;
  for (size_t place = 0; place < token_at.size(); ++place) {
    for (const Fired& fired : tokens[token_at[place]].entry.fired) {
      // A longer line's call may have found more.
      if (fired.row >= edits) break;
      result.push_back({static_cast<int64_t>(place), fired.row, fired.activation});
    }
  }
  return result;
}

void FiredMemo::Recall(std::vector<Token>* tokens) const {
  absl::MutexLock lock(&mutex_);
  for (Token& token : *tokens) {
    for (const Generation* generation : {&recent_, &older_}) {
      const auto found = generation->entries.find(token.bytes);
      if (found == generation->entries.end()) continue;
      token.entry = found->second;
      break;
    }
  }
}

void FiredMemo::Remember(const std::vector<Token>& tokens, int64_t d_in) {
  absl::MutexLock lock(&mutex_);
  for (const Token& token : tokens) {
    const auto found = recent_.entries.find(token.bytes);
    if (found != recent_.entries.end()) {
      // Another call may have gone further meanwhile.
      if (found->second.edits < token.entry.edits) found->second = token.entry;
      continue;
    }
    auto count = static_cast<int64_t>(recent_.entries.size());
    if (count == generation_tokens_) {
      std::swap(recent_, older_);
      recent_.entries.clear();
      count = 0;
    }
    if (!recent_.inputs.defined()) recent_.inputs = at::empty({generation_tokens_, d_in});
    auto* place = reinterpret_cast<char*>(recent_.inputs.mutable_data_ptr<float>()) +
                  static_cast<size_t>(count) * token.bytes.size();
    std::memcpy(place, token.bytes.data(), token.bytes.size());
    recent_.entries.try_emplace(absl::string_view(place, token.bytes.size()), token.entry);
  }
}

int64_t FiredMemo::size() const {
  absl::MutexLock lock(&mutex_);
  size_t count = recent_.entries.size();
  for (const auto& [bytes, entry] : older_.entries)
    count += recent_.entries.contains(bytes) ? 0 : 1;
  return static_cast<int64_t>(count);
}

}  // namespace amend
