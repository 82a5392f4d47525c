#include "client/dataset.h"

#include <cstdlib>
#include <fstream>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<EditRecord> Parse(absl::string_view text) {
  const absl::StatusOr<std::vector<EditRecord>> records = ParseEdits(text, "edits.jsonl");
  EXPECT_TRUE(records.ok()) << records.status();
  return records.value_or(std::vector<EditRecord>());
}

std::string ErrorOf(absl::string_view text) {
  const absl::StatusOr<std::vector<EditRecord>> records = ParseEdits(text, "edits.jsonl");
  EXPECT_EQ(records.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(records.status().message());
}

TEST(DatasetTest, ReadsOwnSpelling) {
  const auto records = Parse(
      R"({"prompt": "Oslo is in", "subject": "Oslo", "target_new": "Chile", "client_edit_id": "e",)"
      R"("paraphrases": ["Oslo lies in"],)"
      R"("locality_probes": [{"prompt": "Bergen is in", "answer": " Norway"}]})");
  ASSERT_THAT(records, SizeIs(1));
  const auto& edit = records[0].edit;
  EXPECT_EQ(edit.prompt(), "Oslo is in");
  EXPECT_EQ(edit.subject(), "Oslo");
  EXPECT_EQ(edit.target_new(), "Chile");
  EXPECT_EQ(edit.client_edit_id(), "e");
  EXPECT_THAT(edit.paraphrases(), ElementsAre("Oslo lies in"));
  ASSERT_THAT(edit.locality_probes(), SizeIs(1));
  EXPECT_EQ(edit.locality_probes(0).prompt(), "Bergen is in");
  EXPECT_EQ(edit.locality_probes(0).answer(), "Norway");
}

TEST(DatasetTest, ReadsCounterFactsSpelling) {
  const auto records = Parse(
      R"([{"case_id": 7, "prompt": "P S", "subject": "S", "target_new": {"str": " T", "id": "Q1"},
           "rephrase_prompt": "R S", "locality_prompt": "L", "locality_ground_truth": "A"}])");
  ASSERT_THAT(records, SizeIs(1));
  const auto& edit = records[0].edit;
  EXPECT_EQ(edit.target_new(), "T");
  EXPECT_EQ(edit.client_edit_id(), "7");
  EXPECT_THAT(edit.paraphrases(), ElementsAre("R S"));
  ASSERT_THAT(edit.locality_probes(), SizeIs(1));
  EXPECT_EQ(edit.locality_probes(0).answer(), "A");
}

TEST(DatasetTest, ReadsZsresSpellingAndDropsTheQuestionPrefix) {
  const auto records =
      Parse(R"({"subject": "S", "src": "What is S?", "alt": "T", "rephrase": "And S?",)"
            R"("loc": "nq question: who is it", "loc_ans": "him", "answers": ["x"], "pred": "y"})");
  ASSERT_THAT(records, SizeIs(1));
  const auto& edit = records[0].edit;
  EXPECT_EQ(edit.prompt(), "What is S?");
  EXPECT_EQ(edit.target_new(), "T");
  EXPECT_THAT(edit.paraphrases(), ElementsAre("And S?"));
  ASSERT_THAT(edit.locality_probes(), SizeIs(1));
  EXPECT_EQ(edit.locality_probes(0).prompt(), "who is it");
}

TEST(DatasetTest, EvaluatesOnTheRephrasePromptWhenThereIsOne) {
  const auto records =
      Parse(R"({"prompt": "S", "subject": "S", "target_new": "T", "paraphrases": ["a", "b"],)"
            R"("rephrase_prompt": "c"})");
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_THAT(records[0].edit.paraphrases(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(records[0].evaluation_paraphrases, ElementsAre("c"));
}

TEST(DatasetTest, TakesListsOfRephrasesAndNeighbours) {
  const auto records =
      Parse(R"({"prompt": "S", "subject": "S", "target_new": "T", "rephrase_prompt": ["a", "b"],)"
            R"("locality_prompt": ["l", "m"], "locality_ground_truth": ["x", "y"]})");
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_THAT(records[0].evaluation_paraphrases, ElementsAre("a", "b"));
  EXPECT_THAT(records[0].edit.locality_probes(), SizeIs(2));
}

TEST(DatasetTest, SkipsEmptyLinesAndCountsThem) {
  const std::string good = R"({"prompt": "S", "subject": "S", "target_new": "T"})";
  const auto records = Parse(good + "\n\n \r\n" + good + "\r\n");
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[0].line, 1);
  EXPECT_EQ(records[1].line, 4);
}

TEST(DatasetTest, AnEmptyFileHasNoEdits) {
  EXPECT_THAT(Parse(""), IsEmpty());
  EXPECT_THAT(Parse("\n [ ] \n"), IsEmpty());
}

TEST(DatasetTest, BracketsAndQuotesInsideStringsDoNotEndARecord) {
  const auto records = Parse(R"([{"prompt": "S ] } \" , [", "subject": "S", "target_new": "T"},)"
                             "\n"
                             R"({"prompt": "S", "subject": "S", "target_new": "U"}])");
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[0].edit.prompt(), "S ] } \" , [");
  EXPECT_EQ(records[1].line, 2);
}

