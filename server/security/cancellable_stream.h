#ifndef AMEND_SERVER_SECURITY_CANCELLABLE_STREAM_H_
#define AMEND_SERVER_SECURITY_CANCELLABLE_STREAM_H_

#include <functional>
#include <memory>
#include <utility>

namespace amend {

// A streaming call that the server can end while its client would go on. gRPC's TryCancel resets
// the stream, so that no status but CANCELLED reaches the client; here the reactor itself ends the
// call, as it does when the client goes away, and its status is sent.
class CancellableStream {
 public:
  virtual ~CancellableStream() = default;

  // What ends the call: OnCancel, for as long as the object is there. May be called on any thread
  // and at any time, also after the call is over. Asked for once, before the call can be over.
  virtual std::function<void()> Canceller() = 0;

 protected:
  template <typename Reactor>
  static std::function<void()> CancellerOf(std::weak_ptr<Reactor> reactor) {
    return [reactor = std::move(reactor)] {
      if (const std::shared_ptr<Reactor> there = reactor.lock()) there->OnCancel();
    };
  }
};

}  // namespace amend

#endif  // AMEND_SERVER_SECURITY_CANCELLABLE_STREAM_H_
