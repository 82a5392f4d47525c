#include "server/security/authorizer.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/security/rpc_roles.h"

namespace amend {
namespace {

constexpr absl::string_view kBearer = "bearer ";

bool HasCertificate(const CertificateNames& names) {
  return !names.uris.empty() || !names.dns_names.empty() || !names.common_name.empty();
}

// The name that FindByCertificate would look at first.
std::string NameOf(const CallCredentials& credentials) {
  const CertificateNames& names = credentials.certificate;
  if (!names.uris.empty()) return names.uris.front();
  if (!names.dns_names.empty()) return names.dns_names.front();
  return names.common_name.empty() ? credentials.peer : names.common_name;
}

absl::Status Unknown(absl::string_view what) {
  return WithReason(absl::UnauthenticatedError(what), "CREDENTIALS_UNKNOWN");
}

absl::StatusOr<const v1::Principal*> Identify(const AccessPolicy& policy,
                                              const CallCredentials& credentials) {
  if (credentials.authorization.has_value()) {
    const absl::string_view value = *credentials.authorization;
    if (!absl::StartsWithIgnoreCase(value, kBearer)) {
      return Unknown("the metadata \"authorization\" is not \"Bearer TOKEN\"");
    }
    const v1::Principal* const found =
        policy.FindByToken(absl::StripAsciiWhitespace(value.substr(kBearer.size())));
    if (found == nullptr) return Unknown("no principal has this bearer token");
    return found;
  }
  if (HasCertificate(credentials.certificate)) {
    const v1::Principal* const found = policy.FindByCertificate(credentials.certificate);
    if (found == nullptr) {
      return Unknown(
          absl::StrCat("no principal has the client certificate of ", NameOf(credentials)));
    }
    return found;
  }
  return WithReason(
      absl::UnauthenticatedError(
          "this server asks who calls: send a bearer token or use a client certificate"),
      "CREDENTIALS_MISSING");
}

bool HasRole(const v1::Principal& principal, v1::Role role) {
  const auto& roles = principal.roles();
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

absl::Status RoleMissing(absl::string_view principal, absl::string_view method, v1::Role role) {
  const std::string name = absl::AsciiStrToLower(v1::Role_Name(role));
  return WithReason(
      absl::PermissionDeniedError(absl::StrCat(method, " needs the role ", name, ", which \"",
                                               principal, "\" does not have")),
      "ROLE_MISSING",
      {{"role", name}, {"principal", std::string(principal)}, {"method", std::string(method)}});
}

// Who calls, where the policy lets them.
absl::StatusOr<const v1::Principal*> Permit(const AccessPolicy& policy,
                                            const CallCredentials& credentials,
                                            absl::string_view method, v1::Role role) {
  AMEND_ASSIGN_OR_RETURN(const v1::Principal* const principal, Identify(policy, credentials));
  if (!HasRole(*principal, role)) return RoleMissing(principal->name(), method, role);
  return principal;
}

absl::Status Closed(absl::string_view method) {
  return WithReason(absl::PermissionDeniedError(absl::StrCat("no role may call ", method)),
                    "ROLE_MISSING", {{"method", std::string(method)}});
}

bool Generates(absl::string_view method) {
  return method == "amend.v1.GenerationService/Generate" ||
         method == "amend.v1.GenerationService/GenerateStream";
}

// One whom nobody asked.
class AnyCaller final : public Caller {
 public:
  explicit AnyCaller(std::string name) : name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  std::string principal() const override { return ""; }
  absl::Status TakeEdits(int /*count*/) override { return absl::OkStatus(); }
  void AddGeneratedTokens(int64_t /*count*/) override {}
  void CancelWhenRevoked(std::function<void()> /*cancel*/) override {}
  absl::Status revoked() const override { return absl::OkStatus(); }
  void End() override {}

 private:
  const std::string name_;
};

}  // namespace

// A principal of the policy.
class Authorizer::AdmittedCaller final : public Caller {
 public:
  AdmittedCaller(Authorizer* authorizer, CallCredentials credentials, std::string name,
                 std::string method, v1::Role role, std::shared_ptr<PrincipalUsage> usage)
      : authorizer_(authorizer),
        credentials_(std::move(credentials)),
        name_(std::move(name)),
        method_(std::move(method)),
        role_(role),
        usage_(std::move(usage)) {}
  ~AdmittedCaller() override { AdmittedCaller::End(); }

  const std::string& name() const override { return name_; }
  std::string principal() const override { return name_; }

