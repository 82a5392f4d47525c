#include "client/evaluation.h"

#include "client/testing/fake_server.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

EditRecord Record(const std::string& prompt, const std::string& target) {
  EditRecord record;
  record.edit.set_prompt(prompt);
  record.edit.set_subject(prompt);
  record.edit.set_target_new(target);
  return record;
}

absl::StatusOr<Evaluation> EvaluateAtLive(const FakeServer& server,
                                          const std::vector<EditRecord>& records) {
  const auto client = Client::Create({server.address()});
  return Evaluate(client.get(), records, {});
}

void Apply(const FakeServer& server, const EditRecord& record) {
  v1::SubmitEditBatchRequest request;
  *request.mutable_batch()->add_edits() = record.edit;
  ASSERT_TRUE(Client::Create({server.address()})->SubmitEditBatch(request).ok());
}

TEST(EvaluationTest, ReliabilityIsTheShareOfTargetTokens) {
  FakeServer server;
  server.Teach("p", "New South Wales");
  const auto result = EvaluateAtLive(server, {Record("p", "New York"), Record("p", "New South")});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_DOUBLE_EQ(result->reliability.value(), 0.75);
  EXPECT_EQ(result->reliability.count, 2);
}

TEST(EvaluationTest, ExactMatchIsOfTheWholeGreedyText) {
  FakeServer server;
  server.Teach("p", "New South Wales");
  const auto result = EvaluateAtLive(server, {Record("p", "New York"), Record("p", "New South")});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_DOUBLE_EQ(result->exact_match.value(), 0.5);
}

TEST(EvaluationTest, GeneralityCountsOnlyRecordsWithParaphrases) {
  FakeServer server;
  server.Teach("q", "T");
  EditRecord with = Record("p", "T");
  with.evaluation_paraphrases = {"q", "unknown"};
  const auto result = EvaluateAtLive(server, {with, Record("p", "T")});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_DOUBLE_EQ(result->generality.value(), 0.5);
  EXPECT_EQ(result->generality.count, 1);
}

TEST(EvaluationTest, LocalityComparesWithTheUneditedModelNotWithTheAnswer) {
  FakeServer server;
  server.Teach("kept", "wrong but unchanged");
  server.Teach("changed", "old");
  EditRecord record = Record("p", "T");
  for (const char* prompt : {"kept", "changed"}) {
    v1::Probe* probe = record.edit.add_locality_probes();
    probe->set_prompt(prompt);
    probe->set_answer("anything");
  }
  Apply(server, Record("changed", "new"));
  const auto result = EvaluateAtLive(server, {record});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_DOUBLE_EQ(result->locality.value(), 0.5);
  EXPECT_EQ(result->revision, 1);
  EXPECT_EQ(result->against, 0);
}

TEST(EvaluationTest, LocalityComparesWithAnotherRevisionWhenAsked) {
  FakeServer server;
  server.Teach("changed", "old");
  Apply(server, Record("changed", "new"));
  EditRecord record = Record("p", "T");
  record.edit.add_locality_probes()->set_prompt("changed");
  record.edit.mutable_locality_probes(0)->set_answer("x");
  EvaluationOptions options;
  options.against.set_revision(1);
  const auto client = Client::Create({server.address()});
  const auto result = Evaluate(client.get(), {record}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_DOUBLE_EQ(result->locality.value(), 1);
}

TEST(EvaluationTest, ManyRecordsGoInParts) {
  FakeServer server;
  server.Teach("p", "T");
  std::vector<EditRecord> records(200, Record("p", "T"));
  std::vector<size_t> seen;
  EvaluationOptions options;
  options.progress = [&seen](size_t done) { seen.push_back(done); };
  const auto client = Client::Create({server.address()});
  const auto result = Evaluate(client.get(), records, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exact_match.count, 200);
  EXPECT_EQ(seen.front(), 0u);
  EXPECT_EQ(seen.back(), 200u);
}

TEST(EvaluationTest, UnknownRevisionIsTheServersError) {
  FakeServer server;
  EvaluationOptions options;
  options.at.set_revision(9);
  const auto client = Client::Create({server.address()});
  EXPECT_EQ(Evaluate(client.get(), {Record("p", "T")}, options).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace amend::client
