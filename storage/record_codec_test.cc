#include "storage/record_codec.h"

#include <cstring>
#include <iostream>
#include <limits>
#include <optional>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "amend/storage/v1/records.pb.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/testing/random_records.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kRounds = 300;

class RecordCodec : public testing::Test {
 protected:
  RecordCodec() : seed_(std::random_device()()), random_(seed_) {
    RecordProperty("seed", static_cast<int>(seed_));
  }
  ~RecordCodec() override {
    if (HasFailure()) std::cerr << "seed " << seed_ << "\n";
  }

  const unsigned seed_;
  RandomRecords random_;
  const std::string revision_key_ = EncodeNumberKey(12);
  const ValueAddress revision_{"revisions", revision_key_};
  const std::string factor_key_ = EncodeFactorKey({Revision(12), LayerIndex(3), FactorPart::kU});
  const ValueAddress factor_{"factors", factor_key_};
};

TEST_F(RecordCodec, GivesBackEveryIdentity) {
  const ValueAddress address{"meta", "identity"};
  for (int i = 0; i < kRounds; ++i) {
    const StoreIdentity identity = random_.Identity();
    AMEND_ASSERT_OK_AND_ASSIGN(const auto decoded,
                               DecodeIdentity(address, EncodeIdentity(address, identity)));
    ASSERT_TRUE(decoded == identity);
  }
}

TEST_F(RecordCodec, GivesBackEveryLedgerEntry) {
  for (int i = 0; i < kRounds; ++i) {
    LedgerEntry entry = random_.Ledger({random_.Session(), random_.Below(1000)},
                                       static_cast<BatchState>(1 + random_.Below(5)));
    entry.sequence = random_.Below(1000);
    entry.revision = Revision(random_.Below(1000));
    const std::string key = EncodeLedgerKey(entry.key);
    const ValueAddress address{"ledger", key};
    AMEND_ASSERT_OK_AND_ASSIGN(const auto decoded,
                               DecodeLedgerEntry(address, EncodeLedgerEntry(address, entry)));
    ASSERT_TRUE(decoded == entry);
  }
}

TEST_F(RecordCodec, AnEntryFromBeforeALaterFieldHasItsDefault) {
  const std::string key = EncodeLedgerKey({"s", 0});
  const ValueAddress address{"ledger", key};
  storage::v1::LedgerEntry message;
  message.set_promotion(storage::v1::PROMOTION_POLICY_WHEN_VALIDATED);
  message.set_state(storage::v1::BATCH_STATE_REJECTED);
  message.mutable_thresholds()->set_reliability(0.5);
  message.add_verdicts()->set_passed(true);
  message.mutable_gate()->set_passed(false);
  AMEND_ASSERT_OK_AND_ASSIGN(
      const LedgerEntry entry,
      DecodeLedgerEntry(address, SealValue(address, message.SerializeAsString())));
  EXPECT_EQ(entry.failure, FailurePolicy::kAllOrNothing);
  EXPECT_EQ(entry.thresholds.reliability, 0.5);
  EXPECT_EQ(entry.thresholds.retention, 0);
  EXPECT_EQ(entry.thresholds.max_perplexity_change, std::nullopt);
  EXPECT_FALSE(entry.verdicts[0].dropped);
  EXPECT_EQ(entry.verdicts[0].generality_source, GeneralitySource::kNone);
  EXPECT_EQ(entry.gate->background, std::nullopt);
  EXPECT_EQ(entry.gate->retention, std::nullopt);
  EXPECT_EQ(entry.gate->retained_edits, 0);
  EXPECT_EQ(entry.actor, "");
}

TEST_F(RecordCodec, ARevisionFromBeforeItsSenderWasKeptHasNone) {
  storage::v1::RevisionRecord message;
  message.set_state(storage::v1::REVISION_STATE_VALIDATED);
  AMEND_ASSERT_OK_AND_ASSIGN(
      const StoredRevision stored,
      DecodeRevision(revision_, SealValue(revision_, message.SerializeAsString())));
  EXPECT_EQ(stored.record.actor, "");
}

