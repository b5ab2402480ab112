// Waiting on one core: Signal (a condition without a mutex), StopSource/StopToken (cooperative
// cancellation), timers.
//
// A waiter is woken exactly once, by whichever comes first: a notification, the deadline or a stop.
// All objects here are single-core and intrusive: waiting allocates nothing.
#pragma once

#include <cstdint>

#include "io/base/time.h"
#include "io/task.h"

namespace metastore::io {

// Doubly linked membership in one list; unlinks itself when destroyed.
class ListLink {
 public:
  ListLink() = default;
  ~ListLink() { Unlink(); }
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;

  bool linked() const { return next_ != nullptr; }
  void Unlink() {
    if (!linked()) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  friend class ListHead;
  ListLink* prev_ = nullptr;
  ListLink* next_ = nullptr;
};

class ListHead {
 public:
  ListHead() { root_.prev_ = root_.next_ = &root_; }
  ~ListHead() {
    CHECK(empty());
    root_.prev_ = root_.next_ = nullptr;
  }
  ListHead(const ListHead&) = delete;
  ListHead& operator=(const ListHead&) = delete;

  bool empty() const { return root_.next_ == &root_; }
  ListLink* front() { return root_.next_; }
  void PushBack(ListLink& link) {
    CHECK(!link.linked());
    link.prev_ = root_.prev_;
    link.next_ = &root_;
    root_.prev_->next_ = &link;
    root_.prev_ = &link;
  }

 private:
  ListLink root_;
};

// A caller-owned timer: `fired` is called once at or after `when`, from the ready queue's critical
// class. The runtime that armed it (io/runtime.h) keeps a pointer until it fires or is cancelled.
struct Timer {
  MonoTime when;
  void (*fired)(Timer& self) = nullptr;
  uint64_t sequence = 0;  // ties fire in the order they were armed; set by the queue
  static constexpr size_t kIdle = static_cast<size_t>(-1);
  size_t heap_slot = kIdle;  // set by the queue; kIdle while not armed

  bool armed() const { return heap_slot != kIdle; }
};

// What arms timers; every Runtime is one.
class TimerService {
 public:
  virtual ~TimerService() = default;
  virtual MonoTime Now() const = 0;
  // Arms `timer` (not armed now) to fire at `when`; at once, but not inside this call, if that is
  // past.
  virtual void Arm(Timer& timer, MonoTime when) = 0;
  // Afterwards `timer` does not fire. No effect if it is not armed.
  virtual void Cancel(Timer& timer) = 0;
};

class StopSource;

// A callback for the moment a stop is requested; registered while it lives.
class StopCallback : public ListLink {
 public:
  void (*stopped)(StopCallback& self) = nullptr;
};

// A borrowed view of a StopSource (which must outlive it); a default token never stops.
class StopToken {
 public:
  StopToken() = default;
  bool stopped() const;
  // Links `callback`; if a stop was already requested it is not linked and false is returned.
  bool Register(StopCallback& callback) const;

 private:
  friend class StopSource;
  explicit StopToken(StopSource* source) : source_(source) {}
  StopSource* source_ = nullptr;
};

class StopSource final {
 public:
  StopToken token() { return StopToken(this); }
  bool stopped() const { return stopped_; }
  // Runs every registered callback once; later registrations see stopped(). Idempotent.
  void RequestStop();

 private:
  friend class StopToken;
  bool stopped_ = false;
  ListHead callbacks_;
};

enum class WaitResult : uint8_t { kNotified, kTimedOut, kStopped };

// What a wait ends at, besides its notification.
struct WaitLimit {
  TimerService* timers = nullptr;  // needed with a deadline
  MonoTime deadline = MonoTime::Max();
  StopToken stop = {};
};

class Signal;

// One wait, in the waiting coroutine's frame.
class SignalWait {
 public:
  SignalWait(Signal* signal, WaitLimit limit) : signal_(signal), limit_(limit) {}
  SignalWait(const SignalWait&) = delete;
  SignalWait& operator=(const SignalWait&) = delete;

  bool await_ready() {
    if (!limit_.stop.stopped()) return false;
    result_ = WaitResult::kStopped;
    return true;
  }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    suspension_.Suspend(handle);
    Start();
  }
  WaitResult await_resume() const { return result_; }

 private:
  friend class Signal;
  struct Link : ListLink {
    SignalWait* wait = nullptr;
  };
  struct Stop : StopCallback {
    SignalWait* wait = nullptr;
  };
  struct Deadline : Timer {
    SignalWait* wait = nullptr;
  };

  void Start();
  void Finish(WaitResult result);

  Signal* signal_;  // null for a plain sleep
  WaitLimit limit_;
  Link link_;
  Stop stop_;
  Deadline deadline_;
  Suspension suspension_;
  WaitResult result_ = WaitResult::kNotified;
};

class Signal final {
 public:
  // Completes with kNotified after a later Notify (there is no memory of earlier ones: test the
  // condition first, in a loop), or with kTimedOut / kStopped.
  SignalWait Wait(WaitLimit limit = {}) { return SignalWait(this, limit); }

  void NotifyOne();
  void NotifyAll();
  bool has_waiters() const { return !waits_.empty(); }

 private:
  friend class SignalWait;
  ListHead waits_;
};

// Sleeps until `deadline`: kTimedOut, or kStopped.
inline SignalWait SleepUntil(TimerService& timers, MonoTime deadline, StopToken stop = {}) {
  return SignalWait(nullptr, WaitLimit{.timers = &timers, .deadline = deadline, .stop = stop});
}

}  // namespace metastore::io
