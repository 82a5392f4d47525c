#include "storage/testing/store_files.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>

#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "storage/record_codec.h"

namespace amend {
namespace {

using Families = std::vector<rocksdb::ColumnFamilyHandle*>;

void WithDb(const std::string& path, const std::function<void(rocksdb::DB*, Families)>& use) {
  rocksdb::DBOptions options;
  options.avoid_flush_during_recovery = true;
  std::vector<std::string> names;
  ASSERT_TRUE(rocksdb::DB::ListColumnFamilies(options, path, &names).ok());
  rocksdb::ColumnFamilyOptions family_options;
  family_options.compression = rocksdb::kNoCompression;
  family_options.enable_blob_files = true;
  family_options.min_blob_size = 16 << 10;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) descriptors.emplace_back(name, family_options);
  Families handles;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(options, path, descriptors, &handles, &raw);
  ASSERT_TRUE(opened.ok()) << opened.ToString();
  std::unique_ptr<rocksdb::DB> db(raw);
  use(raw, handles);
  for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
  EXPECT_TRUE(db->Close().ok());
}

rocksdb::ColumnFamilyHandle* Find(const Families& families, const std::string& name) {
  for (rocksdb::ColumnFamilyHandle* family : families) {
    if (family->GetName() == name) return family;
  }
  ADD_FAILURE() << "no column family " << name;
  return families.front();
}

}  // namespace

std::string NewTestDirectory() {
  std::string path = testing::TempDir() + "/amend_store_XXXXXX";
  if (mkdtemp(path.data()) == nullptr) ADD_FAILURE() << "cannot make " << path;
  return path;
}

void FlushStore(const std::string& path) {
  WithDb(path, [](rocksdb::DB* db, const Families& families) {
    EXPECT_TRUE(db->Flush(rocksdb::FlushOptions(), families).ok());
  });
}

void PutRaw(const std::string& path, const std::string& column_family, const std::string& key,
            const std::string& value) {
  WithDb(path, [&](rocksdb::DB* db, const Families& families) {
    EXPECT_TRUE(db->Put(rocksdb::WriteOptions(), Find(families, column_family), key, value).ok());
  });
}

void PutFormatVersion(const std::string& path, uint64_t version) {
  const ValueAddress address{"meta", "format_version"};
  PutRaw(path, "meta", std::string(address.key), EncodeCounter(address, version));
}

void DeleteRaw(const std::string& path, const std::string& column_family, const std::string& key) {
  WithDb(path, [&](rocksdb::DB* db, const Families& families) {
    EXPECT_TRUE(db->Delete(rocksdb::WriteOptions(), Find(families, column_family), key).ok());
  });
}

std::string GetRaw(const std::string& path, const std::string& column_family,
                   const std::string& key) {
  std::string value;
  WithDb(path, [&](rocksdb::DB* db, const Families& families) {
    db->Get(rocksdb::ReadOptions(), Find(families, column_family), key, &value);
  });
  return value;
}

std::vector<std::string> FilesOf(const std::string& path, const std::string& extension) {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(path)) {
    if (file.path().extension() == extension) files.push_back(file.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void FlipBit(const std::string& file, uint64_t bit) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(bit / 8));
  const char byte = static_cast<char>(stream.get() ^ (1 << (bit % 8)));
  stream.seekp(static_cast<std::streamoff>(bit / 8));
  stream.put(byte);
  ASSERT_TRUE(stream.good()) << file;
}

}  // namespace amend