TEST_F(RecordCodec, GivesBackEveryRevision) {
  for (int i = 0; i < kRounds; ++i) {
    StoredRevision stored;
    const auto state = static_cast<RevisionState>(1 + random_.Below(3));
    const Revision parent(1 + random_.Below(11));
    stored.record = random_.Coin() ? random_.Record(Revision(12), parent, state)
                                   : random_.Withdrawal(Revision(12), parent, state);
    stored.has_factors = random_.Coin();
    stored.blobs.push_back({LayerIndex(3), FactorPart::kKeys, random_.Text(), 77});
    AMEND_ASSERT_OK_AND_ASSIGN(const auto decoded,
                               DecodeRevision(revision_, EncodeRevision(revision_, stored)));
    ASSERT_TRUE(decoded.record == stored.record);
    ASSERT_EQ(decoded.has_factors, stored.has_factors);
    ASSERT_EQ(decoded.blobs.size(), 1u);
    ASSERT_EQ(decoded.blobs[0].digest, stored.blobs[0].digest);
    ASSERT_EQ(decoded.blobs[0].part, FactorPart::kKeys);
    ASSERT_EQ(decoded.blobs[0].size, 77);
  }
}

TEST_F(RecordCodec, GivesBackLabelsAuditRecordsAndCounters) {
  const ValueAddress label_address{"labels", "live"};
  const LabelRecord label{"live", Revision(5), 9};
  AMEND_ASSERT_OK_AND_ASSIGN(const auto label_decoded,
                             DecodeLabel(label_address, EncodeLabel(label_address, label)));
  EXPECT_TRUE(label_decoded == label);
  const ValueAddress audit_address{"audit", revision_key_};
  AuditRecord audit = random_.Audit();
  // Of the key.
  audit.sequence = 12;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit_decoded,
                             DecodeAudit(audit_address, EncodeAudit(audit_address, audit)));
  EXPECT_TRUE(audit_decoded == audit);
  const ValueAddress counter_address{"meta", "format_version"};
  AMEND_ASSERT_OK_AND_ASSIGN(const int64_t counter,
                             DecodeCounter(counter_address, EncodeCounter(counter_address, 3)));
  EXPECT_EQ(counter, 3);
}

TEST_F(RecordCodec, GivesBackEveryBitOfAMatrix) {
  const Matrix matrix{
      2,
      2,
      {-0.0f, std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::quiet_NaN(),
       -std::numeric_limits<float>::infinity()}};
  AMEND_ASSERT_OK_AND_ASSIGN(const Matrix decoded,
                             DecodeMatrix(factor_, EncodeMatrix(factor_, matrix)));
  EXPECT_EQ(decoded.rows, 2);
  EXPECT_EQ(decoded.cols, 2);
  EXPECT_EQ(std::memcmp(decoded.values.data(), matrix.values.data(), 16), 0);
}

TEST_F(RecordCodec, GivesBackAnEmptyMatrix) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Matrix decoded,
                             DecodeMatrix(factor_, EncodeMatrix(factor_, Matrix{0, 5, {}})));
  EXPECT_EQ(decoded, (Matrix{0, 5, {}}));
}

