#include "core/editing/merged_checkpoint.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/merged_rows.h"
#include "core/editing/stacked_factors.h"
#include "core/model/checkpoint.h"

namespace amend {

// A stretch of a file of an export: a text, or bytes of a file of the model directory.
struct ExportPart {
  // The text, if `path` is empty, and what it stands for in the model directory.
  std::string text;
  std::string replaced;
  // Else `size` bytes of this file from `offset` on.
  std::string path;
  int64_t offset = 0;
  int64_t size = 0;
  // Set: the bytes are rows of `tensor`, into which the edits of `layer` are merged.
  std::string merged;
  TensorEntry tensor;
  LayerIndex layer;
  ProjectionLayout layout = ProjectionLayout::kOutIn;

  int64_t bytes() const { return path.empty() ? static_cast<int64_t>(text.size()) : size; }
};

namespace {

// Of a matrix that is merged at once, in the checkpoint's type.
constexpr int64_t kBlockBytes = 4 << 20;

constexpr char kProjectionsFile[] = "merged_projections.safetensors";

// What a Hugging Face directory has beside the weights, as far as it is there.
constexpr const char* kCompanions[] = {"config.json",
                                       "generation_config.json",
                                       "tokenizer.json",
                                       "tokenizer.model",
                                       "tokenizer_config.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "model.safetensors.index.json"};

// -1 when it is no file.
int64_t FileSize(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) ? int64_t{info.st_size} : -1;
}

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// What the weight file was, with what the export is.
std::map<std::string, std::string> Metadata(const MergedCheckpoint::Options& options,
                                            const HookStack& hooks,
                                            std::map<std::string, std::string> metadata) {
  // Hugging Face's loader wants to know whose tensors these are.
  metadata.try_emplace("format", "pt");
  metadata["amend_format"] =
      options.projections_only ? "merged-projections-1" : "merged-checkpoint-1";
  metadata["amend_base_fingerprint"] = options.model_fingerprint;
  metadata["amend_revision"] = absl::StrCat(options.revision.value());
  metadata["amend_edits"] = absl::StrCat(hooks.edit_count());
  return metadata;
}

// A projection in a weight file, if it is in this one.
struct FoundProjection {
  std::string name;
  TensorEntry tensor;
};
std::optional<FoundProjection> FindProjection(const SafetensorsFile& file,
                                              const std::string& tensor) {
  for (const std::string& name : {tensor, std::string(absl::StripPrefix(tensor, "transformer."))}) {
    const auto it = file.entries().find(name);
    if (it != file.entries().end()) return FoundProjection{name, it->second};
  }
  return std::nullopt;
}

ExportPart CopyOf(const std::string& path, int64_t offset, int64_t size) {
  ExportPart part;
  part.path = path;
  part.offset = offset;
  part.size = size;
  return part;
}

ExportPart MergeOf(const SafetensorsFile& file, const FoundProjection& projection, LayerIndex layer,
                   ProjectionLayout layout) {
  ExportPart part = CopyOf(file.path(), file.data_offset() + projection.tensor.begin,
                           projection.tensor.end - projection.tensor.begin);
  part.merged = projection.name;
  part.tensor = projection.tensor;
  part.layer = layer;
  part.layout = layout;
  return part;
}

std::vector<LayerIndex> EditedLayers(const CausalLm& model, const HookStack& hooks) {
  std::vector<LayerIndex> layers;
  for (int layer = 0; layer < model.config().layers; ++layer) {
    if (!hooks.LayerFactorsOf(LayerIndex(layer)).empty()) layers.emplace_back(layer);
  }
  return layers;
}

}  // namespace

// Reads parts of one export in their order.
class ExportReader {
 public:
  explicit ExportReader(const HookStack& hooks) : hooks_(hooks) {}

  // Bytes [begin, begin + count) of the part, which follow those that were read last.
  absl::Status Read(const ExportPart& part, int64_t begin, int64_t count, std::string* bytes) {
    if (part.path.empty()) {
      if (begin == 0) in_.Update(part.replaced);
      bytes->append(part.text, begin, count);
    } else if (!part.merged.empty()) {
      AMEND_RETURN_IF_ERROR(ReadMerged(part, begin, count, bytes));
    } else {
      const size_t before = bytes->size();
      bytes->resize(before + count);
      AMEND_RETURN_IF_ERROR(ReadFile(part.path, part.offset + begin, count, &(*bytes)[before]));
    }
    return absl::OkStatus();
  }

  // sha-256 of what was read from the model directory since the last call.
  std::string TakeInputDigest() {
    const std::string digest = in_.HexDigest();
    in_ = Sha256();
    return digest;
  }

