#include "jobs/testing/npz_writer.h"

#include <unistd.h>
#include <zip.h>

#include <cstdlib>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace amend::jobs {

std::string NpyBytes(const std::string& dtype, const std::string& shape,
                     const std::string& elements, const std::string& fortran_order) {
  std::string header = absl::StrCat("{'descr': '", dtype, "', 'fortran_order': ", fortran_order,
                                    ", 'shape': ", shape, ", }");
  header.append((64 - (10 + header.size() + 1) % 64) % 64, ' ');
  header.push_back('\n');
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes.push_back(static_cast<char>(header.size() & 255));
  bytes.push_back(static_cast<char>(header.size() >> 8));
  return absl::StrCat(bytes, header, elements);
}

std::string WriteNpz(const std::string& name, const std::map<std::string, std::string>& arrays,
                     bool compressed) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  unlink(path.c_str());
  zip_t* const archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  bool good = archive != nullptr;
  for (const auto& [key, bytes] : arrays) {
    if (!good) break;
    zip_source_t* const source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
    const zip_int64_t entry = zip_file_add(archive, absl::StrCat(key, ".npy").c_str(), source, 0);
    good = entry >= 0 && zip_set_file_compression(
                             archive, entry, compressed ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0) == 0;
  }
  if (!good || zip_close(archive) != 0) {
    std::cerr << "cannot write " << path << std::endl;
    std::abort();
  }
  return path;
}

std::string WriteMomentNpz(const std::string& name, const std::vector<float>& sum, int64_t d_in,
                           int64_t count) {
  return WriteNpz(
      name, {{"mom2.constructor", NpyBytes("<U4", "()", BytesOf<char32_t>({'m', 'o', 'm', '2'}))},
             {"mom2.count", NpyBytes("<i8", "()", BytesOf<int64_t>({count}))},
             {"mom2.mom2", NpyBytes("<f4", absl::StrCat("(", d_in, ", ", d_in, ")"), BytesOf(sum))},
             {"sample_size", NpyBytes("<i8", "()", BytesOf<int64_t>({100000}))}});
}

}  // namespace amend::jobs
