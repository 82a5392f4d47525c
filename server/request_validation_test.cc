#include "server/request_validation.h"

#include <limits>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

v1::StreamEditsRequest::Start StartOf(const std::string& session) {
  v1::StreamEditsRequest::Start start;
  start.set_session(session);
  return start;
}

std::vector<EditViolation> NoViolations(absl::Span<const Edit>) { return {}; }

TEST(ValidateStartTest, TakesTheWholeAlphabetUpTo128Characters) {
  EXPECT_THAT(ValidateStart(StartOf("aZ09._:-")), IsOk());
  EXPECT_THAT(ValidateStart(StartOf(std::string(128, 'x'))), IsOk());
}

TEST(ValidateStartTest, NamesTheLengthOfASessionThatIsTooLong) {
  EXPECT_THAT(ValidateStart(StartOf(std::string(129, 'x'))),
              StatusIs(kInvalid, AllOf(HasSubstr("129"), HasSubstr("128"))));
}

TEST(ValidateStartTest, ASessionOfTenKilobytesIsTurnedDownWithoutRepeatingIt) {
  const absl::Status status = ValidateStart(StartOf(std::string(10 * 1024, 'x')));
  EXPECT_THAT(status, StatusIs(kInvalid, HasSubstr("has 10240 characters, at most 128")));
  EXPECT_LT(status.message().size(), 200u);
}

TEST(ValidateStartTest, TurnsDownEmptySessionsAndOtherCharacters) {
  EXPECT_THAT(ValidateStart(StartOf("")), StatusIs(kInvalid, HasSubstr("empty")));
  for (const std::string session : {"a b", "a/b", "a\n", "\xc3\xa4"}) {
    EXPECT_THAT(ValidateStart(StartOf(session)), StatusIs(kInvalid)) << session;
  }
}

TEST(ValidateStartTest, KeepsUnarySessionsForSubmit) {
  EXPECT_THAT(ValidateStart(StartOf("unary:a")), StatusIs(kInvalid, HasSubstr("reserved")));
}

TEST(ValidateStartTest, ThresholdsLieBetweenZeroAndOne) {
  for (const double value : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity()}) {
    v1::StreamEditsRequest::Start start = StartOf("s");
    start.mutable_thresholds()->set_locality(value);
    EXPECT_THAT(ValidateStart(start), StatusIs(kInvalid, HasSubstr("thresholds.locality")));
  }
  v1::StreamEditsRequest::Start start = StartOf("s");
  start.mutable_thresholds()->set_locality(1);
  start.mutable_thresholds()->set_reliability(0);
  EXPECT_THAT(ValidateStart(start), IsOk());
}

TEST(ValidateStartTest, EveryThresholdIsChecked) {
  const auto with = [](auto set) {
    v1::StreamEditsRequest::Start start = StartOf("s");
    set(start.mutable_thresholds());
    return ValidateStart(start);
  };
  EXPECT_THAT(with([](auto* t) { t->set_reliability(2); }),
              StatusIs(kInvalid, HasSubstr("thresholds.reliability: 2 is not in [0, 1]")));
  EXPECT_THAT(with([](auto* t) { t->set_generality(-1); }),
              StatusIs(kInvalid, HasSubstr("thresholds.generality")));
  EXPECT_THAT(with([](auto* t) { t->set_background(1.5); }),
              StatusIs(kInvalid, HasSubstr("thresholds.background")));
  EXPECT_THAT(with([](auto* t) { t->set_retention(-0.5); }),
              StatusIs(kInvalid, HasSubstr("thresholds.retention")));
  EXPECT_THAT(with([](auto* t) { t->set_max_perplexity_change(-0.1); }),
              StatusIs(kInvalid, HasSubstr("thresholds.max_perplexity_change: -0.1")));
  EXPECT_THAT(
      with([](auto* t) { t->set_max_perplexity_change(std::numeric_limits<double>::quiet_NaN()); }),
      StatusIs(kInvalid, HasSubstr("max_perplexity_change")));
  // More than twice the perplexity may be allowed.
  EXPECT_THAT(with([](auto* t) { t->set_max_perplexity_change(1.5); }), IsOk());
}

