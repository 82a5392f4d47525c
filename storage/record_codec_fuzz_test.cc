// Random records of every type, encoded and then changed at random: decoding never crashes, never
// takes what was changed, and gives back what was encoded.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/key_encoding.h"
#include "storage/record_codec.h"
#include "storage/testing/random_records.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

constexpr int kRecords = 300;
constexpr int kChangesPerRecord = 40;

// One type of record.
struct Type {
  std::string name;
  std::string family;
  std::string key;
  // A random record, encoded.
  std::function<std::string(RandomRecords&)> encode;
  // Decodes, and encodes again what came out.
  std::function<absl::StatusOr<std::string>(const ValueAddress&, absl::string_view)> recode;
};

template <typename Decode, typename Encode>
auto Recode(Decode decode, Encode encode) {
  return [=](const ValueAddress& address, absl::string_view value) -> absl::StatusOr<std::string> {
    auto record = decode(address, value);
    if (!record.ok()) return record.status();
    return encode(address, *record);
  };
}

std::vector<Type> AllTypes() {
  const std::string number = EncodeNumberKey(12);
  const std::string batch = EncodeLedgerKey({"session", 3});
  const std::string factor = EncodeFactorKey({Revision(12), LayerIndex(3), FactorPart::kU});
  std::vector<Type> types;
  types.push_back({"identity", "meta", "identity",
                   [](RandomRecords& random) {
                     return EncodeIdentity({"meta", "identity"}, random.Identity());
                   },
                   Recode(DecodeIdentity, EncodeIdentity)});
  types.push_back({"counter", "meta", "last_sequence",
                   [](RandomRecords& random) {
                     return EncodeCounter({"meta", "last_sequence"}, random.Below(1 << 30));
                   },
                   Recode(DecodeCounter, EncodeCounter)});
  types.push_back({"ledger entry", "ledger", batch,
                   [batch](RandomRecords& random) {
                     LedgerEntry entry = random.Ledger(
                         {"session", 3}, static_cast<BatchState>(1 + random.Below(5)));
                     entry.sequence = 1 + random.Below(1000);
                     return EncodeLedgerEntry({"ledger", batch}, entry);
                   },
                   Recode(DecodeLedgerEntry, EncodeLedgerEntry)});
  types.push_back({"revision", "revisions", number,
                   [number](RandomRecords& random) {
                     StoredRevision stored;
                     stored.record = random.Record(Revision(12), Revision(random.Below(12)),
                                                   static_cast<RevisionState>(1 + random.Below(3)));
                     stored.has_factors = random.Coin();
                     if (stored.has_factors) {
                       stored.blobs.push_back(
                           {LayerIndex(3), FactorPart::kU,
                            std::string(32, static_cast<char>(random.Below(256))),
                            random.Below(100000)});
                     }
                     return EncodeRevision({"revisions", number}, stored);
                   },
                   Recode(DecodeRevision, EncodeRevision)});
  types.push_back({"label", "labels", "live",
                   [](RandomRecords& random) {
                     return EncodeLabel({"labels", "live"},
                                        {"live", Revision(random.Below(100)), random.Below(100)});
                   },
                   Recode(DecodeLabel, EncodeLabel)});
  types.push_back({"audit record", "audit", number,
                   [number](RandomRecords& random) {
                     return EncodeAudit({"audit", number}, random.Audit());
                   },
                   Recode(DecodeAudit, EncodeAudit)});
  types.push_back({"matrix", "factors", factor,
                   [factor](RandomRecords& random) {
                     const int64_t rows = 1 + random.Below(4);
                     const int64_t cols = 1 + random.Below(9);
                     Matrix matrix{rows, cols, std::vector<float>(rows * cols)};
                     for (float& value : matrix.values)
                       value = static_cast<float>(random.Below(99));
                     return EncodeMatrix({"factors", factor}, matrix);
                   },
                   Recode(DecodeMatrix, EncodeMatrix)});
  return types;
}

// Some of the ways in which bytes go wrong. May give back what it was given.
std::string Change(std::string bytes, RandomRecords& random) {
  const auto place = [&] { return static_cast<size_t>(random.Below(bytes.size() + 1)); };
  for (int64_t times = 1 + random.Below(3); times > 0; --times) {
    switch (random.Below(7)) {
      case 0:
        if (!bytes.empty())
          bytes[place() % bytes.size()] ^= static_cast<char>(1 << random.Below(8));
        break;
      case 1:
        if (!bytes.empty()) bytes[place() % bytes.size()] = static_cast<char>(random.Below(256));
        break;
      case 2:
        bytes.resize(place());
        break;
      case 3:
        bytes.insert(place(), random.Text(40));
        break;
      case 4: {
        const size_t from = place();
        bytes.erase(from, random.Below(40));
        break;
      }
      case 5: {
        const size_t from = place();
        const std::string part = bytes.substr(from, random.Below(40));
        bytes.insert(place(), part);
        break;
      }
      default: {
        const size_t from = place();
        const size_t end = std::min(bytes.size(), from + static_cast<size_t>(random.Below(40)));
        std::fill(bytes.begin() + from, bytes.begin() + end, '\0');
      }
    }
  }
  return bytes;
}