 private:
  // Sha256Stream cannot begin anew.
  class Sha256 {
   public:
    void Update(absl::string_view bytes) { stream_->Update(bytes); }
    std::string HexDigest() { return stream_->HexDigest(); }

   private:
    std::unique_ptr<Sha256Stream> stream_ = std::make_unique<Sha256Stream>();
  };

  absl::Status ReadFile(const std::string& path, int64_t offset, int64_t count, char* bytes) {
    if (path != path_) {
      stream_ = std::ifstream(path, std::ios::binary);
      path_ = path;
    }
    stream_.seekg(offset);
    stream_.read(bytes, count);
    if (!stream_) {
      return absl::DataLossError(absl::StrCat("cannot read ", path, ": it was cut or replaced"));
    }
    in_.Update(absl::string_view(bytes, count));
    return absl::OkStatus();
  }

  absl::Status ReadMerged(const ExportPart& part, int64_t begin, int64_t count,
                          std::string* bytes) {
    while (count > 0) {
      if (begin == 0 || begin >= block_end_) {
        AMEND_RETURN_IF_ERROR(CatchTorch(absl::StrCat("merging ", part.merged),
                                         [&] { return MergeBlock(part, begin); }));
      }
      const int64_t taken = std::min(count, block_end_ - begin);
      bytes->append(block_, begin - block_begin_, taken);
      begin += taken;
      count -= taken;
    }
    return absl::OkStatus();
  }

  // The rows that begin at byte `begin` of the tensor, as many as kBlockBytes hold.
  absl::Status MergeBlock(const ExportPart& part, int64_t begin) {
    const TensorEntry& tensor = part.tensor;
    const int64_t row_bytes = part.size / tensor.shape[0];
    const int64_t first_row = begin / row_bytes;
    const int64_t rows =
        std::min(std::max<int64_t>(1, kBlockBytes / row_bytes), tensor.shape[0] - first_row);
    const at::Tensor block =
        at::empty({rows, tensor.shape[1]}, at::TensorOptions(ScalarTypeOf(tensor.dtype)));
    AMEND_RETURN_IF_ERROR(ReadFile(part.path, part.offset + begin, rows * row_bytes,
                                   static_cast<char*>(block.mutable_data_ptr())));
    const at::Tensor merged =
        MergeRows(block, first_row, part.layout, hooks_.LayerFactorsOf(part.layer));
    if (!at::isfinite(merged).all().item<bool>()) {
      return absl::OutOfRangeError(
          absl::StrCat("a merged weight of ", part.merged, " is not finite in ", tensor.dtype));
    }
    block_.assign(static_cast<const char*>(merged.const_data_ptr()), rows * row_bytes);
    block_begin_ = begin;
    block_end_ = begin + rows * row_bytes;
    return absl::OkStatus();
  }

  const HookStack& hooks_;
  Sha256 in_;
  std::string path_;
  std::ifstream stream_;
  // Merged bytes [block_begin_, block_end_) of the part that is being read.
  std::string block_;
  int64_t block_begin_ = 0;
  int64_t block_end_ = 0;
};

MergedCheckpoint::MergedCheckpoint(const Options& options, std::shared_ptr<const HookStack> hooks)
    : options_(options),
      hooks_(std::move(hooks)),
      reader_(std::make_unique<ExportReader>(*hooks_)) {}

MergedCheckpoint::~MergedCheckpoint() = default;

absl::StatusOr<std::unique_ptr<MergedCheckpoint>> MergedCheckpoint::Create(
    const Options& options, const CausalLm& model, std::shared_ptr<const HookStack> hooks) {
  std::unique_ptr<MergedCheckpoint> merged(new MergedCheckpoint(options, std::move(hooks)));
  if (options.projections_only) {
    AMEND_RETURN_IF_ERROR(merged->AddProjections(model));
  } else {
    AMEND_RETURN_IF_ERROR(merged->AddDirectory(model));
  }
  for (size_t file = 0; file < merged->parts_.size(); ++file) {
    for (const ExportPart& part : merged->parts_[file]) merged->files_[file].size += part.bytes();
  }
  return merged;
}

absl::Status MergedCheckpoint::AddProjections(const CausalLm& model) {
  AMEND_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                         Checkpoint::WeightFiles(options_.model_directory));
  std::map<std::string, TensorEntry> entries;
  std::map<std::string, ExportPart> merged;
  for (const std::string& path : paths) {
    AMEND_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
    for (const LayerIndex layer : EditedLayers(model, *hooks_)) {
      const StoredProjection stored = model.StoredDownProjection(layer);
      const auto found = FindProjection(*file, stored.tensor);
      if (!found.has_value()) continue;
      entries[found->name] = found->tensor;
      merged[found->name] = MergeOf(*file, *found, layer, stored.layout);
    }
  }
  int64_t end = 0;
  for (auto& [name, entry] : entries) {
    const int64_t size = entry.end - entry.begin;
    entry.begin = end;
    entry.end = end += size;
  }
  files_.push_back({kProjectionsFile, 0});
  std::vector<ExportPart>& parts = parts_.emplace_back();
  parts.emplace_back().text = SafetensorsHeader(entries, Metadata(options_, *hooks_, {}));
  for (auto& [name, part] : merged) parts.push_back(std::move(part));
  return absl::OkStatus();
}

