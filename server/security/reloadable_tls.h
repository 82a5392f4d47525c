#ifndef AMEND_SERVER_SECURITY_RELOADABLE_TLS_H_
#define AMEND_SERVER_SECURITY_RELOADABLE_TLS_H_

#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpc/grpc_security.h"
#include "grpcpp/security/server_credentials.h"
#include "server/security/tls_files.h"

namespace amend {

// TLS of the listeners of gRPC servers, with certificates that can be replaced while they listen:
// each handshake uses the newest ones, connections that stand go on with those they began with.
// Thread-safe. Outlives the gRPC servers that its credentials were given to.
class ReloadableTls {
 public:
  // With `files.client_authorities`, clients show a certificate that one of them signed, or, where
  // it is not required, none.
  ReloadableTls(TlsFiles files, bool require_client_certificate);
  ~ReloadableTls();
  ReloadableTls(const ReloadableTls&) = delete;
  ReloadableTls& operator=(const ReloadableTls&) = delete;

  // `files` were read and checked by ReadTlsFiles. Whether clients are asked for certificates stays
  // as it was at the start.
  void Replace(TlsFiles files) ABSL_LOCKS_EXCLUDED(mutex_);

  // For one listener; a second one needs its own.
  std::shared_ptr<grpc::ServerCredentials> NewCredentials() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Listener;

  // What gRPC takes, where there is something newer than `generation`, which it sets; else null.
  grpc_ssl_server_certificate_config* NewerConfig(int64_t* generation) ABSL_LOCKS_EXCLUDED(mutex_);

  const bool ask_for_certificates_;
  const bool require_client_certificate_;
  absl::Mutex mutex_;
  TlsFiles files_ ABSL_GUARDED_BY(mutex_);
  int64_t generation_ ABSL_GUARDED_BY(mutex_) = 1;
  // gRPC calls back with pointers to them.
  std::deque<std::unique_ptr<Listener>> listeners_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_RELOADABLE_TLS_H_