TEST(ValidateStartTest, TurnsDownAFailurePolicyItDoesNotKnow) {
  v1::StreamEditsRequest::Start start = StartOf("s");
  start.set_failure_policy(static_cast<v1::FailurePolicy>(9));
  EXPECT_THAT(ValidateStart(start), StatusIs(kInvalid, HasSubstr("failure_policy: 9")));
  start.set_failure_policy(v1::DROP_FAILING);
  EXPECT_THAT(ValidateStart(start), IsOk());
}

TEST(ValidateStartTest, TurnsDownAPromotionItDoesNotKnow) {
  v1::StreamEditsRequest::Start start = StartOf("s");
  start.set_promotion(static_cast<v1::Promotion>(9));
  EXPECT_THAT(ValidateStart(start), StatusIs(kInvalid, HasSubstr("9")));
}

TEST(ValidateSubmitTest, TheRequestIdMayBeLeftOut) {
  v1::SubmitEditBatchRequest request;
  EXPECT_THAT(ValidateSubmit(request), IsOk());
  request.set_request_id("a b");
  EXPECT_THAT(ValidateSubmit(request), StatusIs(kInvalid, HasSubstr("request_id")));
}

TEST(ValidateSubmitTest, NobodyWaitsForAcceptedOnly) {
  v1::SubmitEditBatchRequest request;
  request.set_wait_for(v1::ACCEPTED);
  EXPECT_THAT(ValidateSubmit(request), StatusIs(kInvalid, HasSubstr("wait_for")));
  request.set_wait_for(v1::DURABLE);
  EXPECT_THAT(ValidateSubmit(request), IsOk());
}

TEST(ValidateOffsetTest, NegativeOffsetsAreTurnedDown) {
  EXPECT_THAT(ValidateOffset(0), IsOk());
  EXPECT_THAT(ValidateOffset(-1), StatusIs(kInvalid, HasSubstr("offset: -1 is negative")));
}

TEST(ValidateGetBatchTest, TakesUnarySessionsAndNoNegativeOffsets) {
  v1::GetEditBatchRequest request;
  request.set_session("unary:" + std::string(128, 'x'));
  EXPECT_THAT(ValidateGetBatch(request), IsOk());
  request.set_offset(-1);
  EXPECT_THAT(ValidateGetBatch(request), StatusIs(kInvalid, HasSubstr("-1")));
}

TEST(ValidatePromoteTest, TurnsDownNegativeRevisionsAndOddLabels) {
  v1::PromoteRequest request;
  EXPECT_THAT(ValidatePromote(request), IsOk());
  request.set_revision(-2);
  EXPECT_THAT(ValidatePromote(request), StatusIs(kInvalid, HasSubstr("-2")));
  request.set_revision(2);
  request.set_label("a b");
  EXPECT_THAT(ValidatePromote(request), StatusIs(kInvalid, HasSubstr("label")));
}

TEST(ValidateWithdrawEditsTest, NeedsAReasonAndEditsEachOnce) {
  v1::WithdrawEditsRequest request;
  request.add_edits()->set_revision(3);
  EXPECT_THAT(ValidateWithdrawEdits(request), StatusIs(kInvalid, HasSubstr("reason")));
  request.set_reason("wrong source");
  EXPECT_THAT(ValidateWithdrawEdits(request), IsOk());
  request.add_edits()->set_revision(3);
  EXPECT_THAT(ValidateWithdrawEdits(request), StatusIs(kInvalid, HasSubstr("edits[1]")));
  request.mutable_edits(1)->set_edit_index(1);
  EXPECT_THAT(ValidateWithdrawEdits(request), IsOk());
  request.clear_edits();
  EXPECT_THAT(ValidateWithdrawEdits(request), StatusIs(kInvalid, HasSubstr("names 0 edits")));
  for (int32_t i = 0; i < 1001; ++i) request.add_edits()->set_edit_index(i);
  EXPECT_THAT(ValidateWithdrawEdits(request), StatusIs(kInvalid, HasSubstr("names 1001 edits")));
}