TEST(DatasetTest, MissingFieldIsNamedWithItsLine) {
  EXPECT_EQ(ErrorOf("{\"prompt\": \"S\", \"subject\": \"S\", \"target_new\": \"T\"}\n"
                    "{\"prompt\": \"S\", \"target_new\": \"T\"}\n"),
            "edits.jsonl:2: field \"subject\": missing");
}

TEST(DatasetTest, WrongTypeIsNamedWithItsLine) {
  EXPECT_EQ(ErrorOf(R"({"prompt": 3, "subject": "S", "target_new": "T"})"),
            "edits.jsonl:1: field \"prompt\": a string is wanted, this is number");
}

TEST(DatasetTest, LineOfAnArrayElementIsItsOwn) {
  EXPECT_EQ(ErrorOf("[\n{\"prompt\": \"S\",\n \"subject\": \"S\", \"target_new\": \"T\"},\n"
                    "{\"prompt\": \"S\", \"subject\": \"\", \"target_new\": \"T\"}]"),
            "edits.jsonl:4: field \"subject\": is empty");
}

TEST(DatasetTest, BrokenJsonIsNamedWithItsLine) {
  EXPECT_EQ(ErrorOf("{\"prompt\": \"S\"\n"), "edits.jsonl:1: not valid JSON");
  EXPECT_THAT(ErrorOf("[{\"prompt\": \"S\""), HasSubstr("edits.jsonl:1: "));
  EXPECT_EQ(ErrorOf("[] x"), "edits.jsonl:1: text after the closing ]");
  EXPECT_EQ(ErrorOf("3\n"), "edits.jsonl:1: an object is wanted, this is number");
}

TEST(DatasetTest, ProbeWithoutAnswerIsNamed) {
  EXPECT_EQ(ErrorOf(R"({"prompt": "S", "subject": "S", "target_new": "T",)"
                    R"("locality_probes": [{"prompt": "x"}]})"),
            "edits.jsonl:1: field \"locality_probes[0].answer\": missing");
  EXPECT_EQ(ErrorOf(R"({"prompt": "S", "subject": "S", "target_new": "T",)"
                    R"("locality_prompt": "x"})"),
            "edits.jsonl:1: field \"locality_ground_truth\": 0 answers for 1 of locality_prompt");
}

TEST(DatasetTest, BadRecordsAreLeftOutAndReportedWhenAskedFor) {
  const std::string good = R"({"prompt": "S", "subject": "S", "target_new": "T"})";
  std::vector<absl::Status> bad;
  const auto records = ParseEdits(good + "\n{\"prompt\": 3}\n{\n" + good, "edits.jsonl", &bad);
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_THAT(*records, SizeIs(2));
  ASSERT_THAT(bad, SizeIs(2));
  EXPECT_THAT(std::string(bad[0].message()), HasSubstr("edits.jsonl:2: field \"prompt\""));
  EXPECT_EQ(bad[1].message(), "edits.jsonl:3: not valid JSON");
}

TEST(DatasetTest, MissingFileIsNotFoundAndNamed) {
  const auto records = ReadEdits("no/such/file.jsonl");
  EXPECT_EQ(records.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(records.status().message()), HasSubstr("no/such/file.jsonl"));
}

TEST(DatasetTest, ADirectoryIsNotAFile) {
  EXPECT_EQ(ReadEdits(testing::TempDir()).status().code(), absl::StatusCode::kNotFound);
}

TEST(DatasetTest, ReadsAFile) {
  const std::string path = testing::TempDir() + "/dataset_test_edits.jsonl";
  std::ofstream(path) << R"({"prompt": "S", "subject": "S", "target_new": "T"})";
  const auto records = ReadEdits(path);
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_THAT(*records, SizeIs(1));
}

// Field sets of the published data, which are not part of this repository.
TEST(DatasetTest, ReadsPublishedDataSets) {
  const char* path = std::getenv("AMEND_EDIT_FILE");
  if (path == nullptr) GTEST_SKIP() << "AMEND_EDIT_FILE names no file";
  std::vector<absl::Status> bad;
  const auto records = ReadEdits(path, &bad);
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_GT(records->size(), 100 * bad.size());
}

}  // namespace
}  // namespace amend::client
