// YieldAs: goes on in another ready class, for a coroutine that finds that its next step is heavy.
//
//   co_await io::YieldAs(io::ReadyClass::kBackground);
// The class stays with this coroutine and what it awaits from now on; its parent keeps its own.
#pragma once

#include "io/task.h"

namespace metastore::io {

class YieldAs final {
 public:
  explicit YieldAs(ReadyClass ready_class) : ready_class_(ready_class) {}

  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) const {
    PromiseBase& promise = handle.promise();
    promise.node.ready_class = ready_class_;
    promise.scheduler->Push(promise.node);
  }
  void await_resume() const noexcept {}

 private:
  ReadyClass ready_class_;
};

}  // namespace metastore::io
