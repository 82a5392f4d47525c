#ifndef AMEND_CORE_MODEL_CHECKPOINT_H_
#define AMEND_CORE_MODEL_CHECKPOINT_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace amend {

// A tensor of a safetensors file: its bytes are [begin, end) of the data behind the header.
struct TensorEntry {
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t begin = 0;
  int64_t end = 0;
};

// The 8-byte length and the header of a safetensors file of these tensors.
std::string SafetensorsHeader(const std::map<std::string, TensorEntry>& entries,
                              const std::map<std::string, std::string>& metadata);

// The type of a dtype in a header ("F16"); undefined for one that files here do not hold.
at::ScalarType ScalarTypeOf(const std::string& dtype);

// Named tensors in one safetensors file (https://github.com/huggingface/safetensors: 8-byte header
// length, JSON header, raw data). Thread-compatible.
class SafetensorsFile {
 public:
  // Reads and checks the header. NOT_FOUND, or INVALID_ARGUMENT naming the path and what is wrong
  // (length, tensor, offsets, overlap).
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);

  const std::string& path() const { return path_; }
  std::vector<std::string> TensorNames() const;
  bool Contains(const std::string& name) const { return entries_.count(name) > 0; }
  const std::map<std::string, TensorEntry>& entries() const { return entries_; }
  // Where the data begins in the file, and its bytes.
  int64_t data_offset() const { return data_offset_; }
  int64_t data_size() const { return data_size_; }
  // All bytes before the data, as the file has them.
  absl::StatusOr<std::string> ReadHeader() const;
  // The texts under "__metadata__"; those that are no strings are left out.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The tensor in the file's own dtype (F64, F32, F16, BF16, I64, I32, U8, BOOL), in memory of its
  // own. NOT_FOUND, naming file and tensor.
  absl::StatusOr<at::Tensor> Read(const std::string& name) const;

 private:
  explicit SafetensorsFile(std::string path) : path_(std::move(path)) {}
  absl::Status ParseHeader(const std::string& header, int64_t data_size);
  absl::Status CheckNoOverlap() const;

  const std::string path_;
  int64_t data_offset_ = 0;
  int64_t data_size_ = 0;
  std::map<std::string, TensorEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

// Writes tensors in their own dtype (one that Read knows) as one safetensors file: to a temporary
// name beside `path`, synced, then renamed. The same content gives the same bytes.
absl::Status WriteSafetensors(const std::map<std::string, at::Tensor>& tensors,
                              const std::string& path,
                              const std::map<std::string, std::string>& metadata = {});

// The weights of a Hugging Face directory: model.safetensors, or the shards named by
// model.safetensors.index.json.
class Checkpoint {
 public:
  // NOT_FOUND, naming the directory, when neither file is there; errors of a shard name the shard.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& directory);

  // Paths of the weight files in order of name.
  static absl::StatusOr<std::vector<std::string>> WeightFiles(const std::string& directory);

  // Converted to `dtype`. NOT_FOUND, naming the tensor, or INVALID_ARGUMENT naming it and both
  // shapes. A leading "transformer." may be absent in the file.
  absl::StatusOr<at::Tensor> Read(const std::string& name, absl::Span<const int64_t> shape,
                                  at::ScalarType dtype) const;
  bool Contains(const std::string& name) const;

 private:
  Checkpoint() = default;
  const SafetensorsFile* FileOf(const std::string& name) const;

  std::string directory_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_CHECKPOINT_H_
