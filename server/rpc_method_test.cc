#include "server/rpc_method.h"

#include "amend/v1/generation.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(FindRpcMethodTest, APathNamesServiceAndMethod) {
  // Links the descriptors.
  v1::GenerateRequest::descriptor();
  const auto* const method = FindRpcMethod("/amend.v1.GenerationService/Generate");
  ASSERT_NE(method, nullptr);
  EXPECT_EQ(method->full_name(), "amend.v1.GenerationService.Generate");
}

TEST(FindRpcMethodTest, WhatIsNoPathOfAMethodIsNotFound) {
  v1::GenerateRequest::descriptor();
  for (const char* path :
       {"", "/", "/amend.v1.GenerationService", "/amend.v1.GenerationService/Invent",
        "/amend.v1.GenerationService/Generate/", "/amend.v1.GenerationService.Generate",
        "/amend.v1.NoService/Generate"}) {
    EXPECT_EQ(FindRpcMethod(path), nullptr) << path;
  }
}

}  // namespace
}  // namespace amend
