#include "jobs/npy.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"

namespace amend::jobs {
namespace {

constexpr absl::string_view kMagic = "\x93NUMPY";

absl::Status Wrong(absl::string_view what) { return absl::InvalidArgumentError(what); }

uint64_t LittleEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return value;
}

// What stands behind "'name':" in the header, a Python dictionary on one line; empty when it is not
// there. A name cannot stand in a value: those are numbers, booleans and type codes.
absl::string_view FieldOf(absl::string_view header, absl::string_view name) {
  const std::string quoted = absl::StrCat("'", name, "'");
  size_t at = header.find(quoted);
  if (at == absl::string_view::npos) return {};
  absl::string_view rest = absl::StripLeadingAsciiWhitespace(header.substr(at + quoted.size()));
  if (!absl::ConsumePrefix(&rest, ":")) return {};
  rest = absl::StripLeadingAsciiWhitespace(rest);
  size_t end = rest.find(',');
  if (absl::StartsWith(rest, "'")) {
    end = rest.find('\'', 1);
    if (end != absl::string_view::npos) ++end;
  } else if (absl::StartsWith(rest, "(")) {
    end = rest.find(')');
    if (end != absl::string_view::npos) ++end;
  } else if (end == absl::string_view::npos) {
    end = rest.find('}');
  }
  if (end == absl::string_view::npos) return {};
  return absl::StripTrailingAsciiWhitespace(rest.substr(0, end));
}

// "(3, 4)", "(3,)" or "()".
std::optional<std::vector<int64_t>> ParseShape(absl::string_view text) {
  if (text.size() < 2 || text.front() != '(' || text.back() != ')') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::vector<int64_t> shape;
  while (!(text = absl::StripLeadingAsciiWhitespace(text)).empty()) {
    const size_t comma = text.find(',');
    int64_t extent = 0;
    if (!absl::SimpleAtoi(text.substr(0, comma), &extent) || extent < 0) return std::nullopt;
    shape.push_back(extent);
    text = comma == absl::string_view::npos ? absl::string_view() : text.substr(comma + 1);
  }
  return shape;
}

// Splits `bytes` behind the header. The length field has 2 bytes in version 1, then 4.
absl::StatusOr<absl::string_view> TakeHeader(absl::string_view* bytes) {
  if (bytes->size() < kMagic.size() + 2)
    return Wrong(absl::StrCat("the array is cut: it has ", bytes->size(), " bytes"));
  if (!absl::ConsumePrefix(bytes, kMagic)) return Wrong("not an .npy array: the magic is missing");
  const int version = static_cast<unsigned char>((*bytes)[0]);
  if (version < 1 || version > 3)
    return Wrong(absl::StrCat(".npy version ", version, ", only 1 to 3 are read"));
  bytes->remove_prefix(2);
  const size_t field = version == 1 ? 2 : 4;
  if (bytes->size() < field) return Wrong("the array is cut in its header");
  const uint64_t length = LittleEndian(bytes->substr(0, field));
  bytes->remove_prefix(field);
  if (bytes->size() < length)
    return Wrong(absl::StrCat("the array is cut: its header has ", length, " bytes, ",
                              bytes->size(), " are there"));
  const absl::string_view header = bytes->substr(0, length);
  bytes->remove_prefix(length);
  return header;
}

// "'<f4'" -> "f4".
absl::StatusOr<std::string> ParseDtype(absl::string_view field) {
  if (field.size() < 5 || field.front() != '\'' || field.back() != '\'')
    return Wrong(absl::StrCat("dtype ", field.empty() ? "is missing" : field,
                              ", not that of an array of numbers"));
  const absl::string_view code = field.substr(1, field.size() - 2);
  if (code[0] == '>')
    return Wrong(absl::StrCat("dtype ", code, " is big-endian, only little-endian is read"));
  int size = 0;
  if ((code[0] != '<' && code[0] != '|' && code[0] != '=') ||
      !absl::StrContains("fiu", code.substr(1, 1)) || !absl::SimpleAtoi(code.substr(2), &size) ||
      (size != 1 && size != 2 && size != 4 && size != 8)) {
    return Wrong(absl::StrCat("dtype ", code, ", not that of an array of numbers"));
  }
  return std::string(code.substr(1));
}

int64_t ItemSize(const NpyArray& array) { return array.dtype[1] - '0'; }

template <typename T>
T ElementAt(const NpyArray& array, size_t i) {
  T value;
  std::memcpy(&value, array.elements.data() + i * sizeof(T), sizeof(T));
  return value;
}

// IEEE 754 binary16.
double HalfToDouble(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  double value;
  if (exponent == 31) {
    value = fraction == 0 ? std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(fraction, -24);
  } else {
    value = std::ldexp(1024 + fraction, exponent - 25);
  }
  return half >> 15 != 0 ? -value : value;
}

}  // namespace

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes) {
  AMEND_ASSIGN_OR_RETURN(const absl::string_view header, TakeHeader(&bytes));
  NpyArray array;
  AMEND_ASSIGN_OR_RETURN(array.dtype, ParseDtype(FieldOf(header, "descr")));
  const absl::string_view fortran = FieldOf(header, "fortran_order");
  if (fortran == "True") return Wrong("fortran_order is True, only arrays in C order are read");
  if (fortran != "False")
    return Wrong(absl::StrCat("fortran_order is \"", fortran, "\", not True or False"));
  const absl::string_view shape_text = FieldOf(header, "shape");
  const std::optional<std::vector<int64_t>> shape = ParseShape(shape_text);
  if (!shape.has_value()) return Wrong(absl::StrCat("shape \"", shape_text, "\" is no shape"));
  int64_t size = ItemSize(array);
  for (const int64_t extent : *shape) {
    if (__builtin_mul_overflow(size, extent, &size))
      return Wrong(absl::StrCat("shape ", ShapeText(*shape), " is too large"));
  }
  if (static_cast<uint64_t>(size) != bytes.size())
    return Wrong(absl::StrCat("shape ", ShapeText(*shape), " of ", array.dtype, " needs ", size,
                              " bytes, ", bytes.size(), " are there"));
  array.shape = *shape;
  array.elements = bytes;
  return array;
}

absl::StatusOr<std::vector<double>> ToDoubles(const NpyArray& array) {
  if (array.dtype != "f2" && array.dtype != "f4" && array.dtype != "f8")
    return Wrong(absl::StrCat("dtype ", array.dtype, ", not f2, f4 or f8"));
  std::vector<double> values(array.elements.size() / ItemSize(array));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = array.dtype == "f8"   ? ElementAt<double>(array, i)
                : array.dtype == "f4" ? ElementAt<float>(array, i)
                                      : HalfToDouble(ElementAt<uint16_t>(array, i));
  }
  return values;
}

absl::StatusOr<int64_t> ToCount(const NpyArray& array) {
  for (const int64_t extent : array.shape) {
    if (extent != 1)
      return Wrong(absl::StrCat("shape ", ShapeText(array.shape), ", not one number"));
  }
  if (array.dtype == "i4") return ElementAt<int32_t>(array, 0);
  if (array.dtype == "u4") return ElementAt<uint32_t>(array, 0);
  if (array.dtype == "i8") return ElementAt<int64_t>(array, 0);
  if (array.dtype == "u8" && ElementAt<uint64_t>(array, 0) <= uint64_t{INT64_MAX})
    return static_cast<int64_t>(ElementAt<uint64_t>(array, 0));
  return Wrong(absl::StrCat("dtype ", array.dtype, ", not that of a count"));
}

}  // namespace amend::jobs
