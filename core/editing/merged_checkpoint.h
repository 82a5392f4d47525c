#ifndef AMEND_CORE_EDITING_MERGED_CHECKPOINT_H_
#define AMEND_CORE_EDITING_MERGED_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/digest.h"
#include "core/base/types.h"
#include "core/editing/hook_stack.h"
#include "core/model/causal_lm.h"

namespace amend {

class ExportReader;
struct ExportPart;

struct ExportFile {
  std::string name;
  int64_t size = 0;
};

// Some bytes of an export. All pieces, one after another, are its files, one after another.
struct ExportPiece {
  // Index of the file.
  int file = 0;
  std::string bytes;
  // sha-256 (hex) of the whole file; with its last piece only.
  std::string sha256;
};

// The weights of a model with all edits of a revision's line merged into them, piece by piece: a
// few megabytes are in memory at a time, whatever the model's size. Merged edits have no scope:
// each is always on (docs/export.md). Not thread-safe.
class MergedCheckpoint {
 public:
  struct Options {
    std::string model_directory;
    // ModelFingerprint() of that directory when the model was loaded.
    std::string model_fingerprint;
    // For the header of the files.
    Revision revision;
    // Only the down-projections that edits changed, as one safetensors file; else a whole Hugging
    // Face directory.
    bool projections_only = false;
    // The largest piece.
    int64_t piece_bytes = 1 << 20;
  };
  // Reads the headers of the weight files. `model` was loaded from the directory; `hooks` are those
  // of the revision. Errors name the file.
  static absl::StatusOr<std::unique_ptr<MergedCheckpoint>> Create(
      const Options& options, const CausalLm& model, std::shared_ptr<const HookStack> hooks);
  ~MergedCheckpoint();

  // What the pieces will be: known from the start.
  const std::vector<ExportFile>& files() const { return files_; }

  // The next piece; nothing after the last one. DATA_LOSS when a file of the model directory cannot
  // be read, or (at the end of a whole directory) when the directory is not the one whose
  // fingerprint was given; OUT_OF_RANGE, naming the tensor, when a merged weight is not finite in
  // the checkpoint's type.
  absl::StatusOr<std::optional<ExportPiece>> Next();

 private:
  MergedCheckpoint(const Options& options, std::shared_ptr<const HookStack> hooks);
  absl::Status AddDirectory(const CausalLm& model);
  absl::Status AddProjections(const CausalLm& model);
  absl::Status CheckFingerprint() const;

  const Options options_;
  const std::shared_ptr<const HookStack> hooks_;
  std::vector<ExportFile> files_;
  // Parts of each file, in order.
  std::vector<std::vector<ExportPart>> parts_;
  const std::unique_ptr<ExportReader> reader_;
  // Where the next piece begins: file, part of it, bytes of that part that were given.
  size_t file_ = 0;
  size_t part_ = 0;
  int64_t done_ = 0;
  // Of the file that is being given.
  std::unique_ptr<Sha256Stream> out_ = std::make_unique<Sha256Stream>();
  // sha-256 of what the model directory had for each file.
  std::map<std::string, std::string> input_digests_;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_MERGED_CHECKPOINT_H_
