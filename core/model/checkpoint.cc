#include "core/model/checkpoint.h"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxHeaderBytes = int64_t{100} << 20;

struct DtypeName {
  const char* name;
  at::ScalarType type;
  int64_t size;
};
constexpr DtypeName kDtypes[] = {
    {"F64", at::kDouble, 8},    {"F32", at::kFloat, 4}, {"F16", at::kHalf, 2},
    {"BF16", at::kBFloat16, 2}, {"I64", at::kLong, 8},  {"I32", at::kInt, 4},
    {"U8", at::kByte, 1},       {"BOOL", at::kBool, 1},
};

const DtypeName* FindDtype(at::ScalarType type) {
  for (const DtypeName& dtype : kDtypes) {
    if (type == dtype.type) return &dtype;
  }
  return nullptr;
}

const DtypeName* FindDtype(const std::string& name) {
  for (const DtypeName& dtype : kDtypes) {
    if (name == dtype.name) return &dtype;
  }
  return nullptr;
}

bool FileExists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

absl::Status WriteAll(int fd, const char* data, size_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      return absl::UnavailableError(
          absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
    data += written;
    size -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

// Bytes of a tensor; false when the product, zeros aside, passes 63 bits: LibTorch refuses such a
// shape even when it has no element.
bool ByteCount(const std::vector<int64_t>& shape, int64_t element_size, int64_t* bytes) {
  int64_t without_zeros = element_size;
  bool is_empty = false;
  for (const int64_t extent : shape) {
    is_empty |= extent == 0;
    if (__builtin_mul_overflow(without_zeros, std::max<int64_t>(extent, 1), &without_zeros))
      return false;
  }
  *bytes = is_empty ? 0 : without_zeros;
  return true;
}

// One tensor's part of the header. Returns what is wrong, or nothing.
std::string ParseEntry(const Json& value, int64_t data_size, TensorEntry* entry) {
  const auto is_count = [](const Json& json) {
    return json.is_number_unsigned() &&
           json.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
  };
  if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() ||
      !value.contains("shape") || !value["shape"].is_array() || !value.contains("data_offsets") ||
      !value["data_offsets"].is_array() || value["data_offsets"].size() != 2) {
    return "dtype, shape or data_offsets is missing";
  }
  entry->dtype = value["dtype"].get<std::string>();
  const DtypeName* dtype = FindDtype(entry->dtype);
  if (dtype == nullptr) return absl::StrCat("dtype ", entry->dtype, " is not supported");
  for (const Json& extent : value["shape"]) {
    if (!is_count(extent)) return "shape holds something that is not a count";
    entry->shape.push_back(extent.get<int64_t>());
  }
  int64_t bytes = 0;
  if (!ByteCount(entry->shape, dtype->size, &bytes)) return "shape is too large";
  for (const Json& offset : value["data_offsets"]) {
    if (!is_count(offset)) return "data_offsets must be counts";
  }
  entry->begin = value["data_offsets"][0].get<int64_t>();
  entry->end = value["data_offsets"][1].get<int64_t>();
  if (entry->end < entry->begin || entry->end > data_size) {
    return absl::StrCat("data [", entry->begin, ", ", entry->end, ") is outside the file's ",
                        data_size, " bytes of data: the file is cut or broken");
  }
  if (entry->end - entry->begin != bytes) {
    return absl::StrCat("has ", entry->end - entry->begin, " bytes, its shape needs ", bytes);
  }
  return "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  const int64_t file_size = file.tellg();
  file.seekg(0);
  uint64_t header_size = 0;
  file.read(reinterpret_cast<char*>(&header_size), sizeof(header_size));
  if (!file || header_size > static_cast<uint64_t>(kMaxHeaderBytes) ||
      static_cast<int64_t>(header_size) + 8 > file_size) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a safetensors file: header of ",
                                                   header_size, " bytes in a file of ", file_size));
  }
  std::string header(header_size, '\0');
  file.read(header.data(), static_cast<std::streamsize>(header_size));
  if (!file) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot read the header"));
  auto result = std::unique_ptr<SafetensorsFile>(new SafetensorsFile(path));
  result->data_offset_ = 8 + static_cast<int64_t>(header_size);
  result->data_size_ = file_size - result->data_offset_;
  AMEND_RETURN_IF_ERROR(result->ParseHeader(header, result->data_size_));
  return result;
}

absl::Status SafetensorsFile::ParseHeader(const std::string& header, int64_t data_size) {
  const Json json = Json::parse(header, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(path_, ": header is not a JSON object"));
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      for (const auto& [key, text] : value.items()) {
        if (text.is_string()) metadata_.emplace(key, text.get<std::string>());
      }
      continue;
    }
    TensorEntry entry;
    if (const std::string wrong = ParseEntry(value, data_size, &entry); !wrong.empty())
      return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor ", name, ": ", wrong));
    entries_.emplace(name, std::move(entry));
  }
  return CheckNoOverlap();
}

