#ifndef AMEND_CLIENT_CLI_EDIT_REPORT_H_
#define AMEND_CLIENT_CLI_EDIT_REPORT_H_

#include <string>
#include <utility>
#include <vector>

#include "amend/v1/edit.pb.h"
#include "client/cli/command.h"
#include "client/edit_stream.h"

namespace amend::client {

// Prints how batches come along and what became of each edit: redrawn progress on a terminal, a
// line per stage and phase otherwise, objects with --json. Not thread-safe; owned by the command's
// thread.
class EditReport : public EditStreamObserver {
 public:
  // `batches` and what `context` names outlive the report.
  EditReport(const CommandContext& context, const std::vector<amend::v1::EditBatch>& batches,
             amend::v1::Promotion promotion);

  void OnStarted(int64_t next_offset) override;
  void OnBatch(const amend::v1::EditBatchStatus& batch) override;
  void OnReconnect(int attempt, const absl::Status& why, absl::Duration pause) override;

  // The last line. `outcomes` as RunEditStream returned them. Returns the exit code.
  int Finish(const std::vector<amend::v1::EditBatchStatus>& outcomes);

  // Takes a redrawn line away, so that something else can be printed.
  void ClearLine();

 private:
  void PrintStage(const amend::v1::EditBatchStatus& batch);
  void PrintVerdicts(const amend::v1::EditBatchStatus& batch);
  void PrintObject(const amend::v1::EditBatchStatus& batch, bool done);
  void DrawBar(const amend::v1::EditBatchStatus& batch);
  bool IsDone(const amend::v1::EditBatchStatus& batch) const;

  const CommandContext context_;
  const std::vector<amend::v1::EditBatch>& batches_;
  const amend::v1::Promotion promotion_;
  // Position in the file of each batch's first edit.
  std::vector<int> first_edit_;
  std::vector<bool> reported_;
  // The last printed stage of each batch, and what of it was at work.
  std::vector<std::pair<amend::v1::BatchStage, amend::v1::SolveProgress::Phase>> stages_;
  int edits_done_ = 0;
  bool header_printed_ = false;
  bool line_drawn_ = false;
};

// Why an edit of a batch was not applied, or "passed".
std::string Verdict(const amend::v1::EditBatchStatus& batch, int index);

// "supersedes revision 3 edit 2; shares its key with revision 1 edit 0 (0.97)": what the result
// says of other edits; empty when it says nothing.
std::string OverlapText(const amend::v1::EditResult& result);

// "background 1.00, perplexity +0.1 %, 31 of 32 earlier edits hold, breaks revision 3 edit 2": what
// was measured of a batch as a whole; empty where nothing was.
std::string BatchScores(const amend::v1::GateReport& report);

// "live as revision 4", "solving: target values 3/30".
std::string StageText(const amend::v1::EditBatchStatus& batch);

}  // namespace amend::client

#endif  // AMEND_CLIENT_CLI_EDIT_REPORT_H_
