// A stream of edits that outlives lost connections, asked before and after, and taken back; what
// client/python/examples/quickstart.py does, in C++.
//
//   quickstart [HOST:PORT [SESSION]]
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>

#include "client/client.h"
#include "client/errors.h"

namespace {

namespace v1 = amend::v1;
using amend::client::Client;

constexpr char kPrompt[] = "The capital of Jordan is";

template <typename T>
T OrExit(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::cerr << amend::client::Describe(result.status()) << std::endl;
  std::exit(1);
}

v1::EditBatch Batch(const char* prompt, const char* subject, const char* target) {
  v1::EditBatch batch;
  v1::Edit& edit = *batch.add_edits();
  edit.set_prompt(prompt);
  edit.set_subject(subject);
  edit.set_target_new(target);
  return batch;
}

v1::GenerateRequest Question() {
  v1::GenerateRequest request;
  request.set_prompt(kPrompt);
  request.set_max_new_tokens(8);
  request.add_stop(".");
  return request;
}

// Told of every stage on the way, on the thread that streams.
class Progress : public amend::client::EditStreamObserver {
  void OnStarted(int64_t next) override { std::cout << "goes on at offset " << next << std::endl; }
  void OnBatch(const v1::EditBatchStatus& batch) override {
    std::cout << "batch " << batch.offset() << ": " << v1::BatchStage_Name(batch.stage())
              << std::endl;
  }
  void OnReconnect(int attempt, const absl::Status& why, absl::Duration /*pause*/) override {
    std::cout << "attempt " << attempt << " after: " << why.message() << std::endl;
  }
};

}  // namespace

int main(int argc, char** argv) {
  amend::client::EditStreamOptions session;
  session.session = argc > 2 ? argv[2] : "cpp-quickstart";
  const auto client = Client::Create({argc > 1 ? argv[1] : "127.0.0.1:50051"});
  std::cout << "before:" << OrExit(client->Generate(Question())).text() << std::endl;

  Progress progress;
  // The same session again does nothing twice: it returns what was recorded.
  const auto outcomes = OrExit(client->StreamEdits(
      session,
      {Batch(kPrompt, "Jordan", "Bangui"), Batch("Palermo is a city in", "Palermo", "Slovenia")},
      &progress));
  for (const v1::EditBatchStatus& batch : outcomes) {
    std::cout << "revision " << batch.revision() << ", reliability "
              << batch.edit_results(0).reliability() << std::endl;
  }

  v1::GenerateRequest question = Question();
  question.set_min_revision(outcomes.front().revision());  // read your edit
  std::cout << "after:";
  const absl::Status streamed = client->GenerateStream(
      question, [](const v1::GenerateStreamResponse& message) { std::cout << message.text(); });
  std::cout << (streamed.ok() ? "" : amend::client::Describe(streamed)) << std::endl;

  const v1::ListRevisionsResponse listed = OrExit(client->ListRevisions({}));
  for (const v1::Revision& revision : listed.revisions()) {
    std::cout << "revision " << revision.revision() << " of parent " << revision.parent() << '\n';
  }
  v1::RollbackRequest rollback;
  rollback.set_revision(0);
  rollback.set_reason("only an example");
  const v1::RollbackResponse moved = OrExit(client->Rollback(rollback));
  std::cout << "rolled back: " << moved.previous_revision() << " -> " << moved.label().revision()
            << "\nnow:" << OrExit(client->Generate(Question())).text() << std::endl;

  question.mutable_at()->set_label("no-such-label");
  std::cout << "an error: " << amend::client::ErrorReason(client->Generate(question).status())
            << std::endl;
  return 0;
}
