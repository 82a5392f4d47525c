#include "server/security/reloadable_tls.h"

#include <string>
#include <utility>

#include "grpc/grpc.h"
#include "grpc/grpc_security.h"

namespace amend {
namespace {

// grpc::SslServerCredentials takes certificates once. gRPC's core can be asked to fetch them anew
// for each handshake, for which gRPC C++ has no credentials.
class FetchingCredentials final : public grpc::ServerCredentials {
 public:
  FetchingCredentials(grpc_ssl_client_certificate_request_type request,
                      grpc_ssl_server_certificate_config_callback fetch, void* data)
      : credentials_(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(request, fetch,
                                                                            data))) {}
  ~FetchingCredentials() override { grpc_server_credentials_release(credentials_); }

  // Who calls is asked per RPC, see Authorizer.
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* const credentials_;
};

}  // namespace

struct ReloadableTls::Listener {
  // For gRPC, from any of its threads.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* listener, grpc_ssl_server_certificate_config** config) {
    auto* const self = static_cast<Listener*>(listener);
    *config = self->tls->NewerConfig(&self->generation);
    return *config == nullptr ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED
                              : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  ReloadableTls* const tls;
  // That gRPC has; under the mutex of `tls`.
  int64_t generation = 0;
};

grpc_ssl_server_certificate_config* ReloadableTls::NewerConfig(int64_t* generation) {
  absl::MutexLock lock(&mutex_);
  if (*generation == generation_) return nullptr;
  *generation = generation_;
  const grpc_ssl_pem_key_cert_pair pair{files_.key.c_str(), files_.certificate_chain.c_str()};
  // gRPC wants authorities even where clients are not asked for certificates.
  const std::string& authorities =
      ask_for_certificates_ ? files_.client_authorities : files_.certificate_chain;
  return grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
}

ReloadableTls::ReloadableTls(TlsFiles files, bool require_client_certificate)
    : ask_for_certificates_(!files.client_authorities.empty()),
      require_client_certificate_(require_client_certificate),
      files_(std::move(files)) {}

ReloadableTls::~ReloadableTls() = default;

void ReloadableTls::Replace(TlsFiles files) {
  absl::MutexLock lock(&mutex_);
  files_ = std::move(files);
  ++generation_;
}

std::shared_ptr<grpc::ServerCredentials> ReloadableTls::NewCredentials() {
  Listener* listener = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    listeners_.push_back(std::unique_ptr<Listener>(new Listener{this}));
    listener = listeners_.back().get();
  }
  const auto request = !ask_for_certificates_ ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                       : require_client_certificate_
                           ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                           : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
  return std::make_shared<FetchingCredentials>(request, &Listener::Fetch, listener);
}

}  // namespace amend
