#ifndef AMEND_STORAGE_TESTING_STORE_FILES_H_
#define AMEND_STORAGE_TESTING_STORE_FILES_H_

// The files of a closed RocksDB store, for tests that damage them.

#include <cstdint>
#include <string>
#include <vector>

namespace amend {

// A new empty directory for the running test.
std::string NewTestDirectory();
// Moves what only the log holds into .sst and .blob files.
void FlushStore(const std::string& path);
// Puts raw bytes under a key, with no digest.
void PutRaw(const std::string& path, const std::string& column_family, const std::string& key,
            const std::string& value);
// Makes it a store of this format version.
void PutFormatVersion(const std::string& path, uint64_t version);
// Deletes a key.
void DeleteRaw(const std::string& path, const std::string& column_family, const std::string& key);
// The raw bytes under a key; empty when there is none.
std::string GetRaw(const std::string& path, const std::string& column_family,
                   const std::string& key);
// Full names of the files that end with `extension` (".sst"), sorted.
std::vector<std::string> FilesOf(const std::string& path, const std::string& extension);
void FlipBit(const std::string& file, uint64_t bit);

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_STORE_FILES_H_
