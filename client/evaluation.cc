#include "client/evaluation.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>  // NOLINT: generations in parallel

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

// Records scored with one RPC, which takes at most 1024 items.
constexpr size_t kRecordsPerScore = 32;
constexpr int kItemsPerScore = 1024;

using Result = v1::ScoreResponse::Result;

void AddItem(const std::string& prompt, const std::string& continuation,
             v1::ScoreRequest* request) {
  v1::ScoreRequest::Item* item = request->add_items();
  item->set_prompt(prompt);
  item->set_continuation(continuation);
}

double ShareOfEqual(const google::protobuf::RepeatedField<int32_t>& a,
                    const google::protobuf::RepeatedField<int32_t>& b) {
  int equal = 0;
  for (int i = 0; i < std::min(a.size(), b.size()); ++i) equal += a[i] == b[i] ? 1 : 0;
  return a.empty() ? 0 : static_cast<double>(equal) / a.size();
}

// Scores any number of items: one RPC for as many as it takes.
absl::StatusOr<v1::ScoreResponse> ScoreAll(Client* client, const v1::ScoreRequest& request) {
  v1::ScoreResponse all;
  for (int start = 0; start < request.items_size(); start += kItemsPerScore) {
    v1::ScoreRequest part;
    *part.mutable_at() = request.at();
    for (int i = start; i < std::min(start + kItemsPerScore, request.items_size()); ++i) {
      *part.add_items() = request.items(i);
    }
    const absl::StatusOr<v1::ScoreResponse> response = client->Score(part);
    if (!response.ok()) return response.status();
    if (response->results_size() != part.items_size()) {
      return absl::InternalError(absl::StrCat("the server scored ", response->results_size(),
                                              " of ", part.items_size(), " items"));
    }
    all.set_revision(response->revision());
    all.mutable_results()->MergeFrom(response->results());
  }
  return all;
}

class Evaluator {
 public:
  Evaluator(Client* client, const EvaluationOptions& options) : client_(client), options_(options) {
    at_ = options.at;
    against_ = options.against;
    if (against_.at_case() == v1::RevisionSelector::AT_NOT_SET) against_.set_revision(0);
  }

  // Labels may move while this runs: they are turned into revisions first.
  absl::Status Resolve(const EditRecord& any) {
    for (v1::RevisionSelector* selector : {&at_, &against_}) {
      v1::ScoreRequest request;
      AddItem(any.edit.prompt(), any.edit.target_new(), &request);
      *request.mutable_at() = *selector;
      const absl::StatusOr<v1::ScoreResponse> response = client_->Score(request);
      if (!response.ok()) return response.status();
      selector->set_revision(response->revision());
    }
    evaluation_.revision = at_.revision();
    evaluation_.against = against_.revision();
    return absl::OkStatus();
  }

  absl::Status Add(const EditRecord* records, size_t count) {
    v1::ScoreRequest request;
    v1::ScoreRequest before;
    for (size_t i = 0; i < count; ++i) {
      const v1::Edit& edit = records[i].edit;
      AddItem(edit.prompt(), edit.target_new(), &request);
      for (const std::string& paraphrase : records[i].evaluation_paraphrases) {
        AddItem(paraphrase, edit.target_new(), &request);
      }
      for (const v1::Probe& probe : edit.locality_probes()) {
        AddItem(probe.prompt(), probe.answer(), &request);
        AddItem(probe.prompt(), probe.answer(), &before);
      }
    }
    *request.mutable_at() = at_;
    *before.mutable_at() = against_;
    const absl::StatusOr<v1::ScoreResponse> now = ScoreAll(client_, request);
    if (!now.ok()) return now.status();
    const absl::StatusOr<v1::ScoreResponse> then = ScoreAll(client_, before);
    if (!then.ok()) return then.status();

    return AddExactMatches(records, Tally(records, count, *now, *then));
  }

  const Evaluation& evaluation() const { return evaluation_; }

 private:
  // Adds the shares in the order in which Add() asked; returns the tokens of each target.
  std::vector<int> Tally(const EditRecord* records, size_t count, const v1::ScoreResponse& now,
                         const v1::ScoreResponse& then) {
    std::vector<int> target_tokens;
    int next = 0;
    int next_before = 0;
    for (size_t i = 0; i < count; ++i) {
      const Result& own = now.results(next++);
      target_tokens.push_back(own.token_ids_size());
      evaluation_.reliability.Add(ShareOfEqual(own.token_ids(), own.argmax_ids()));
      Mean general;
      for (size_t p = 0; p < records[i].evaluation_paraphrases.size(); ++p) {
        const Result& result = now.results(next++);
        general.Add(ShareOfEqual(result.token_ids(), result.argmax_ids()));
      }
      if (general.count > 0) evaluation_.generality.Add(general.value());
      Mean local;
      for (int p = 0; p < records[i].edit.locality_probes_size(); ++p) {
        const Result& before = then.results(next_before++);
        local.Add(ShareOfEqual(before.argmax_ids(), now.results(next++).argmax_ids()));
      }
      if (local.count > 0) evaluation_.locality.Add(local.value());
    }
    return target_tokens;
  }

  absl::StatusOr<bool> IsExact(const v1::Edit& edit, int tokens) const {
    v1::GenerateRequest request;
    request.set_prompt(edit.prompt());
    request.set_max_new_tokens(std::max(1, tokens));
    *request.mutable_at() = at_;
    const absl::StatusOr<v1::GenerateResponse> response = client_->Generate(request);
    if (!response.ok()) return response.status();
    return absl::StripAsciiWhitespace(response->text()) == edit.target_new();
  }

  absl::Status AddExactMatches(const EditRecord* records, const std::vector<int>& tokens) {
    std::vector<absl::StatusOr<bool>> exact(tokens.size(), false);
    std::atomic<size_t> next{0};
    const auto work = [&] {
      for (size_t i = next++; i < tokens.size(); i = next++) {
        exact[i] = IsExact(records[i].edit, tokens[i]);
      }
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < options_.concurrent_generations; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    for (const absl::StatusOr<bool>& match : exact) {
      if (!match.ok()) return match.status();
      evaluation_.exact_match.Add(*match ? 1 : 0);
    }
    return absl::OkStatus();
  }

  Client* const client_;
  const EvaluationOptions& options_;
  v1::RevisionSelector at_;
  v1::RevisionSelector against_;
  Evaluation evaluation_;
};

}  // namespace

absl::StatusOr<Evaluation> Evaluate(Client* client, const std::vector<EditRecord>& records,
                                    const EvaluationOptions& options) {
  if (records.empty()) return absl::InvalidArgumentError("no records to evaluate");
  Evaluator evaluator(client, options);
  absl::Status status = evaluator.Resolve(records.front());
  for (size_t start = 0; status.ok() && start < records.size(); start += kRecordsPerScore) {
    options.progress(start);
    status = evaluator.Add(&records[start], std::min(kRecordsPerScore, records.size() - start));
  }
  if (!status.ok()) return status;
  options.progress(records.size());
  return evaluator.evaluation();
}

}  // namespace amend::client
