#include "server/security/security_files.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/text_proto.h"

namespace amend {

absl::StatusOr<std::unique_ptr<SecurityFiles>> SecurityFiles::Load(Options options) {
  std::unique_ptr<SecurityFiles> made(new SecurityFiles(std::move(options)));
  absl::MutexLock lock(&made->mutex_);
  AMEND_RETURN_IF_ERROR(made->ReadTls());
  AMEND_RETURN_IF_ERROR(made->ReadPolicy());
  return made;
}

SecurityFiles::~SecurityFiles() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void SecurityFiles::Watch() {
  if (options_.files.policy_file.empty() && !options_.files.has_tls()) return;
  thread_ = std::thread([this] {
    const auto stopping = [this] {
      absl::MutexLock lock(&mutex_);
      return mutex_.AwaitWithTimeout(absl::Condition(&stopping_), options_.files.reload_interval);
    };
    while (!stopping()) CheckNow();
  });
}

void SecurityFiles::CheckNow() {
  absl::MutexLock lock(&mutex_);
  Note(SecurityFile::kTls, &watched_tls_, ReadTls());
  Note(SecurityFile::kPolicy, &watched_policy_, ReadPolicy());
}

absl::Status SecurityFiles::ReadTls() {
  if (!options_.files.has_tls()) return absl::OkStatus();
  AMEND_ASSIGN_OR_RETURN(TlsFiles files, ReadTlsFiles(options_.files, options_.clock()));
  if (tls_files_.has_value() && files == *tls_files_) return absl::OkStatus();
  if (options_.observer != nullptr) options_.observer->CertificateExpires(files.expiry);
  if (tls_ == nullptr) {
    tls_ = std::make_unique<ReloadableTls>(files, !options_.files.client_certificate_optional);
  } else {
    tls_->Replace(files);
    Taken(SecurityFile::kTls, absl::StrCat("TLS files read again, the certificate ",
                                           options_.files.tls_certificate_file, " is valid until ",
                                           absl::FormatTime(files.expiry)));
  }
  tls_files_ = std::move(files);
  return absl::OkStatus();
}

absl::Status SecurityFiles::ReadPolicy() {
  const std::string& path = options_.files.policy_file;
  if (path.empty()) return absl::OkStatus();
  AMEND_ASSIGN_OR_RETURN(std::string text, ReadTextFile("the policy", path));
  if (policy_text_ == text) return absl::OkStatus();
  AMEND_ASSIGN_OR_RETURN(std::shared_ptr<const AccessPolicy> policy,
                         AccessPolicy::Parse(path, text));
  options_.authorizer->SetPolicy(std::move(policy));
  if (policy_text_.has_value()) {
    Taken(SecurityFile::kPolicy, absl::StrCat("policy ", path, " read again"));
  }
  policy_text_ = std::move(text);
  return absl::OkStatus();
}

void SecurityFiles::Taken(SecurityFile file, absl::string_view what) {
  if (options_.progress) options_.progress(what);
  if (options_.observer != nullptr) options_.observer->SecurityFileChanged(file, /*taken=*/true);
}

void SecurityFiles::Note(SecurityFile file, Watched* watched, const absl::Status& status) {
  if (status.ok()) {
    *watched = Watched();
    return;
  }
  const std::string error(status.message());
  if (error != watched->last_error) {
    *watched = Watched{error, false};
    return;
  }
  if (watched->told) return;
  watched->told = true;
  if (options_.progress) {
    options_.progress(absl::StrCat("what was read before stays in force: ", error));
  }
  if (options_.observer != nullptr) options_.observer->SecurityFileChanged(file, /*taken=*/false);
}

}  // namespace amend
