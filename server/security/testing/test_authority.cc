#include "server/security/testing/test_authority.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace amend {
namespace {

template <typename Write>
std::string ToPem(Write write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  write(bio.get());
  char* text = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(bio.get(), &text));
  return std::string(text, size);
}

std::string ToPem(X509* certificate) {
  return ToPem([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
}

void AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

TestAuthority::TestAuthority() : key_(EVP_EC_gen("P-256"), EVP_PKEY_free) {
  certificate_ = Sign({"test authority", ""}, key_.get(), "critical,CA:TRUE");
  pem_ = ToPem(certificate_.get());
}

IssuedCertificate TestAuthority::Issue(const Request& request) {
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const Certificate certificate = Sign(request, key.get(), "critical,CA:FALSE");
  return {ToPem(certificate.get()), ToPem([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

TestAuthority::Certificate TestAuthority::Sign(const Request& request, EVP_PKEY* key,
                                               const char* constraints) {
  Certificate certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate.get()), ++serial_);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()),
                  static_cast<long>(absl::ToInt64Seconds(request.begins)));
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()),
                  static_cast<long>(absl::ToInt64Seconds(request.ends)));
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(request.common_name.c_str()),
                             -1, -1, 0);
  X509* const issuer = certificate_ == nullptr ? certificate.get() : certificate_.get();
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer));
  X509_set_pubkey(certificate.get(), key);
  AddExtension(certificate.get(), issuer, NID_basic_constraints, constraints);
  if (!request.alternative_names.empty()) {
    AddExtension(certificate.get(), issuer, NID_subject_alt_name, request.alternative_names);
  }
  X509_sign(certificate.get(), key_.get(), EVP_sha256());
  return certificate;
}

}  // namespace amend