TEST(ValidateWithdrawEditsTest, RefusesALabelAPolicyAndARevisionThatCannotBe) {
  v1::WithdrawEditsRequest request;
  request.add_edits()->set_revision(3);
  request.set_reason("wrong source");
  request.set_label("no such name!");
  EXPECT_THAT(ValidateWithdrawEdits(request), StatusIs(kInvalid, HasSubstr("label")));
  request.set_revision(-1);
  EXPECT_THAT(ValidateWithdrawEdits(request), StatusIs(kInvalid, HasSubstr("revision")));
  request.set_revision(3);
  request.set_promotion(static_cast<v1::Promotion>(7));
  EXPECT_THAT(ValidateWithdrawEdits(request), StatusIs(kInvalid, HasSubstr("promotion")));
}

TEST(ValidateRollbackTest, NeedsAReasonAndATarget) {
  v1::RollbackRequest request;
  request.set_revision(0);
  EXPECT_THAT(ValidateRollback(request), StatusIs(kInvalid, HasSubstr("reason")));
  request.set_reason("because");
  EXPECT_THAT(ValidateRollback(request), IsOk());
  request.clear_target();
  EXPECT_THAT(ValidateRollback(request), StatusIs(kInvalid, HasSubstr("target")));
  request.set_previous(true);
  EXPECT_THAT(ValidateRollback(request), IsOk());
}

TEST(PageSizeTest, ZeroIsFiftyAndTheMostIsAThousand) {
  EXPECT_EQ(PageSize(0).value(), 50);
  EXPECT_EQ(PageSize(7).value(), 7);
  EXPECT_EQ(PageSize(5000).value(), 1000);
  EXPECT_THAT(PageSize(-1), StatusIs(kInvalid));
}

TEST(PageTokenTest, ComesBackAsItWasAndNothingElseIsTaken) {
  EXPECT_EQ(ParsePageToken(PageToken(42), 0).value(), 42);
  EXPECT_EQ(ParsePageToken("", 7).value(), 7);
  for (const char* token : {"x", "-1", " 1", "01", "99999999999999999999"}) {
    EXPECT_THAT(ParsePageToken(token, 0), StatusIs(kInvalid)) << token;
  }
}

TEST(CheckBatchTest, ABatchHasAtLeastOneEditAndNotTooMany) {
  const std::vector<Edit> edits(3);
  EXPECT_THAT(CheckBatch(edits, 3, NoViolations), IsEmpty());
  const auto empty = CheckBatch({}, 3, NoViolations);
  ASSERT_EQ(empty.size(), 1u);
  EXPECT_EQ(empty[0].field, "batch.edits");
  const auto many = CheckBatch(edits, 2, NoViolations);
  ASSERT_EQ(many.size(), 1u);
  EXPECT_EQ(many[0].description, "has 3 edits, at most 2");
}

TEST(CheckBatchTest, TheEditsOfABatchThatIsFarTooLargeAreNotLookedAt) {
  const std::vector<Edit> edits(100000);
  const auto violations = CheckBatch(edits, 1000, [](absl::Span<const Edit>) {
    ADD_FAILURE() << "looked at";
    return std::vector<EditViolation>();
  });
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].index, -1);
  EXPECT_EQ(violations[0].description, "has 100000 edits, at most 1000");
}

