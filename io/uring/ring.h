// Ring: one io_uring of one thread, by caller-owned operations. It fills submission entries, enters
// the kernel and hands completions to their operations; it knows nothing of files, sockets or
// coroutines.
//
// Created on any thread, used only by the one that called Enable (SINGLE_ISSUER). With
// DEFER_TASKRUN nothing completes unless that thread enters with GETEVENTS, so Enter always does.
//
// Invariants
//  1. Operations the kernel knows of, completed but not yet reaped ones included, never exceed half
//     of the completion queue, urgent ones included three quarters of it; the rest is for multishot
//     bursts. So it never overflows (overflows() stays 0); what exceeds a limit waits in order.
//     Urgent are cancels, closes and files: few, and idle connections must not hold them up.
//  2. An operation started is completed exactly once without IORING_CQE_F_MORE; until then it stays
//     in place. Only multishot operations see completions with it.
//  3. Nothing completes inside Start, Cancel or Close.
//  4. Within urgent, plain and late operations, entries reach the kernel in the order they were
//     started; those started late after all others of the same turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "io/base/status.h"
#include "io/base/time.h"
#include "io/uring/uring_compat.h"

namespace metastore::io::uring {

// Base of every operation; owned by whoever starts it.
struct RingOp {
  enum class State : uint8_t { kIdle, kQueued, kInFlight };

  // Fills `sqe` (zeroed by the io_uring_prep_ functions); user_data is the ring's.
  void (*prepare)(RingOp& self, io_uring_sqe& sqe) = nullptr;
  // `result` and `flags` as in the completion entry. May start operations; must not enter the ring.
  void (*complete)(RingOp& self, int32_t result, uint32_t flags) = nullptr;

  // Submitted right behind this one, whose entry must carry IOSQE_IO_LINK.
  RingOp* chained = nullptr;
  RingOp* next = nullptr;  // the ring's
  State state = State::kIdle;
  bool urgent = false;         // see invariant 1
  bool cancel_queued = false;  // cancelled before the kernel saw it
};

// Replaces io_uring_queue_init_params in tests.
using SetupFunction = std::function<int(unsigned entries, io_uring* ring, io_uring_params* params)>;

struct RingOptions {
  unsigned sq_entries = 1024;
  // A power of two, at least 4 x sq_entries; halved down to that where the kernel lacks the memory.
  unsigned cq_entries = 65536;
  SetupFunction setup;  // empty: io_uring_queue_init_params
};

// What to tell the operator when io_uring_setup failed with `error` (positive errno) and
// /proc/sys/kernel/io_uring_disabled holds `disabled`.
Status DescribeSetupFailure(int error, std::optional<int> disabled);

class Ring final {
 public:
  // Errors: kFailedPrecondition  io_uring is missing, forbidden or lacks an operation; says what to
  // change
  static StatusOr<std::unique_ptr<Ring>> Create(const RingOptions& options);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Makes the calling thread the owner.
  Status Enable();

  // `op` (and op.chained) must be idle.
  void Start(RingOp& op);
  // As Start, but submitted after everything started plainly in this turn: sends wait for the log's
  // write.
  void StartLate(RingOp& op);
  // Gives what was started (not late) to the kernel now, without waiting for the turn's Enter. Not
  // from within a completion.
  void SubmitNow();
  // Asks for an early end of `op`, which still completes (with -ECANCELED if the kernel could stop
  // it). Idle: no effect.
  void Cancel(RingOp& op);
  // Closes a descriptor; nothing reports back.
  void Close(int fd);
  // Makes the ring behind `ring_fd` return from Enter.
  void Wake(int ring_fd);

  enum class Wait : uint8_t { kNo, kUntil };
  // Submits, then lets the kernel complete; with kUntil sleeps until something completes or
  // `timeout` has passed (Duration::Max-like values: no timeout). May return early.
  void Enter(Wait wait, Duration timeout);
  // Runs the completions that are there. Returns their number.
  size_t Reap();

  int fd() const { return ring_.ring_fd; }
  io_uring& raw() { return ring_; }
  size_t in_flight() const { return in_flight_; }
  // Started, but not yet known to the kernel.
  bool has_queued() const {
    return urgent_.head != nullptr || plain_.head != nullptr || late_.head != nullptr;
  }
  uint64_t overflows() const { return *ring_.cq.koverflow; }
  uint64_t enters() const { return enters_; }
  // Completions are being run.
  bool reaping() const { return reaping_; }
  size_t in_flight_max() const { return in_flight_max_; }

  static constexpr Duration kNoTimeout = {INT64_MAX};

 private:
  // A close, cancel, shutdown or wake: owned by the ring from start to completion.
  struct Detached : RingOp {
    enum class Kind : uint8_t { kClose, kCancel, kWake } kind = Kind::kClose;
    Ring* ring = nullptr;
    int fd = -1;
    uint64_t target = 0;
    Detached* next_free = nullptr;
  };
  struct Queue {
    RingOp* head = nullptr;
    RingOp* tail = nullptr;
    void Push(RingOp& op);
    RingOp& Pop();
  };

  Ring() = default;
  Status CheckOperations();
  Detached& NewDetached(Detached::Kind kind, int fd);
  static void PrepareDetached(RingOp& self, io_uring_sqe& sqe);
  bool HasRoom(const RingOp& op) const;
  void Prepare(RingOp& op);
  void Queued(Queue& queue, RingOp& op);
  // Moves queued operations into the submission queue, entering the kernel whenever that is full.
  void Fill();
  bool FillFrom(Queue& queue);
  void CheckEntered(int result);

  io_uring ring_ = {};
  size_t in_flight_ = 0;
  size_t in_flight_max_ = 0;
  size_t urgent_max_ = 0;
  Queue urgent_;
  Queue plain_;
  Queue late_;
  Detached* free_detached_ = nullptr;
  std::vector<std::unique_ptr<Detached>> detached_;
  uint64_t enters_ = 0;
  bool reaping_ = false;
};

}  // namespace metastore::io::uring
