// CrossCall: a request that goes to another core and comes back, awaited by the coroutine that made
// it.
//
// The operation lives in the awaiting coroutine's frame; between Post and Return it belongs to the
// other core, which may keep it for as long as the work takes and must return every call it was
// given, also when it stops. A call to the own core arrives at once, inside the await, and comes
// back through the ready queue like any other: what it arrives at queues it, and resumes nobody.
//
//   struct AddCall final : io::CrossCall {
//     using CrossCall::CrossCall;
//     void Arrive() override { sum = a + b; Return(there); }
//     ...
//   };
//   AddCall call(runtime, /*to=*/0);
//   const bool arrived = co_await call;
#pragma once

#include <functional>

#include "io/gate.h"
#include "io/runtime.h"
#include "io/task.h"

namespace metastore::io {

class CrossCall : public ReadyNode {
 public:
  CrossCall(Runtime& from, int to) : from_(from), to_(to) {}
  CrossCall(const CrossCall&) = delete;
  CrossCall& operator=(const CrossCall&) = delete;
  virtual ~CrossCall() = default;

  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    const PromiseBase& promise = handle.promise();
    name = promise.node.name;
    ready_class = promise.node.ready_class;
    handle_ = handle;
    if (from_.core() == to_) {
      posted_ = true;
      Arrive();
      return true;
    }
    run = [](ReadyNode& node) { static_cast<CrossCall&>(node).Arrive(); };
    posted_ = from_.Post(to_, *this);
    return posted_;
  }
  // False: the ring to the other core was full and nothing happened; refuse the request.
  [[nodiscard]] bool await_resume() const noexcept { return posted_; }

 protected:
  // On the other core, once.
  virtual void Arrive() = 0;

 public:
  // On the other core, once, whose runtime is `there`: nothing there may touch the call afterwards.
  // Rings hold more than may be admitted, so there is always room on the way back.
  void Return(Runtime& there) {
    run = [](ReadyNode& node) { static_cast<CrossCall&>(node).handle_.resume(); };
    CHECK(there.Post(from_.core(), *this));
  }

 private:
  Runtime& from_;
  int to_;
  bool posted_ = false;
  std::coroutine_handle<> handle_;
};

// Runs a coroutine on another core of the node and comes back when it has ended:
//   CrossTask start(here, there, [&edge] { return edge.Start(); });
//   const bool arrived = co_await start;
class CrossTask final : public CrossCall {
 public:
  // `make` is called on `to`'s core; what it captures outlives the await.
  CrossTask(Runtime& from, Runtime& to, std::function<Task<void>()> make)
      : CrossCall(from, to.core()), there_(to), make_(std::move(make)) {}

 private:
  void Arrive() override { StartRoot(there_.scheduler(), name, ready_class, Body(*this)); }

  static Task<void> Body(CrossTask& call) {
    Runtime& there = call.there_;
    co_await call.make_();
    call.Return(there);
  }

  Runtime& there_;
  std::function<Task<void>()> make_;
};

}  // namespace metastore::io