TEST_F(RecordCodec, WritesAMatrixAsTheFormatDocumentSays) {
  const std::string value = EncodeMatrix(factor_, Matrix{1, 2, {1.0f, -2.0f}});
  ASSERT_EQ(value.size(), 16u + 8u + 32u);
  EXPECT_EQ(value.substr(0, 16), std::string("\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(value.substr(16, 8), std::string("\0\0\x80\x3f\0\0\0\xc0", 8));
}

TEST_F(RecordCodec, EveryFlippedBitIsDataLossNamingTheKeyAndBothDigests) {
  StoredRevision stored;
  stored.record = random_.Record(Revision(12), Revision(3), RevisionState::kValidated);
  const std::string value = EncodeRevision(revision_, stored);
  for (size_t bit = 0; bit < value.size() * 8; ++bit) {
    std::string damaged = value;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_THAT(
        DecodeRevision(revision_, damaged),
        StatusIs(StatusCode::kDataLoss, AllOf(HasSubstr("revisions/12"),
                                              HasSubstr("expected digest"), HasSubstr("found"))));
  }
}

TEST_F(RecordCodec, AValueUnderTheKeyOfAnotherIsDataLoss) {
  const std::string value = EncodeMatrix(factor_, Matrix{1, 1, {1}});
  const std::string other = EncodeFactorKey({Revision(12), LayerIndex(3), FactorPart::kV});
  EXPECT_THAT(DecodeMatrix({"factors", other}, value),
              StatusIs(StatusCode::kDataLoss, HasSubstr("factors/12/3/V")));
}

TEST_F(RecordCodec, AnUnknownEnumValueIsDataLoss) {
  LedgerEntry entry = random_.Ledger({"s", 1}, static_cast<BatchState>(99));
  const std::string key = EncodeLedgerKey(entry.key);
  const ValueAddress address{"ledger", key};
  EXPECT_THAT(
      DecodeLedgerEntry(address, EncodeLedgerEntry(address, entry)),
      StatusIs(StatusCode::kDataLoss, AllOf(HasSubstr("batch state: 99"), HasSubstr("\"s\"/1"))));
}

TEST_F(RecordCodec, AShapeThatDoesNotFitTheSizeIsDataLoss) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{2, 2},
                                   {kHuge, 4},
                                   {4, kHuge},
                                   {-1, -1},
                                   {0, 1},
                                   {1, 0},
                                   {INT64_MIN, INT64_MIN}}) {
    std::string payload(16, '\0');
    std::memcpy(payload.data(), &rows, 8);
    std::memcpy(payload.data() + 8, &cols, 8);
    payload.append(4, '\0');
    EXPECT_THAT(DecodeMatrix(factor_, SealValue(factor_, payload)),
                StatusIs(StatusCode::kDataLoss, HasSubstr("factors/12/3/U")));
  }
}

// Arbitrary bytes, with and without a right digest: an error that names the key, or a record.
TEST_F(RecordCodec, DecodersOfArbitraryBytesNeverCrash) {
  const std::string ledger_key = EncodeLedgerKey({"s", 1});
  const auto check = [](const absl::Status& status, absl::string_view name) {
    if (status.ok()) return;
    ASSERT_THAT(status, StatusIs(StatusCode::kDataLoss, HasSubstr(std::string(name))));
  };
  StoredRevision stored;
  stored.record = random_.Record(Revision(12), Revision(3), RevisionState::kValidated);
  stored.blobs.push_back({LayerIndex(3), FactorPart::kKeys, random_.Text(), 77});
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = random_.Text(80);
    if (i % 3 == 0) {  // Nearly right ones.
      const std::string sealed = EncodeRevision(revision_, stored);
      bytes = sealed.substr(0, sealed.size() - 32);
      bytes[random_.Below(bytes.size())] = static_cast<char>(random_.Below(256));
    }
    const auto value = [&](const ValueAddress& address) {
      return i % 2 == 0 ? bytes : SealValue(address, bytes);
    };
    const ValueAddress ledger{"ledger", ledger_key};
    check(DecodeRevision(revision_, value(revision_)).status(), "revisions/12");
    check(DecodeMatrix(factor_, value(factor_)).status(), "factors/12/3/U");
    check(DecodeLedgerEntry(ledger, value(ledger)).status(), "ledger/");
    check(DecodeLabel({"labels", "live"}, value({"labels", "live"})).status(), "labels/live");
    check(DecodeAudit({"audit", revision_key_}, value({"audit", revision_key_})).status(),
          "audit/12");
    check(DecodeIdentity({"meta", "identity"}, value({"meta", "identity"})).status(),
          "meta/identity");
    check(DecodeCounter({"meta", "format"}, value({"meta", "format"})).status(), "meta/format");
  }
}

}  // namespace
}  // namespace amend
