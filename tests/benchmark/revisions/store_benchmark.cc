// What revisions cost on disk and at a start: performance goals S3 and S4, at the level of the
// store.
//
//   store_benchmark --store DIR [--revisions 100] [--edits 30] [--layers 5] [--d-in 6400]
//                   [--d-out 1600] [--fill-only]
//
// Writes `revisions` revisions with random factors of the given shape into the store DIR, behind
// those that are there: one durable batch and one commit each, as a server does. The newest one is
// live. Then it closes the store and times opening it and reading all factors, against reading the
// bytes of its files once: from the page cache, and after the cache was dropped for these files.
// Prints a table and one line of JSON; checks that what was read is as many numbers as were
// written.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "storage/rocksdb_revision_store.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string store;
  int revisions = 100;
  int edits = 30;
  int layers = 5;
  int64_t d_in = 6400;
  int64_t d_out = 1600;
  int repeat = 3;
  bool fill_only = false;
};

double SecondsSince(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

// Cheap, and as hard to compress as real factors are.
Matrix RandomMatrix(int64_t rows, int64_t cols, std::mt19937& random) {
  Matrix matrix{rows, cols, std::vector<float>(static_cast<size_t>(rows * cols))};
  for (float& value : matrix.values) {
    value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-38f;
  }
  return matrix;
}

RevisionFactors RandomFactors(const Flags& flags, std::mt19937& random) {
  RevisionFactors factors;
  for (int layer = 0; layer < flags.layers; ++layer) {
    factors.layers.push_back({LayerIndex(layer), RandomMatrix(flags.edits, flags.d_out, random),
                              RandomMatrix(flags.edits, flags.d_in, random),
                              RandomMatrix(flags.edits, flags.d_in, random),
                              RandomMatrix(1, flags.edits, random).values});
  }
  return factors;
}

std::vector<Edit> SomeEdits(int count) {
  std::vector<Edit> edits;
  for (int i = 0; i < count; ++i) {
    Edit edit;
    edit.subject = absl::StrCat("Subject number ", i);
    edit.prompt = absl::StrCat("The profession of ", edit.subject, " was");
    edit.target_new = "fictional character";
    edit.paraphrases = {absl::StrCat("The biography of ", edit.subject, " names one job:")};
    edit.probes = {{absl::StrCat("The profession of neighbour ", i, " was"), "singer"}};
    edits.push_back(std::move(edit));
  }
  return edits;
}

// One batch that becomes one live revision.
absl::Status AddRevision(RevisionStore& store, const Flags& flags, std::mt19937& random) {
  LedgerEntry entry;
  entry.key.session = "benchmark";
  AMEND_ASSIGN_OR_RETURN(entry.key.offset, store.NextOffset(entry.key.session));
  entry.edits = SomeEdits(flags.edits);
  AMEND_RETURN_IF_ERROR(store.AppendLedger(entry).status());
  AMEND_ASSIGN_OR_RETURN(const LabelRecord live, store.GetLabel(kLiveLabel));
  StoreStep step;
  step.revision.emplace();
  step.revision->revision = store.LatestRevision().Next();
  step.revision->parent = live.revision;
  step.revision->state = RevisionState::kValidated;
  step.revision->batch = entry.key;
  step.revision->edit_count = flags.edits;
  step.revision->line_edit_count = flags.edits * step.revision->revision.value();
  step.factors = RandomFactors(flags, random);
  step.ledger = entry;
  step.ledger->state = BatchState::kLive;
  step.ledger->revision = step.revision->revision;
  step.label = LabelMove{std::string(kLiveLabel), step.revision->revision, live.generation};
  step.audit =
      AuditRecord{"benchmark", "promote", "live", live.revision, step.revision->revision, "", 0};
  return store.Commit(step);
}

std::vector<std::string> FilesOf(const std::string& directory) {
  std::vector<std::string> files;
  for (const auto& file : fs::recursive_directory_iterator(directory)) {
    if (file.is_regular_file()) files.push_back(file.path().string());
  }
  return files;
}

int64_t BytesOf(const std::vector<std::string>& files) {
  int64_t bytes = 0;
  for (const std::string& file : files) bytes += static_cast<int64_t>(fs::file_size(file));
  return bytes;
}

// The next read of these files comes from the disk.
void DropFromCache(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    const int fd = open(file.c_str(), O_RDONLY);
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}

double SecondsToReadBytes(const std::vector<std::string>& files) {
  std::vector<char> buffer(1 << 20);
  const absl::Time start = absl::Now();
  for (const std::string& file : files) {
    const int fd = open(file.c_str(), O_RDONLY);
    while (read(fd, buffer.data(), buffer.size()) > 0) {
    }
    close(fd);
  }
  return SecondsSince(start);
}

struct OpenTimes {
  double open = 0;
  double factors = 0;
};

absl::StatusOr<OpenTimes> TimeOpening(const Flags& flags) {
  OpenTimes times;
  absl::Time start = absl::Now();
  AMEND_ASSIGN_OR_RETURN(const auto store, RocksDbRevisionStore::Open({flags.store}));
  times.open = SecondsSince(start);
  start = absl::Now();
  int64_t numbers = 0;
  for (Revision at(1); at <= store->LatestRevision(); at = at.Next()) {
    AMEND_ASSIGN_OR_RETURN(const RevisionFactors factors, store->ReadFactors(at));
    for (const LayerFactors& layer : factors.layers) {
      numbers += static_cast<int64_t>(layer.u.values.size() + layer.v.values.size());
    }
  }
  times.factors = SecondsSince(start);
  const int64_t expected =
      store->LatestRevision().value() * flags.layers * flags.edits * (flags.d_in + flags.d_out);
  if (numbers != expected) {
    return absl::InternalError(absl::StrCat("read ", numbers, " numbers, not ", expected));
  }
  return times;
}

absl::Status Fill(const Flags& flags, std::vector<double>* seconds) {
  AMEND_ASSIGN_OR_RETURN(const auto store, RocksDbRevisionStore::Open({flags.store}));
  std::mt19937 random(1);
  for (int i = 0; i < flags.revisions; ++i) {
    const absl::Time start = absl::Now();
    AMEND_RETURN_IF_ERROR(AddRevision(*store, flags, random));
    seconds->push_back(SecondsSince(start));
  }
  std::sort(seconds->begin(), seconds->end());
  return absl::OkStatus();
}

double Sha256BytesPerSecond() {
  const std::string bytes(64 << 20, 'x');
  const absl::Time start = absl::Now();
  Sha256Hex(bytes);
  return static_cast<double>(bytes.size()) / SecondsSince(start);
}

absl::Status Run(const Flags& flags) {
  std::vector<double> seconds;
  AMEND_RETURN_IF_ERROR(Fill(flags, &seconds));
  if (flags.fill_only) return absl::OkStatus();
  nlohmann::ordered_json json;
  const auto report = [&json](const std::string& what, double value, const char* unit) {
    absl::PrintF("%-58s %12.4g %s\n", what, value, unit);
    json[absl::StrCat(what, ", ", unit)] = value;
  };
  const std::vector<std::string> files = FilesOf(flags.store);
  const double per_revision = static_cast<double>(BytesOf(files)) / flags.revisions;
  const double copy = 4.0 * static_cast<double>(flags.layers * flags.d_in * flags.d_out);
  report("revisions", flags.revisions, "");
  report("median of making and writing one", seconds[seconds.size() / 2] * 1e3, "ms");
  report("on disk per revision", per_revision, "bytes");
  report("copy of the edited projections, float32", copy, "bytes");
  report("on disk over that copy", 100 * per_revision / copy, "%");
  for (const bool cold : {false, true}) {
    const std::string where = cold ? ", from disk" : ", cached";
    double raw = 1e9;
    OpenTimes opening{1e9, 1e9};
    for (int i = 0; i < flags.repeat; ++i) {
      if (cold) DropFromCache(files);
      raw = std::min(raw, SecondsToReadBytes(files));
      if (cold) DropFromCache(files);
      AMEND_ASSIGN_OR_RETURN(const OpenTimes times, TimeOpening(flags));
      if (times.open + times.factors < opening.open + opening.factors) opening = times;
    }
    report(absl::StrCat("reading the bytes once", where), raw, "s");
    report(absl::StrCat("opening", where), opening.open, "s");
    report(absl::StrCat("reading all factors, with digests", where), opening.factors, "s");
    report(absl::StrCat("both over reading the bytes", where),
           (opening.open + opening.factors) / raw, "times");
  }
  report("SHA-256 of one thread", Sha256BytesPerSecond() / 1e9, "GB/s");
  std::cout << json.dump() << std::endl;
  return absl::OkStatus();
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) {
  amend::Flags flags;
  CLI::App app("Measures what revisions cost on disk and at a start.");
  app.add_option("--store", flags.store, "directory of a store; made when it is not there")
      ->required();
  app.add_option("--revisions", flags.revisions, "to write")->check(CLI::PositiveNumber);
  app.add_option("--edits", flags.edits, "of one revision")->check(CLI::PositiveNumber);
  app.add_option("--layers", flags.layers, "edited layers")->check(CLI::PositiveNumber);
  app.add_option("--d-in", flags.d_in, "input width of an edited projection");
  app.add_option("--d-out", flags.d_out, "output width");
  app.add_option("--repeat", flags.repeat, "timings; the best one counts");
  app.add_flag("--fill-only", flags.fill_only, "write and time nothing");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = amend::Run(flags);
  if (!status.ok()) std::cerr << status << std::endl;
  return status.ok() ? 0 : 1;
}
