#ifndef AMEND_SERVER_SERVING_OBSERVER_H_
#define AMEND_SERVER_SERVING_OBSERVER_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace amend {

// Told what happens on the serving side. Calls come from any thread, never block and never fail;
// implementations are thread-safe. The methods here do nothing.
class ServingObserver {
 public:
  // What one request came to.
  struct RequestEnd {
    // "length", "stop", "end_of_text", "context_full", "cancelled", "deadline", "stalled", "error";
    // for a Score request "score".
    absl::string_view finish_reason;
    absl::Duration duration;
    int prompt_tokens = 0;
    int generated_tokens = 0;
    // Prompt tokens that were in the KV cache already when it began.
    int cached_tokens = 0;
    // Further ones of which the layers below the first edited one were there.
    int partly_cached_tokens = 0;
  };

  virtual ~ServingObserver() = default;

  virtual void OnSequences(int running, int waiting) {
    (void)running;
    (void)waiting;
  }
  // Tokens of the KV cache for which running sequences hold room, of how many.
  virtual void OnKvCache(int64_t claimed, int64_t capacity) {
    (void)claimed;
    (void)capacity;
  }
  // One forward over `rows` sequences.
  virtual void OnStep(int rows) { (void)rows; }
  // Of the tokens in one forward, at how many an edit fired.
  virtual void OnHooks(int64_t tokens, int64_t fired) {
    (void)tokens;
    (void)fired;
  }
  // A sequence gave up its room in the KV cache for another one, and waits.
  virtual void OnPreemption() {}
  virtual void OnFirstToken(absl::Duration since_submit) { (void)since_submit; }
  virtual void OnInterToken(absl::Duration since_last_token) { (void)since_last_token; }
  virtual void OnRequestEnd(const RequestEnd& end) { (void)end; }
  // A request that was turned away; `reason` is the ErrorInfo reason ("QUEUE_FULL").
  virtual void OnRejection(absl::string_view reason) { (void)reason; }
};

}  // namespace amend

#endif  // AMEND_SERVER_SERVING_OBSERVER_H_