class RecordCodecFuzz : public testing::TestWithParam<Type> {
 protected:
  RecordCodecFuzz() {
    const char* given = std::getenv("AMEND_TEST_SEED");
    seed_ = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
    std::printf("seed %llu (AMEND_TEST_SEED repeats it)\n", static_cast<unsigned long long>(seed_));
  }

  uint64_t seed_ = 0;
};

TEST_P(RecordCodecFuzz, GivesBackWhatWasEncoded) {
  const Type& type = GetParam();
  RandomRecords random(seed_);
  for (int i = 0; i < kRecords; ++i) {
    const std::string value = type.encode(random);
    AMEND_ASSERT_OK_AND_ASSIGN(const std::string again,
                               type.recode({type.family, type.key}, value));
    ASSERT_EQ(again, value) << "record " << i;
  }
}

TEST_P(RecordCodecFuzz, NeverTakesAChangedValueOrOneOfAnotherKey) {
  const Type& type = GetParam();
  RandomRecords random(seed_);
  int changes = 0;
  for (int i = 0; i < kRecords; ++i) {
    const std::string value = type.encode(random);
    for (int j = 0; j < kChangesPerRecord; ++j) {
      const std::string changed = Change(value, random);
      if (changed == value) continue;
      ++changes;
      ASSERT_THAT(type.recode({type.family, type.key}, changed),
                  StatusIs(StatusCode::kDataLoss, HasSubstr(type.family)))
          << "record " << i << ", change " << j;
    }
    const std::string other_key = Change(type.key, random);
    if (other_key != type.key) {
      ASSERT_THAT(type.recode({type.family, other_key}, value), StatusIs(StatusCode::kDataLoss));
    }
    ASSERT_THAT(type.recode({"elsewhere", type.key}, value), StatusIs(StatusCode::kDataLoss));
  }
  std::printf("%d changed values\n", changes);
}

// As a program with a bug, or with time on its hands, would write it: the digest fits.
TEST_P(RecordCodecFuzz, ASealedPayloadOfAnyBytesIsDecodedOrDataLoss) {
  const Type& type = GetParam();
  const ValueAddress address{type.family, type.key};
  RandomRecords random(seed_);
  for (int i = 0; i < kRecords; ++i) {
    const std::string value = type.encode(random);
    AMEND_ASSERT_OK_AND_ASSIGN(const auto payload, UnsealValue(address, value));
    for (int j = 0; j < kChangesPerRecord; ++j) {
      const std::string sealed = SealValue(address, Change(std::string(payload), random));
      const absl::StatusOr<std::string> once = type.recode(address, sealed);
      if (!once.ok()) {
        ASSERT_THAT(once, StatusIs(StatusCode::kDataLoss)) << "record " << i << ", change " << j;
        continue;
      }
      // What was understood is kept.
      AMEND_ASSERT_OK_AND_ASSIGN(const std::string twice, type.recode(address, *once));
      ASSERT_EQ(twice, *once) << "record " << i << ", change " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, RecordCodecFuzz, testing::ValuesIn(AllTypes()),
                         [](const testing::TestParamInfo<Type>& type) {
                           std::string name = type.param.name;
                           name.erase(std::remove(name.begin(), name.end(), ' '), name.end());
                           return name;
                         });

TEST(KeyFuzz, KeysOfAnyBytesAreDecodedOrDataLoss) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  RandomRecords random(seed);
  for (int i = 0; i < 20000; ++i) {
    const std::string key =
        random.Coin() ? random.Text(20) : Change(EncodeLedgerKey({random.Session(), 3}), random);
    const auto batch = DecodeLedgerKey(key);
    if (batch.ok()) {
      ASSERT_EQ(EncodeLedgerKey(*batch), key);
    }
    const auto number = DecodeNumberKey(key);
    if (number.ok()) {
      ASSERT_EQ(EncodeNumberKey(*number), key);
    }
    const auto factor = DecodeFactorKey(key);
    if (factor.ok()) {
      ASSERT_EQ(EncodeFactorKey(*factor), key);
    }
  }
}

}  // namespace
}  // namespace amend
