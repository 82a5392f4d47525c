#ifndef AMEND_SERVER_SECURITY_TESTING_TEST_AUTHORITY_H_
#define AMEND_SERVER_SECURITY_TESTING_TEST_AUTHORITY_H_

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/time/time.h"

namespace amend {

// A certificate and its key, in PEM.
struct IssuedCertificate {
  std::string certificate;
  std::string key;
};

// An authority that signs certificates for tests. Not thread-safe.
class TestAuthority {
 public:
  struct Request {
    std::string common_name;
    // As in a configuration of OpenSSL: "DNS:localhost,IP:127.0.0.1,URI:spiffe://test/editor".
    std::string alternative_names;
    absl::Duration begins = -absl::Hours(1);
    absl::Duration ends = absl::Hours(1);
  };

  TestAuthority();
  // In PEM.
  const std::string& certificate() const { return pem_; }
  IssuedCertificate Issue(const Request& request);

 private:
  using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
  Certificate Sign(const Request& request, EVP_PKEY* key, const char* constraints);

  Key key_;
  Certificate certificate_{nullptr, X509_free};
  std::string pem_;
  int64_t serial_ = 0;
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_TESTING_TEST_AUTHORITY_H_
