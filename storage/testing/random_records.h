#ifndef AMEND_STORAGE_TESTING_RANDOM_RECORDS_H_
#define AMEND_STORAGE_TESTING_RANDOM_RECORDS_H_

#include <cstdint>
#include <random>
#include <string>

#include "storage/records.h"

namespace amend {

// Random records for tests: odd bytes in texts, absent and present optionals, every enum value. The
// same seed gives the same records. Not thread-safe.
class RandomRecords {
 public:
  explicit RandomRecords(uint64_t seed) : random_(seed) {}

  // In [0, bound).
  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }
  bool Coin() { return Below(2) == 1; }
  std::string Text(int max_size = 12);
  StoreIdentity Identity();
  EditScores Scores();
  GateThresholds Thresholds();
  GateVerdict Gate();
  // Some of the few sessions whose names are hard to keep apart.
  std::string Session();
  LedgerEntry Ledger(const BatchKey& key, BatchState state);
  // Of up to 3 layers; now and then large enough for a blob file.
  RevisionFactors Factors();
  RevisionRecord Record(Revision revision, Revision parent, RevisionState state);
  // One that withdraws up to 4 edits of revisions up to `parent`, which is not revision 0.
  RevisionRecord Withdrawal(Revision revision, Revision parent, RevisionState state);
  AuditRecord Audit();

 private:
  double Fraction() { return static_cast<double>(Below(1000)) / 999; }
  Matrix RandomMatrix(int64_t rows, int64_t cols);

  std::mt19937_64 random_;
};

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_RANDOM_RECORDS_H_
