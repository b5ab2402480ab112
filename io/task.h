// Task<T>: a lazy coroutine, the thin shell around our synchronous cores. The only file that
// touches coroutine handles.
//
// Rules of use are in docs/STYLE.md ("Coroutines"). How it works:
//  - Lazy start: nothing runs until the task is awaited, or spawned by a Gate (io/gate.h).
//  - Awaiting resumes the child on the spot. A child that finishes at once costs no queue;
//    otherwise it remembers its parent's ready node and makes it the scheduler's next when it
//    finishes: the chain of callers unwinds while its frames are warm, without symmetric transfer
//    and without recursion beyond the nesting of calls that have not yet suspended.
//  - The awaiter owns the child, so its frame dies at the end of the co_await expression. With a
//  borrowed child a chain
//    of 100,000 finished tasks destroys itself recursively and overflows the stack.
//  - Scheduler, ready class and name are inherited from parent to child; roots get theirs from
//  Gate::Spawn.
//  - `finished` is our own flag: handle.done() on a coroutine suspended elsewhere is undefined.
#pragma once

#include <coroutine>
#include <optional>
#include <utility>

#include "io/base/check.h"
#include "io/frame_pool.h"
#include "io/scheduler.h"

namespace metastore::io {

// What every coroutine of ours carries. Leaf awaiters (timers, files, sockets, signals) read it to
// know whom to wake.
struct PromiseBase {
  struct Node : ReadyNode {
    std::coroutine_handle<> handle;
  };

  Node node;                       // pushing it resumes this coroutine
  Scheduler* scheduler = nullptr;  // set when it starts
  ReadyNode* waiter = nullptr;     // the parent's node, once it had to suspend
  bool finished = false;

  void Inherit(const PromiseBase& parent) {
    scheduler = parent.scheduler;
    node.name = parent.node.name;
    node.ready_class = parent.node.ready_class;
  }

  void SetHandle(std::coroutine_handle<> handle) {
    node.handle = handle;
    node.run = [](ReadyNode& self) { static_cast<Node&>(self).handle.resume(); };
  }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
      PromiseBase& promise = handle.promise();
      promise.finished = true;
      if (promise.waiter != nullptr) promise.scheduler->PushNext(*promise.waiter);
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { CHECK_UNREACHABLE(); }

  static void* operator new(size_t bytes) { return AllocateFrame(bytes); }
  static void operator delete(void* frame, size_t bytes) noexcept { FreeFrame(frame, bytes); }
};

template <typename T>
struct TaskResult : PromiseBase {
  std::optional<T> value;
  template <typename U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T Take() { return std::move(*value); }
};

template <>
struct TaskResult<void> : PromiseBase {
  void return_void() const noexcept {}
  void Take() const noexcept {}
};

template <typename T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : TaskResult<T> {
    Task get_return_object() {
      auto handle = std::coroutine_handle<promise_type>::from_promise(*this);
      this->SetHandle(handle);
      return Task(handle);
    }
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (!handle_) return;
    // A started, unfinished frame may own buffers the kernel still writes to: dropping it is a bug,
    // not a cancellation.
    const PromiseBase& promise = handle_.promise();
    CHECK(promise.finished || promise.scheduler == nullptr);
    handle_.destroy();
  }

  struct Awaiter {
    explicit Awaiter(Task task) : child(std::move(task)) {}
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) {
      PromiseBase& from = parent.promise();
      PromiseBase& promise = child.handle_.promise();
      promise.Inherit(from);
      child.handle_.resume();
      if (promise.finished) return false;
      promise.waiter = &from.node;
      return true;
    }
    T await_resume() { return child.handle_.promise().Take(); }

    Task child;
  };
  Awaiter operator co_await() && { return Awaiter(std::move(*this)); }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

// A root: frees itself when it ends. Made by Gate::Spawn only.
struct RootTask {
  struct promise_type : PromiseBase {
    RootTask get_return_object() {
      SetHandle(std::coroutine_handle<promise_type>::from_promise(*this));
      return RootTask{*this};
    }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
  };
  PromiseBase& promise;
};

// Suspends the awaiting coroutine until Wake(); base of leaf awaiters. Wake() pushes it on its
// scheduler: it runs in a later step, never inside Wake(). One coroutine at a time.
class Suspension {
 public:
  template <typename Promise>
  void Suspend(std::coroutine_handle<Promise> handle) {
    PromiseBase& promise = handle.promise();
    node_ = &promise.node;
    scheduler_ = promise.scheduler;
  }
  bool suspended() const { return node_ != nullptr; }
  void Wake() {
    CHECK(suspended());
    scheduler_->Push(*std::exchange(node_, nullptr));
  }

 private:
  ReadyNode* node_ = nullptr;
  Scheduler* scheduler_ = nullptr;
};

// co_await Yield(): goes to the end of its ready queue, so that a long loop shares the core.
struct Yield : Suspension {
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    Suspend(handle);
    Wake();
  }
  void await_resume() const noexcept {}
};

}  // namespace metastore::io
