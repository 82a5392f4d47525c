#include "jobs/npz.h"

#include <zip.h>
#include <zlib.h>

#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace amend::jobs {
namespace {

uint32_t Checksum(absl::string_view bytes) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<NpzFile>> NpzFile::Open(const std::string& path) {
  int code = 0;
  zip_t* const archive = zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code);
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string message =
        absl::StrCat("cannot read ", path, " as a zip archive: ", zip_error_strerror(&error));
    zip_error_fini(&error);
    return code == ZIP_ER_NOENT ? absl::NotFoundError(message)
                                : absl::InvalidArgumentError(message);
  }
  return std::unique_ptr<NpzFile>(new NpzFile(path, archive));
}

NpzFile::~NpzFile() { zip_discard(archive_); }

std::string NpzFile::Keys() const {
  std::vector<absl::string_view> keys;
  const zip_int64_t entries = zip_get_num_entries(archive_, 0);
  for (zip_int64_t i = 0; i < entries; ++i) {
    const char* const name = zip_get_name(archive_, i, 0);
    if (name == nullptr) continue;
    absl::string_view key = name;
    if (absl::EndsWith(key, ".npy")) key.remove_suffix(4);
    keys.push_back(key);
  }
  return absl::StrJoin(keys, ", ");
}

absl::StatusOr<std::string> NpzFile::Read(const std::string& key, int64_t max_bytes) const {
  const std::string name = absl::StrCat(key, ".npy");
  zip_stat_t entry;
  if (zip_stat(archive_, name.c_str(), 0, &entry) != 0 || (entry.valid & ZIP_STAT_SIZE) == 0) {
    return absl::NotFoundError(
        absl::StrCat(path_, " has no array ", key, ", it has ", Keys().empty() ? "none" : Keys()));
  }
  if (entry.size > static_cast<uint64_t>(max_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": ", key, " has ", entry.size,
                                                   " bytes, the model's size allows ", max_bytes));
  }
  const auto broken = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": cannot read ", key, ": ", what));
  };
  zip_file_t* const file = zip_fopen(archive_, name.c_str(), 0);
  if (file == nullptr) return broken(zip_strerror(archive_));
  const absl::Cleanup close = [file] { zip_fclose(file); };
  std::string bytes(entry.size, '\0');
  for (size_t done = 0; done < bytes.size();) {
    const zip_int64_t got = zip_fread(file, bytes.data() + done, bytes.size() - done);
    if (got < 0) return broken(zip_file_strerror(file));
    if (got == 0) return broken(absl::StrCat("it ends after ", done, " of ", entry.size, " bytes"));
    done += static_cast<size_t>(got);
  }
  // libzip looks at the checksum only where it sees the end of the compressed data.
  if ((entry.valid & ZIP_STAT_CRC) == 0 || Checksum(bytes) != entry.crc)
    return broken("its checksum is wrong");
  return bytes;
}

}  // namespace amend::jobs