  absl::Status TakeEdits(int count) override {
    // A stream of edits may outlive the policy under which it began.
    const std::shared_ptr<const AccessPolicy> policy = authorizer_->policy();
    const v1::Principal* const principal = policy->FindByName(name_);
    if (principal == nullptr || !HasRole(*principal, role_)) {
      return RoleMissing(name_, method_, role_);
    }
    return usage_->TakeEdits(policy->LimitsOf(*principal), count, authorizer_->clock_());
  }

  void AddGeneratedTokens(int64_t count) override {
    const std::shared_ptr<const AccessPolicy> policy = authorizer_->policy();
    const v1::Principal* const principal = policy->FindByName(name_);
    if (principal == nullptr) return;
    usage_->AddGeneratedTokens(policy->LimitsOf(*principal), count, authorizer_->clock_());
  }

  void CancelWhenRevoked(std::function<void()> cancel) override {
    authorizer_->Watch(this, std::move(cancel));
  }

  absl::Status revoked() const override {
    absl::MutexLock lock(&mutex_);
    return revoked_;
  }

  void End() override {
    if (ended_.exchange(true)) return;
    authorizer_->Unwatch(this);
    usage_->EndCall();
  }

  // Whether the call could begin under `policy`.
  absl::Status CheckUnder(const AccessPolicy& policy) const {
    return Permit(policy, credentials_, method_, role_).status();
  }
  void set_revoked(absl::Status why) {
    absl::MutexLock lock(&mutex_);
    revoked_ = std::move(why);
  }

 private:
  Authorizer* const authorizer_;
  const CallCredentials credentials_;
  const std::string name_;
  const std::string method_;
  const v1::Role role_;
  const std::shared_ptr<PrincipalUsage> usage_;
  std::atomic<bool> ended_ = false;
  mutable absl::Mutex mutex_;
  absl::Status revoked_ ABSL_GUARDED_BY(mutex_);
};

void Authorizer::SetPolicy(std::shared_ptr<const AccessPolicy> policy) {
  std::vector<std::function<void()>> cancels;
  {
    absl::MutexLock lock(&mutex_);
    policy_ = std::move(policy);
    cancels = TakeRevoked();
  }
  for (const auto& cancel : cancels) cancel();
}

void Authorizer::Watch(AdmittedCaller* caller, std::function<void()> cancel) {
  std::vector<std::function<void()>> cancels;
  {
    absl::MutexLock lock(&mutex_);
    watched_[caller] = std::move(cancel);
    // The policy may have changed since the call was admitted.
    cancels = TakeRevoked();
  }
  for (const auto& cancel_now : cancels) cancel_now();
}

void Authorizer::Unwatch(AdmittedCaller* caller) {
  absl::MutexLock lock(&mutex_);
  watched_.erase(caller);
}

std::vector<std::function<void()>> Authorizer::TakeRevoked() {
  std::vector<std::function<void()>> cancels;
  if (policy_ == nullptr) return cancels;
  for (auto it = watched_.begin(); it != watched_.end();) {
    const auto here = it++;
    absl::Status allowed = here->first->CheckUnder(*policy_);
    if (allowed.ok()) continue;
    here->first->set_revoked(std::move(allowed));
    cancels.push_back(std::move(here->second));
    watched_.erase(here);
  }
  return cancels;
}

std::shared_ptr<const AccessPolicy> Authorizer::policy() const {
  absl::ReaderMutexLock lock(&mutex_);
  return policy_;
}

std::shared_ptr<PrincipalUsage> Authorizer::UsageOf(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<PrincipalUsage>& usage = usage_[name];
  if (usage == nullptr) usage = std::make_shared<PrincipalUsage>();
  return usage;
}

absl::StatusOr<std::unique_ptr<Caller>> Authorizer::Admit(const CallCredentials& credentials,
                                                          absl::string_view method) {
  method = absl::StripPrefix(method, "/");
  const RpcRule rule = RuleOf(method);
  const std::shared_ptr<const AccessPolicy> policy = this->policy();
  const bool asks = policy != nullptr && rule.access != RpcAccess::kOpen;
  if (rule.access == RpcAccess::kClosed) {
    if (asks) {
      AMEND_RETURN_IF_ERROR(Identify(*policy, credentials).status());
    }
    return Closed(method);
  }
  if (!asks) return std::make_unique<AnyCaller>(NameOf(credentials));
  AMEND_ASSIGN_OR_RETURN(const v1::Principal* const principal,
                         Permit(*policy, credentials, method, rule.role));
  std::shared_ptr<PrincipalUsage> usage = UsageOf(principal->name());
  AMEND_RETURN_IF_ERROR(
      usage->BeginCall(policy->LimitsOf(*principal), Generates(method), clock_()));
  return std::make_unique<AdmittedCaller>(this, credentials, principal->name(), std::string(method),
                                          rule.role, std::move(usage));
}

}  // namespace amend
