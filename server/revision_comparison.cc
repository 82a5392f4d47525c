#include "server/revision_comparison.h"

#include <set>
#include <utility>
#include <vector>

#include "core/base/status_macros.h"
#include "server/line_edits.h"
#include "server/proto_conversion.h"
#include "server/request_validation.h"
#include "server/revision_errors.h"

namespace amend {
namespace {

// A page ends after the edit with which it has so many bytes, well below gRPC's 4 MiB.
constexpr size_t kMaxPageBytes = 1 << 20;

// What lies between a revision and the last one that both compared ones are built on.
struct Branch {
  std::set<EditId> brought;
  std::set<EditId> withdrawn;
};

struct Fork {
  Revision common_ancestor;
  Branch base;
  Branch revision;
};

absl::StatusOr<RevisionRecord> RecordOf(const RevisionStore& store, Revision revision) {
  const absl::StatusOr<RevisionRecord> record = store.GetRevision(revision);
  if (absl::IsNotFound(record.status())) return UnknownRevision(revision, store.LatestRevision());
  return record;
}

void AddTo(Branch& branch, const RevisionRecord& record) {
  for (int32_t i = 0; i < record.edit_count; ++i) branch.brought.insert({record.revision, i});
  branch.withdrawn.insert(record.withdrawn.begin(), record.withdrawn.end());
}

absl::StatusOr<Fork> FindFork(const RevisionStore& store, Revision base, Revision revision) {
  Fork fork;
  while (base != revision) {
    // A parent has a lower number, so the higher of the two is not on the other's line.
    const bool base_is_higher = base > revision;
    Revision& higher = base_is_higher ? base : revision;
    AMEND_ASSIGN_OR_RETURN(const RevisionRecord record, RecordOf(store, higher));
    AddTo(base_is_higher ? fork.base : fork.revision, record);
    higher = record.parent;
  }
  fork.common_ancestor = base;
  return fork;
}

// The edits that end up on the line of `one` and not on that of `other`, oldest first.
std::vector<EditId> OnlyOn(const Branch& one, const Branch& other, Revision common_ancestor) {
  std::set<EditId> only;
  for (const EditId& edit : other.withdrawn) {
    if (edit.revision <= common_ancestor && one.withdrawn.count(edit) == 0) only.insert(edit);
  }
  for (const EditId& edit : one.brought) {
    if (one.withdrawn.count(edit) == 0) only.insert(edit);
  }
  return {only.begin(), only.end()};
}

// Fills one page.
class Page {
 public:
  Page(const RevisionStore& store, int64_t first, int limit, v1::CompareRevisionsResponse* out)
      : store_(store), skip_(first), next_(first), left_(limit), out_(out) {}

  // Takes what belongs to the page of `edits`.
  absl::Status Take(v1::RevisionDifference::Kind kind, const std::vector<EditId>& edits) {
    for (const EditId& edit : edits) {
      if (skip_ > 0) {
        --skip_;
        continue;
      }
      if (left_ == 0 || bytes_ >= kMaxPageBytes) break;
      AMEND_RETURN_IF_ERROR(Add(kind, edit));
    }
    return absl::OkStatus();
  }
  // Where the next page begins.
  int64_t next() const { return next_; }

 private:
  absl::Status Add(v1::RevisionDifference::Kind kind, const EditId& edit) {
    if (edits_of_ != edit.revision) {
      AMEND_ASSIGN_OR_RETURN(const RevisionRecord record, RecordOf(store_, edit.revision));
      AMEND_ASSIGN_OR_RETURN(const LedgerEntry batch, store_.GetLedger(record.batch));
      edits_ = EditsOf(batch);
      edits_of_ = edit.revision;
    }
    v1::RevisionDifference& difference = *out_->add_differences();
    difference.set_kind(kind);
    difference.set_revision(edit.revision.value());
    difference.set_edit_index(edit.index);
    *difference.mutable_edit() = ToProto(edits_[static_cast<size_t>(edit.index)]);
    bytes_ += difference.ByteSizeLong();
    --left_;
    ++next_;
    return absl::OkStatus();
  }

  const RevisionStore& store_;
  int64_t skip_;
  int64_t next_;
  int left_;
  size_t bytes_ = 0;
  v1::CompareRevisionsResponse* const out_;
  // The edits that were read last, and the revision that they belong to.
  Revision edits_of_;
  std::vector<Edit> edits_;
};

}  // namespace

absl::StatusOr<v1::CompareRevisionsResponse> CompareRevisions(
    const RevisionStore& store, const v1::CompareRevisionsRequest& request) {
  AMEND_ASSIGN_OR_RETURN(const int limit, PageSize(request.page_size()));
  AMEND_ASSIGN_OR_RETURN(const int64_t first, ParsePageToken(request.page_token(), 0));
  AMEND_ASSIGN_OR_RETURN(const Fork fork, FindFork(store, Revision(request.base_revision()),
                                                   Revision(request.revision())));
  const std::vector<EditId> removed = OnlyOn(fork.base, fork.revision, fork.common_ancestor);
  const std::vector<EditId> added = OnlyOn(fork.revision, fork.base, fork.common_ancestor);
  v1::CompareRevisionsResponse response;
  response.set_common_ancestor(fork.common_ancestor.value());
  response.set_removed_count(static_cast<int64_t>(removed.size()));
  response.set_added_count(static_cast<int64_t>(added.size()));
  Page page(store, first, limit, &response);
  AMEND_RETURN_IF_ERROR(page.Take(v1::RevisionDifference::REMOVED, removed));
  AMEND_RETURN_IF_ERROR(page.Take(v1::RevisionDifference::ADDED, added));
  if (page.next() < response.removed_count() + response.added_count()) {
    response.set_next_page_token(PageToken(page.next()));
  }
  return response;
}

}  // namespace amend
