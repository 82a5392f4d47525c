#include "server/security/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/text_proto.h"

namespace amend {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio Open(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
}

// OpenSSL would ask a terminal for the passphrase of an encrypted key.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) { return -1; }

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm fields{};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return absl::InfinitePast();
  return absl::FromTM(fields, absl::UTCTimeZone());
}

// The first certificate of a file, once all of them were parsed.
absl::StatusOr<Certificate> ParseCertificates(const std::string& file, const std::string& pem) {
  const Bio bio = Open(pem);
  Certificate first(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr), X509_free);
  bool intact = first != nullptr;
  while (intact) {
    const Certificate next(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr), X509_free);
    if (next == nullptr) break;
  }
  // The end of the file is an error too, but of its own kind.
  intact = intact && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!intact) return absl::InvalidArgumentError(absl::StrCat(file, " has no PEM certificates"));
  return first;
}

absl::StatusOr<Key> ParseKey(const std::string& file, const std::string& pem) {
  const Bio bio = Open(pem);
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr), EVP_PKEY_free);
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(file, " has no unencrypted private key in PEM"));
  }
  return key;
}

absl::Status CheckValidity(const std::string& file, const X509& certificate, absl::Time now) {
  const absl::Time begin = TimeOf(X509_get0_notBefore(&certificate));
  const absl::Time end = TimeOf(X509_get0_notAfter(&certificate));
  if (begin <= now && now < end) return absl::OkStatus();
  // Without the present time: the same error is the same text, see SecurityFiles.
  return absl::FailedPreconditionError(absl::StrCat("the certificate ", file, " is valid from ",
                                                    absl::FormatTime(begin), " to ",
                                                    absl::FormatTime(end), " and not now"));
}

}  // namespace

absl::StatusOr<TlsFiles> ReadTlsFiles(const SecurityOptions& options, absl::Time now) {
  TlsFiles files;
  AMEND_ASSIGN_OR_RETURN(files.certificate_chain,
                         ReadTextFile("the certificate", options.tls_certificate_file));
  AMEND_ASSIGN_OR_RETURN(files.key, ReadTextFile("the key", options.tls_key_file));
  AMEND_ASSIGN_OR_RETURN(const Certificate certificate,
                         ParseCertificates(options.tls_certificate_file, files.certificate_chain));
  AMEND_ASSIGN_OR_RETURN(const Key key, ParseKey(options.tls_key_file, files.key));
  const bool match = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!match) {
    return absl::InvalidArgumentError(absl::StrCat("the key ", options.tls_key_file,
                                                   " is not that of the certificate ",
                                                   options.tls_certificate_file));
  }
  AMEND_RETURN_IF_ERROR(CheckValidity(options.tls_certificate_file, *certificate, now));
  files.expiry = TimeOf(X509_get0_notAfter(certificate.get()));
  if (options.tls_client_ca_file.empty()) return files;
  AMEND_ASSIGN_OR_RETURN(files.client_authorities,
                         ReadTextFile("the authorities of clients", options.tls_client_ca_file));
  AMEND_RETURN_IF_ERROR(
      ParseCertificates(options.tls_client_ca_file, files.client_authorities).status());
  return files;
}

}  // namespace amend