absl::Status MergedCheckpoint::AddDirectory(const CausalLm& model) {
  for (const char* name : kCompanions) {
    const std::string path = absl::StrCat(options_.model_directory, "/", name);
    const int64_t size = FileSize(path);
    if (size < 0) continue;
    files_.push_back({name, 0});
    parts_.emplace_back().push_back(CopyOf(path, 0, size));
  }
  AMEND_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                         Checkpoint::WeightFiles(options_.model_directory));
  const std::vector<LayerIndex> layers = EditedLayers(model, *hooks_);
  for (const std::string& path : paths) {
    AMEND_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
    files_.push_back({BaseName(path), 0});
    std::vector<ExportPart>& parts = parts_.emplace_back();
    ExportPart& header = parts.emplace_back();
    header.text = SafetensorsHeader(file->entries(), Metadata(options_, *hooks_, file->metadata()));
    AMEND_ASSIGN_OR_RETURN(header.replaced, file->ReadHeader());
    // By the place of their bytes. All else between them stays as it is.
    std::map<int64_t, ExportPart> merged;
    for (const LayerIndex layer : layers) {
      const StoredProjection stored = model.StoredDownProjection(layer);
      const auto found = FindProjection(*file, stored.tensor);
      if (found) merged[found->tensor.begin] = MergeOf(*file, *found, layer, stored.layout);
    }
    int64_t begin = 0;
    for (auto& [place, part] : merged) {
      if (place > begin) {
        parts.push_back(CopyOf(path, file->data_offset() + begin, place - begin));
      }
      begin = place + part.size;
      parts.push_back(std::move(part));
    }
    if (file->data_size() > begin) {
      parts.push_back(CopyOf(path, file->data_offset() + begin, file->data_size() - begin));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<ExportPiece>> MergedCheckpoint::Next() {
  if (file_ == files_.size()) return std::optional<ExportPiece>();
  ExportPiece piece;
  piece.file = static_cast<int>(file_);
  const std::vector<ExportPart>& parts = parts_[file_];
  while (part_ < parts.size()) {
    const int64_t room = options_.piece_bytes - static_cast<int64_t>(piece.bytes.size());
    if (room == 0) break;
    const int64_t count = std::min(room, parts[part_].bytes() - done_);
    AMEND_RETURN_IF_ERROR(reader_->Read(parts[part_], done_, count, &piece.bytes));
    done_ += count;
    if (done_ < parts[part_].bytes()) break;
    ++part_;
    done_ = 0;
  }
  out_->Update(piece.bytes);
  if (part_ == parts.size()) {
    piece.sha256 = out_->HexDigest();
    out_ = std::make_unique<Sha256Stream>();
    input_digests_[files_[file_].name] = reader_->TakeInputDigest();
    ++file_;
    part_ = 0;
    if (file_ == files_.size()) AMEND_RETURN_IF_ERROR(CheckFingerprint());
  }
  return std::optional<ExportPiece>(std::move(piece));
}

absl::Status MergedCheckpoint::CheckFingerprint() const {
  if (options_.projections_only) return absl::OkStatus();
  AMEND_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                         Checkpoint::WeightFiles(options_.model_directory));
  std::map<std::string, std::string> digests;
  const auto add = [&](const std::string& name) {
    const auto found = input_digests_.find(name);
    if (found != input_digests_.end()) digests.insert(*found);
  };
  add("config.json");
  for (const std::string& path : paths) add(BaseName(path));
  const std::string found = FingerprintOf(digests);
  if (found == options_.model_fingerprint) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the files in ", options_.model_directory,
                   " are not those of the model that is served: fingerprint ", found, ", expected ",
                   options_.model_fingerprint));
}

}  // namespace amend
