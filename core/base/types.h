#ifndef AMEND_CORE_BASE_TYPES_H_
#define AMEND_CORE_BASE_TYPES_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace amend {

// An integer that does not mix with other integers: a Revision cannot be passed where a LayerIndex
// is wanted. Ordered, hashable, printable. Thread-compatible (a value).
template <typename Tag, typename Rep>
class StrongInt {
 public:
  using ValueType = Rep;
  constexpr StrongInt() = default;
  constexpr explicit StrongInt(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  constexpr StrongInt Next() const { return StrongInt(value_ + 1); }

  friend constexpr bool operator==(StrongInt a, StrongInt b) { return a.value_ == b.value_; }
  friend constexpr bool operator!=(StrongInt a, StrongInt b) { return a.value_ != b.value_; }
  friend constexpr bool operator<(StrongInt a, StrongInt b) { return a.value_ < b.value_; }
  friend constexpr bool operator<=(StrongInt a, StrongInt b) { return a.value_ <= b.value_; }
  friend constexpr bool operator>(StrongInt a, StrongInt b) { return a.value_ > b.value_; }
  friend constexpr bool operator>=(StrongInt a, StrongInt b) { return a.value_ >= b.value_; }
  friend std::ostream& operator<<(std::ostream& os, StrongInt x) { return os << x.value_; }
  template <typename H>
  friend H AbslHashValue(H h, StrongInt x) {
    return H::combine(std::move(h), x.value_);
  }

 private:
  Rep value_ = 0;
};

// Number of an immutable state of the model; 0 is the unedited model.
using Revision = StrongInt<struct RevisionTag, int64_t>;
inline constexpr Revision kBaseRevision{0};

// Transformer block, counted from 0.
using LayerIndex = StrongInt<struct LayerIndexTag, int32_t>;

using TokenId = int32_t;

// One edit for ever: the revision whose batch brought it, and its place in that batch.
struct EditId {
  Revision revision;
  int32_t index = 0;

  friend bool operator==(const EditId& a, const EditId& b) {
    return a.revision == b.revision && a.index == b.index;
  }
  friend bool operator<(const EditId& a, const EditId& b) {
    return a.revision == b.revision ? a.index < b.index : a.revision < b.revision;
  }
  friend bool operator!=(const EditId& a, const EditId& b) { return !(a == b); }
  template <typename H>
  friend H AbslHashValue(H h, const EditId& id) {
    return H::combine(std::move(h), id.revision, id.index);
  }
  std::string ToString() const { return absl::StrCat(revision.value(), "/", index); }
};

}  // namespace amend

#endif  // AMEND_CORE_BASE_TYPES_H_
