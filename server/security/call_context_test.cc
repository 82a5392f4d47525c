#include "server/security/call_context.h"

#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

class NamedCaller final : public Caller {
 public:
  const std::string& name() const override { return name_; }
  std::string principal() const override { return "principal"; }
  absl::Status TakeEdits(int /*count*/) override { return absl::OkStatus(); }
  void AddGeneratedTokens(int64_t /*count*/) override {}
  void CancelWhenRevoked(std::function<void()> /*cancel*/) override {}
  absl::Status revoked() const override { return absl::OkStatus(); }
  void End() override {}

 private:
  const std::string name_ = "somebody";
};

TEST(CallContextTest, ACallIsRefusedUntilSomethingHasAdmittedIt) {
  EXPECT_THAT(AdmissionOf(CallContext()), StatusIs(absl::StatusCode::kInternal));
}

TEST(CallContextTest, AContextOfAnotherKindIsRefused) {
  const grpc::CallbackServerContext context;
  EXPECT_THAT(AdmissionOf(context), StatusIs(absl::StatusCode::kInternal));
  EXPECT_EQ(CallerOf(context), nullptr);
}

TEST(CallContextTest, TheCallerIsTheActor) {
  CallContext context;
  context.caller = std::make_unique<NamedCaller>();
  EXPECT_THAT(AdmissionOf(context), IsOk());
  EXPECT_EQ(CallerOf(context)->name(), "somebody");
  EXPECT_EQ(ActorOf(context), "somebody");
}

TEST(CallContextTest, TheNameOfOneWhomNobodyAskedIsNoPrincipal) {
  CallContext context;
  EXPECT_EQ(PrincipalOf(context), "");
  context.caller = std::make_unique<NamedCaller>();
  EXPECT_EQ(PrincipalOf(context), "principal");
}

TEST(CallContextTest, ARefusedCallHasNoCaller) {
  CallContext context;
  context.caller = absl::PermissionDeniedError("no");
  EXPECT_THAT(AdmissionOf(context), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_EQ(CallerOf(context), nullptr);
}

TEST(CallContextTest, TheAllocatorEndsItsOwnContextsAlone) {
  const auto allocator = MakeCallContextAllocator();
  grpc::CallbackServerContext* const made = allocator->NewCallbackServerContext();
  EXPECT_NE(dynamic_cast<CallContext*>(made), nullptr);
  allocator->Release(made);
  grpc::CallbackServerContext others;
  allocator->Release(&others);
}

}  // namespace
}  // namespace amend
