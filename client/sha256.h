#ifndef AMEND_CLIENT_SHA256_H_
#define AMEND_CLIENT_SHA256_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace amend::client {

// SHA-256 of bytes that come piece by piece. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(absl::string_view bytes);
  // Of everything so far, in hex; at most once.
  std::string HexDigest();

 private:
  struct Context;
  const std::unique_ptr<Context> context_;
};

}  // namespace amend::client

#endif  // AMEND_CLIENT_SHA256_H_
