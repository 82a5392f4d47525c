#include "server/security/rpc_roles.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "amend/v1/admin.pb.h"
#include "amend/v1/edit.pb.h"
#include "amend/v1/generation.pb.h"
#include "amend/v1/revision.pb.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// Every service of the API.
std::vector<const google::protobuf::ServiceDescriptor*> Services() {
  std::vector<const google::protobuf::ServiceDescriptor*> services;
  for (const google::protobuf::FileDescriptor* file :
       {v1::EditBatch::descriptor()->file(), v1::Revision::descriptor()->file(),
        v1::GenerateRequest::descriptor()->file(), v1::ServerInfo::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) services.push_back(file->service(i));
  }
  return services;
}

TEST(RuleOfTest, EveryRpcOfEveryServiceHasARole) {
  int seen = 0;
  for (const auto* service : Services()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const std::string path = absl::StrCat(service->full_name(), "/", service->method(i)->name());
      EXPECT_EQ(RuleOf(path).access, RpcAccess::kByRole) << path << " is not in the table";
      EXPECT_NE(RuleOf(path).role, v1::ROLE_UNSPECIFIED) << path;
      ++seen;
    }
  }
  EXPECT_GT(seen, 30);
}

TEST(RuleOfTest, ThePathsOfRequestsBeginWithASlash) {
  EXPECT_EQ(RuleOf("/amend.v1.EditService/StreamEdits").role, v1::EDITOR);
  EXPECT_EQ(RuleOf("amend.v1.RevisionService/ListRevisions").role, v1::READER);
}

TEST(RuleOfTest, ReadingIsAnotherRoleThanMovingLabels) {
  EXPECT_EQ(RuleOf("amend.v1.RevisionService/GetRevision").role, v1::READER);
  EXPECT_EQ(RuleOf("amend.v1.RevisionService/Rollback").role, v1::PROMOTER);
  EXPECT_EQ(RuleOf("amend.v1.RevisionService/ExportRevision").role, v1::PROMOTER);
}

TEST(RuleOfTest, WhatIsNotInTheTableIsClosed) {
  EXPECT_EQ(RuleOf("amend.v1.EditService/Nonsense").access, RpcAccess::kClosed);
  EXPECT_EQ(RuleOf("").access, RpcAccess::kClosed);
}

TEST(RuleOfTest, HealthIsOpen) {
  EXPECT_EQ(RuleOf("/grpc.health.v1.Health/Check").access, RpcAccess::kOpen);
}

}  // namespace
}  // namespace amend