absl::Status SafetensorsFile::CheckNoOverlap() const {
  std::vector<const std::pair<const std::string, TensorEntry>*> by_begin;
  for (const auto& item : entries_) {
    if (item.second.end > item.second.begin) by_begin.push_back(&item);
  }
  std::sort(by_begin.begin(), by_begin.end(),
            [](const auto* a, const auto* b) { return a->second.begin < b->second.begin; });
  for (size_t i = 1; i < by_begin.size(); ++i) {
    if (by_begin[i]->second.begin < by_begin[i - 1]->second.end) {
      return absl::InvalidArgumentError(absl::StrCat(path_, ": tensors ", by_begin[i - 1]->first,
                                                     " and ", by_begin[i]->first,
                                                     " claim the same bytes of the file"));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> SafetensorsFile::TensorNames() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

absl::StatusOr<std::string> SafetensorsFile::ReadHeader() const {
  std::string header(data_offset_, '\0');
  std::ifstream file(path_, std::ios::binary);
  file.read(header.data(), data_offset_);
  if (!file) return absl::DataLossError(absl::StrCat(path_, ": cannot read the header"));
  return header;
}

absl::StatusOr<at::Tensor> SafetensorsFile::Read(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end())
    return absl::NotFoundError(absl::StrCat(path_, " has no tensor ", name));
  const TensorEntry& entry = it->second;
  at::Tensor tensor =
      at::empty(entry.shape, at::TensorOptions().dtype(FindDtype(entry.dtype)->type));
  std::ifstream file(path_, std::ios::binary);
  file.seekg(data_offset_ + entry.begin);
  file.read(static_cast<char*>(tensor.mutable_data_ptr()), entry.end - entry.begin);
  if (!file)
    return absl::DataLossError(absl::StrCat(path_, ": cannot read the data of tensor ", name));
  return tensor;
}

std::string SafetensorsHeader(const std::map<std::string, TensorEntry>& entries,
                              const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const auto& [name, entry] : entries) {
    header[name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text;
}

at::ScalarType ScalarTypeOf(const std::string& dtype) {
  const DtypeName* found = FindDtype(dtype);
  return found == nullptr ? at::ScalarType::Undefined : found->type;
}

absl::Status WriteSafetensors(const std::map<std::string, at::Tensor>& tensors,
                              const std::string& path,
                              const std::map<std::string, std::string>& metadata) {
  std::map<std::string, TensorEntry> entries;
  std::vector<at::Tensor> contiguous;
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const DtypeName* dtype = FindDtype(tensor.scalar_type());
    if (dtype == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", name, " has a dtype that safetensors files do not hold"));
    }
    contiguous.push_back(tensor.to(at::kCPU).contiguous());
    const int64_t bytes = contiguous.back().nbytes();
    entries[name] = {dtype->name, tensor.sizes().vec(), offset, offset + bytes};
    offset += bytes;
  }
  const std::string header = SafetensorsHeader(entries, metadata);

  const std::string temporary = path + ".tmp";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0)
    return absl::UnavailableError(
        absl::StrCat("cannot create ", temporary, ": ", std::strerror(errno)));
  const absl::Cleanup close_file = [fd] { close(fd); };
  AMEND_RETURN_IF_ERROR(WriteAll(fd, header.data(), header.size(), temporary));
  for (const at::Tensor& tensor : contiguous) {
    AMEND_RETURN_IF_ERROR(WriteAll(fd, static_cast<const char*>(tensor.const_data_ptr()),
                                   tensor.nbytes(), temporary));
  }
  if (fsync(fd) != 0 || rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Checkpoint::WeightFiles(const std::string& directory) {
  const std::string single = directory + "/model.safetensors";
  if (FileExists(single)) return std::vector<std::string>{single};
  const std::string index_path = directory + "/model.safetensors.index.json";
  std::ifstream file(index_path);
  if (!file) {
    return absl::NotFoundError(absl::StrCat(
        directory, " holds neither model.safetensors nor model.safetensors.index.json"));
  }
  const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(index_path, ": has no object \"weight_map\""));
  }
  std::set<std::string> names;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    if (!shard.is_string() || absl::StrContains(shard.get<std::string>(), "/")) {
      return absl::InvalidArgumentError(absl::StrCat(index_path, ": tensor ", tensor, " is in ",
                                                     shard.dump(), ", which is no file name"));
    }
    names.insert(directory + "/" + shard.get<std::string>());
  }
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& directory) {
  AMEND_ASSIGN_OR_RETURN(const std::vector<std::string> paths, WeightFiles(directory));
  auto checkpoint = std::unique_ptr<Checkpoint>(new Checkpoint());
  checkpoint->directory_ = directory;
  for (const std::string& path : paths) {
    AMEND_ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
    checkpoint->files_.push_back(std::move(file));
  }
  return checkpoint;
}

const SafetensorsFile* Checkpoint::FileOf(const std::string& name) const {
  for (const auto& file : files_) {
    if (file->Contains(name)) return file.get();
  }
  return nullptr;
}

bool Checkpoint::Contains(const std::string& name) const {
  return FileOf(name) != nullptr ||
         FileOf(std::string(absl::StripPrefix(name, "transformer."))) != nullptr;
}

absl::StatusOr<at::Tensor> Checkpoint::Read(const std::string& name,
                                            absl::Span<const int64_t> shape,
                                            at::ScalarType dtype) const {
  std::string stored = name;
  const SafetensorsFile* file = FileOf(stored);
  if (file == nullptr) {
    stored = std::string(absl::StripPrefix(name, "transformer."));
    file = FileOf(stored);
  }
  if (file == nullptr)
    return absl::NotFoundError(
        absl::StrCat("the checkpoint in ", directory_, " has no tensor ", name));
  AMEND_ASSIGN_OR_RETURN(const at::Tensor tensor, file->Read(stored));
  if (absl::MakeConstSpan(tensor.sizes().data(), tensor.dim()) != shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        file->path(), ": tensor ", stored, " has shape [", absl::StrJoin(tensor.sizes(), ", "),
        "], the config asks for [", absl::StrJoin(shape, ", "), "]"));
  }
  return tensor.to(dtype);
}

}  // namespace amend
