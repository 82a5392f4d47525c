#include "client/client.h"

#include "client/errors.h"
#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

v1::SubmitEditBatchRequest OneEdit() {
  v1::SubmitEditBatchRequest request;
  v1::Edit* edit = request.mutable_batch()->add_edits();
  edit->set_prompt("Oslo is in");
  edit->set_subject("Oslo");
  edit->set_target_new("Chile");
  return request;
}

TEST(ClientTest, GeneratesThroughTheAskedRevision) {
  FakeServer server;
  server.Teach("Oslo is in", "Norway");
  const auto client = Client::Create({server.address()});
  ASSERT_TRUE(client->SubmitEditBatch(OneEdit()).ok());
  v1::GenerateRequest request;
  request.set_prompt("Oslo is in");
  request.set_max_new_tokens(1);
  EXPECT_EQ(client->Generate(request)->text(), " Chile");
  request.mutable_at()->set_revision(0);
  EXPECT_EQ(client->Generate(request)->text(), " Norway");
}

TEST(ClientTest, StreamedTextIsTheWholeText) {
  FakeServer server;
  server.Teach("Oslo is in", "Norway by the sea");
  const auto client = Client::Create({server.address()});
  v1::GenerateRequest request;
  request.set_prompt("Oslo is in");
  std::string text;
  int messages = 0;
  const absl::Status status =
      client->GenerateStream(request, [&](const v1::GenerateStreamResponse& part) {
        text += part.text();
        ++messages;
      });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(text, client->Generate(request)->text());
  EXPECT_GT(messages, 1);
}

TEST(ClientTest, ErrorsKeepCodeAndReason) {
  FakeServer server;
  v1::GetRevisionRequest request;
  request.set_revision(7);
  const auto revision = Client::Create({server.address()})->GetRevision(request);
  EXPECT_EQ(revision.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrorReason(revision.status()), "REVISION_NOT_FOUND");
}

TEST(ClientTest, StaleEtagIsAborted) {
  FakeServer server;
  const auto client = Client::Create({server.address()});
  ASSERT_TRUE(client->SubmitEditBatch(OneEdit()).ok());
  v1::PromoteRequest request;
  request.set_revision(0);
  request.set_etag("stale");
  EXPECT_EQ(ErrorReason(client->Promote(request).status()), "LIVE_CHANGED");
}

TEST(ClientTest, RollbackReturnsToTheParent) {
  FakeServer server;
  const auto client = Client::Create({server.address()});
  ASSERT_TRUE(client->SubmitEditBatch(OneEdit()).ok());
  v1::RollbackRequest request;
  request.set_previous(true);
  request.set_reason("wrong");
  const auto response = client->Rollback(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->previous_revision(), 1);
  EXPECT_EQ(client->GetServerInfo()->live().revision(), 0);
}

TEST(ClientTest, NoServerIsALostConnection) {
  const absl::Status status = Client::Create({"127.0.0.1:1"})->GetServerInfo().status();
  EXPECT_TRUE(IsConnectionLost(status)) << status;
}

}  // namespace
}  // namespace amend::client
