#ifndef AMEND_JOBS_TESTING_NPZ_WRITER_H_
#define AMEND_JOBS_TESTING_NPZ_WRITER_H_

#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace amend::jobs {

// The bytes of `values` one behind the other.
template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// An .npy array as NumPy writes it: dtype "<f4", shape "(2, 3)", the elements' bytes.
std::string NpyBytes(const std::string& dtype, const std::string& shape,
                     const std::string& elements, const std::string& fortran_order = "False");

// Writes "KEY.npy" entries as numpy.savez (stored) or savez_compressed does, below the test's
// folder, and returns the path.
std::string WriteNpz(const std::string& name, const std::map<std::string, std::string>& arrays,
                     bool compressed = false);

// The statistics of one layer as MEMIT saves them.
std::string WriteMomentNpz(const std::string& name, const std::vector<float>& sum, int64_t d_in,
                           int64_t count);

}  // namespace amend::jobs

#endif  // AMEND_JOBS_TESTING_NPZ_WRITER_H_
