#include "jobs/import_covariance.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"
#include "jobs/npy.h"
#include "jobs/npz.h"

namespace amend::jobs {
namespace {

constexpr char kSum[] = "mom2.mom2";
constexpr char kCount[] = "mom2.count";
// Of a header, far above what NumPy writes.
constexpr int64_t kHeaderBytes = 65536;
// Between an element and its mirror image, over the largest magnitude. Sums in float16 are off by
// about 1e-3.
constexpr double kSymmetryTolerance = 1e-2;

// "transformer.h.13.mlp", "model.layers.13.mlp" -> 13; -1 when there is none.
int LayerInName(absl::string_view name) {
  absl::string_view mark = ".h.";
  size_t at = name.rfind(mark);
  if (at == absl::string_view::npos) at = name.rfind(mark = ".layers.");
  if (at == absl::string_view::npos) return -1;
  absl::string_view digits = name.substr(at + mark.size());
  size_t length = 0;
  while (length < digits.size() && absl::ascii_isdigit(digits[length])) ++length;
  int layer = -1;
  if (!absl::SimpleAtoi(digits.substr(0, length), &layer)) return -1;
  return layer;
}

absl::Status Wrong(const std::string& path, absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", key, ": ", what));
}

absl::Status CheckMatrix(const std::vector<double>& sum, int64_t n, const std::string& path) {
  double largest = 0;
  for (int64_t i = 0; i < n * n; ++i) {
    if (!std::isfinite(sum[i])) {
      return Wrong(path, kSum, absl::StrCat("element [", i / n, ", ", i % n, "] is ", sum[i]));
    }
    largest = std::max(largest, std::abs(sum[i]));
  }
  for (int64_t i = 0; i < n; ++i) {
    if (sum[i * n + i] < 0) {
      return Wrong(path, kSum,
                   absl::StrCat("element [", i, ", ", i, "] is ", sum[i * n + i],
                                ", a second moment has no negative diagonal"));
    }
    for (int64_t j = 0; j < i; ++j) {
      const double mirror = sum[j * n + i];
      if (std::abs(sum[i * n + j] - mirror) <= kSymmetryTolerance * largest) continue;
      return Wrong(path, kSum,
                   absl::StrCat("not symmetric: element [", i, ", ", j, "] is ", sum[i * n + j],
                                ", its mirror image ", mirror));
    }
  }
  return absl::OkStatus();
}

// `read` turns the array into what is wanted; errors get file and key.
template <typename Read>
auto ReadArray(const NpzFile& file, const char* key, int64_t max_bytes, Read read)
    -> decltype(read(NpyArray())) {
  AMEND_ASSIGN_OR_RETURN(const std::string bytes, file.Read(key, max_bytes));
  const absl::StatusOr<NpyArray> array = ParseNpy(bytes);
  if (!array.ok()) return Wrong(file.path(), key, array.status().message());
  auto result = read(*array);
  if (!result.ok()) return Wrong(file.path(), key, result.status().message());
  return result;
}

}  // namespace

absl::StatusOr<LayerFile> ParseLayerFile(const std::string& argument) {
  LayerFile file;
  const size_t equals = argument.find('=');
  int layer = -1;
  if (equals != std::string::npos && absl::SimpleAtoi(argument.substr(0, equals), &layer)) {
    file.path = argument.substr(equals + 1);
  } else {
    file.path = argument;
    layer = LayerInName(argument.substr(argument.rfind('/') + 1));
    if (layer < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the name of ", argument, " has no layer in it (\".h.13.\"): write LAYER=", argument));
    }
  }
  file.layer = LayerIndex(layer);
  return file;
}

absl::StatusOr<ImportedMoment> ImportMoment(const std::string& path, int64_t d_in) {
  AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<NpzFile> file, NpzFile::Open(path));
  ImportedMoment result;
  AMEND_ASSIGN_OR_RETURN(result.tokens, ReadArray(*file, kCount, kHeaderBytes, ToCount));
  if (result.tokens < 1) return Wrong(path, kCount, absl::StrCat(result.tokens, ", below 1"));
  const auto square = [d_in](const NpyArray& array) -> absl::StatusOr<std::vector<double>> {
    const std::vector<int64_t> wanted = {d_in, d_in};
    if (array.shape != wanted) {
      return absl::InvalidArgumentError(absl::StrCat(
          "shape ", ShapeText(array.shape), ", the model's keys need ", ShapeText(wanted)));
    }
    return ToDoubles(array);
  };
  // Another shape is told as such where it can be: room for some more than is wanted.
  const int64_t max_bytes = 4 * int64_t{sizeof(double)} * d_in * d_in + kHeaderBytes;
  AMEND_ASSIGN_OR_RETURN(const std::vector<double> sum, ReadArray(*file, kSum, max_bytes, square));
  AMEND_RETURN_IF_ERROR(CheckMatrix(sum, d_in, path));
  result.moment.rows = d_in;
  result.moment.cols = d_in;
  result.moment.values.resize(sum.size());
  for (int64_t i = 0; i < d_in; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const double mean = (sum[i * d_in + j] + sum[j * d_in + i]) / (2.0 * result.tokens);
      result.moment.values[i * d_in + j] = static_cast<float>(mean);
      result.moment.values[j * d_in + i] = static_cast<float>(mean);
    }
  }
  return result;
}

}  // namespace amend::jobs
