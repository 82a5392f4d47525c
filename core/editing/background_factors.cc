#include "core/editing/background_factors.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/tensor_matrix.h"

namespace amend {
namespace {

constexpr char kFormat[] = "amend-cholesky-factor-1";
// A damaged first line must not be read without end.
constexpr int64_t kMaxHeaderBytes = 4096;

absl::string_view BytesOf(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()),
          static_cast<size_t>(tensor.numel() * tensor.element_size())};
}

absl::Status CannotWrite(const std::string& path) {
  return absl::UnavailableError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
}

absl::Status WriteAll(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return CannotWrite(path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

std::string HeaderOf(absl::string_view origin, int64_t size, absl::string_view digest) {
  return absl::StrCat(kFormat, "\t", origin, "\t", size, "\t", digest, "\n");
}

absl::Status Damaged(const std::string& path, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("Cholesky factor ", path, ": ", what));
}

// The size that the first line names, once the line is found good. `digest` receives what it says.
absl::StatusOr<int64_t> ReadHeader(std::ifstream& file, absl::string_view origin,
                                   const std::string& path, std::string* digest) {
  std::string line(kMaxHeaderBytes, '\0');
  file.getline(line.data(), kMaxHeaderBytes);
  if (!file) return Damaged(path, "has no first line");
  line.resize(std::strlen(line.data()));
  const std::vector<std::string> fields = absl::StrSplit(line, '\t');
  int64_t size = 0;
  if (fields.size() != 4 || fields[0] != kFormat || !absl::SimpleAtoi(fields[2], &size) ||
      size < 1) {
    return Damaged(path, "its first line is not one of this format");
  }
  if (fields[1] != origin) {
    return Damaged(path, absl::StrCat("made from ", fields[1], ", wanted from ", origin));
  }
  *digest = fields[3];
  return size;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CholeskyFactor>> FactorBackground(
    const KeyCovariance::Layer& covariance, double lambda) {
  std::shared_ptr<const CholeskyFactor> result;
  const absl::Status status = CatchTorch("factoring the key covariance", [&]() -> absl::Status {
    absl::StatusOr<std::shared_ptr<const CholeskyFactor>> factor =
        CholeskyFactor::Of(ToTensor(covariance.moment), lambda);
    if (!factor.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the key covariance of layer ", covariance.layer.value(),
          " is singular: ", factor.status().message(), "; it has to be estimated from more text"));
    }
    result = *std::move(factor);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return result;
}

absl::Status SaveCholeskyFactor(const CholeskyFactor& factor, absl::string_view origin,
                                const std::string& path) {
  std::vector<at::Tensor> columns;
  Sha256Stream digest;
  for (const at::Tensor& column : factor.block_columns()) {
    columns.push_back(column.to(at::kCPU).contiguous());
    digest.Update(BytesOf(columns.back()));
  }
  const std::string temporary = path + ".tmp";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return CannotWrite(temporary);
  const absl::Cleanup close_file = [fd] { close(fd); };
  AMEND_RETURN_IF_ERROR(
      WriteAll(fd, HeaderOf(origin, factor.size(), digest.HexDigest()), temporary));
  for (const at::Tensor& column : columns)
    AMEND_RETURN_IF_ERROR(WriteAll(fd, BytesOf(column), temporary));
  if (fsync(fd) != 0 || rename(temporary.c_str(), path.c_str()) != 0) return CannotWrite(path);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const CholeskyFactor>> LoadCholeskyFactor(absl::string_view origin,
                                                                         const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) return absl::NotFoundError(absl::StrCat("no Cholesky factor ", path));
  std::string wanted;
  AMEND_ASSIGN_OR_RETURN(const int64_t size, ReadHeader(file, origin, path, &wanted));
  const auto begin = file.tellg();
  file.seekg(0, std::ios::end);
  int64_t bytes = 0;
  for (int64_t at = 0; at < size; at += CholeskyFactor::kBlock)
    bytes += 8 * (size - at) * std::min(CholeskyFactor::kBlock, size - at);
  if (file.tellg() - begin != bytes) return Damaged(path, "its length is not that of its size");
  file.seekg(begin);
  std::vector<at::Tensor> columns;
  Sha256Stream digest;
  for (int64_t at = 0; at < size; at += CholeskyFactor::kBlock) {
    columns.push_back(at::empty({size - at, std::min(CholeskyFactor::kBlock, size - at)},
                                at::TensorOptions().dtype(at::kDouble)));
    const absl::string_view place = BytesOf(columns.back());
    file.read(static_cast<char*>(columns.back().mutable_data_ptr()),
              static_cast<std::streamsize>(place.size()));
    if (!file) return Damaged(path, "cannot be read to its end");
    digest.Update(place);
  }
  if (const std::string found = digest.HexDigest(); found != wanted) {
    return Damaged(path, absl::StrCat("has sha-256 ", found, ", its first line says ", wanted));
  }
  return CholeskyFactor::FromBlockColumns(std::move(columns));
}

}  // namespace amend
