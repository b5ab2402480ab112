// AsyncQueue: a bounded queue between tasks of one core; and OneShot: a value that arrives once.
#pragma once

#include <optional>
#include <utility>

#include "io/base/bounded_queue.h"
#include "io/signal.h"

namespace metastore::io {

template <typename T>
class AsyncQueue final {
 public:
  explicit AsyncQueue(size_t capacity) : items_(capacity) {}

  // False, and `value` untouched, when full.
  [[nodiscard]] bool TryPush(T&& value) {
    if (!items_.TryPush(std::move(value))) return false;
    arrived_.NotifyOne();
    return true;
  }
  size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  T Pop() { return items_.Pop(); }

  // The next item; nothing once a stop is requested.
  Task<std::optional<T>> Next(StopToken stop) {
    while (items_.empty()) {
      const WaitResult result = co_await arrived_.Wait(WaitLimit{.stop = stop});
      if (result == WaitResult::kStopped) co_return std::nullopt;
    }
    co_return items_.Pop();
  }

 private:
  BoundedQueue<T> items_;
  Signal arrived_;
};

// Set once, awaited by at most one coroutine: co_await one_shot. Must outlive both.
template <typename T>
class OneShot final {
 public:
  void Set(T value) {
    CHECK(!value_.has_value());
    value_.emplace(std::move(value));
    if (suspension_.suspended()) suspension_.Wake();
  }
  bool set() const { return value_.has_value(); }

  struct Awaiter {
    OneShot& shot;
    bool await_ready() const noexcept { return shot.value_.has_value(); }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
      shot.suspension_.Suspend(handle);
    }
    T await_resume() { return std::move(*shot.value_); }
  };
  Awaiter operator co_await() { return Awaiter{*this}; }

 private:
  std::optional<T> value_;
  Suspension suspension_;
};

}  // namespace metastore::io
