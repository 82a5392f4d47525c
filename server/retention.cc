#include "server/retention.h"

#include <set>

namespace amend {
namespace {

bool IsDeleted(const RetentionFacts& facts) { return facts.marks.delete_time_us != 0; }

// Rejected revisions have no factors, and need none of their parents'.
bool HasFactors(const RetentionFacts& facts) {
  return facts.state != RevisionState::kRejected && facts.marks.purge_time_us == 0;
}

bool Serves(const RetentionFacts& facts) {
  return facts.state == RevisionState::kValidated && !IsDeleted(facts) && HasFactors(facts);
}

// Those with factors for which `may_go` holds, that are not held by a label or a pin, and on which
// nothing is built that stays; newest first.
template <typename MayGo>
std::vector<const RetentionFacts*> Free(absl::Span<const RetentionFacts> revisions, MayGo may_go) {
  std::vector<const RetentionFacts*> free;
  // Parents of what stays. A parent is older than its children, so all of those were seen before.
  std::set<Revision> needed;
  for (auto it = revisions.rbegin(); it != revisions.rend(); ++it) {
    if (!HasFactors(*it)) continue;
    const bool held = it->labelled || it->marks.pinned || needed.count(it->revision) > 0;
    if (!held && may_go(*it)) {
      free.push_back(&*it);
    } else {
      needed.insert(it->parent);
    }
  }
  return free;
}

}  // namespace

std::vector<Revision> RevisionsToDelete(absl::Span<const RetentionFacts> revisions,
                                        const RetentionPolicy& policy, absl::Time now) {
  if (policy.keep_newest <= 0 && policy.keep_younger <= absl::ZeroDuration()) return {};
  std::set<Revision> newest;
  for (auto it = revisions.rbegin(); it != revisions.rend(); ++it) {
    if (static_cast<int>(newest.size()) >= policy.keep_newest) break;
    if (Serves(*it)) newest.insert(it->revision);
  }
  const auto may_go = [&](const RetentionFacts& facts) {
    if (!Serves(facts)) return IsDeleted(facts);
    const absl::Duration age = now - absl::FromUnixMicros(facts.create_time_us);
    return newest.count(facts.revision) == 0 && age >= policy.keep_younger;
  };
  std::vector<Revision> go;
  for (const RetentionFacts* const facts : Free(revisions, may_go)) {
    if (!IsDeleted(*facts)) go.push_back(facts->revision);
  }
  return go;
}

std::vector<Revision> RevisionsToPurge(absl::Span<const RetentionFacts> revisions,
                                       absl::Duration delay, absl::Time now) {
  const auto may_go = [&](const RetentionFacts& facts) {
    return IsDeleted(facts) && now - absl::FromUnixMicros(facts.marks.delete_time_us) >= delay;
  };
  std::vector<Revision> go;
  for (const RetentionFacts* const facts : Free(revisions, may_go)) go.push_back(facts->revision);
  return go;
}

}  // namespace amend