TEST(CheckBatchTest, FieldPathsBeginAtTheBatch) {
  const std::vector<Edit> edits(4);
  const auto violations = CheckBatch(edits, 10, [](absl::Span<const Edit>) {
    return std::vector<EditViolation>{{3, "subject", "is not in the prompt"}};
  });
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].field, "batch.edits[3].subject");
  EXPECT_EQ(violations[0].index, 3);
}

TEST(BatchErrorTest, NamesTheFirstViolationsAndCountsTheRest) {
  std::vector<BatchViolation> violations;
  for (int i = 0; i < 5; ++i) violations.push_back({i, "f" + std::to_string(i), "is bad"});
  const absl::Status status = BatchError(violations, 6);
  EXPECT_EQ(ReasonOf(status), "EDIT_INVALID");
  EXPECT_EQ(status.message(),
            "a batch of 6 edits is malformed: f0 is bad; f1 is bad; f2 is bad; and 2 more");
}

TEST(ValidateSetLabelTest, WantsANameOfItsOwn) {
  v1::SetLabelRequest request;
  EXPECT_THAT(ValidateSetLabel(request), StatusIs(kInvalid, HasSubstr("empty")));
  request.set_label(std::string(129, 'x'));
  EXPECT_THAT(ValidateSetLabel(request), StatusIs(kInvalid, HasSubstr("129")));
  request.set_label("a b");
  EXPECT_THAT(ValidateSetLabel(request), StatusIs(kInvalid, HasSubstr("[A-Za-z0-9._:-]")));
  request.set_label("live");
  EXPECT_THAT(ValidateSetLabel(request), StatusIs(kInvalid, HasSubstr("Promote")));
  request.set_label("canary");
  EXPECT_THAT(ValidateSetLabel(request), IsOk());
  request.set_revision(-1);
  EXPECT_THAT(ValidateSetLabel(request), StatusIs(kInvalid, HasSubstr("-1")));
  request.set_revision(0);
  request.set_reason(std::string(1025, 'x'));
  EXPECT_THAT(ValidateSetLabel(request), StatusIs(kInvalid, HasSubstr("1025")));
}

TEST(ValidateDeleteLabelTest, NeverTakesLive) {
  v1::DeleteLabelRequest request;
  request.set_label("live");
  EXPECT_THAT(ValidateDeleteLabel(request), StatusIs(kInvalid, HasSubstr("always stays")));
  request.set_label("canary");
  EXPECT_THAT(ValidateDeleteLabel(request), IsOk());
}

TEST(ValidateMarkTest, WantsARevisionAndAShortReason) {
  EXPECT_THAT(ValidateMark(3, "because"), IsOk());
  EXPECT_THAT(ValidateMark(-3, ""), StatusIs(kInvalid, HasSubstr("-3")));
  EXPECT_THAT(ValidateMark(3, std::string(1025, 'x')), StatusIs(kInvalid));
  v1::PurgeRevisionsRequest purge;
  EXPECT_THAT(ValidatePurge(purge), IsOk());
  purge.set_reason(std::string(1025, 'x'));
  EXPECT_THAT(ValidatePurge(purge), StatusIs(kInvalid));
}

TEST(ValidateCompareTest, NamesTheRevisionThatIsNegative) {
  v1::CompareRevisionsRequest request;
  request.set_base_revision(-1);
  EXPECT_THAT(ValidateCompare(request), StatusIs(kInvalid, HasSubstr("base_revision")));
  request.set_base_revision(0);
  EXPECT_THAT(ValidateCompare(request), IsOk());
}

TEST(ValidateValidateTest, ThresholdsAreShares) {
  v1::ValidateRevisionRequest request;
  request.mutable_thresholds()->set_generality(1.5);
  EXPECT_THAT(ValidateValidate(request), StatusIs(kInvalid, HasSubstr("thresholds.generality")));
  request.mutable_thresholds()->set_generality(0.5);
  EXPECT_THAT(ValidateValidate(request), IsOk());
}

}  // namespace
}  // namespace amend
