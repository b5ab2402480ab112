// What one reactor runs next: three ready queues from which each turn takes fixed shares, so that a
// flood of clients never delays a heartbeat or a flush.
//
// Owned by a Runtime; used on its core only. Nothing ever runs inside the completion loop: whatever
// completes is pushed here and run by a later turn, so there is no recursion and no re-entrancy.
//
// Invariants
//  1. A node is in at most one queue at a time (`queued`).
//  2. Nodes of one class run in the order they were pushed, but for PushNext.
//  3. The node pushed is owned by its pusher and must outlive its run; run() may free it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace metastore::io {

enum class ReadyClass : uint8_t {
  kCritical = 0,    // timers, WAL, raft: what elections and durability depend on
  kClient = 1,      // connections and requests
  kBackground = 2,  // snapshots, compaction, segment preparation, metrics
};
inline constexpr size_t kReadyClasses = 3;

struct ReadyNode {
  ReadyNode* next = nullptr;
  void (*run)(ReadyNode& self) = nullptr;
  const char* name = "?";  // the root task's, for the slow-turn log; a string literal
  ReadyClass ready_class = ReadyClass::kClient;
  bool queued = false;
};

class Scheduler final {
 public:
  Scheduler() = default;
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Appends `node` to the queue of its class. CHECKs that it is in none.
  void Push(ReadyNode& node);
  // Puts it first: for what goes on with the work of the node that runs now, while that is in the
  // caches. Whoever uses it must not be able to keep others waiting: a coroutine's parent, whose
  // every wait goes through Push, is not.
  void PushNext(ReadyNode& node);

  struct Turn {
    size_t ran = 0;  // nodes run
    uint64_t slowest_cycles =
        0;  // of one node, by the processor's time stamp counter (0 where it has none)
    const char* slowest_name = "";
  };
  // Runs at most the share of each class, counting what is pushed meanwhile.
  Turn RunTurn();

  bool idle() const { return size_ == 0; }
  size_t size() const { return size_; }

  // Nodes of each class that one turn runs at most. Background work is bounded so tightly because
  // one of its nodes may cost 2 ms; the critical share bounds only a runaway.
  static constexpr size_t kShare[kReadyClasses] = {4096, 1024, 4};

 private:
  struct Queue {
    ReadyNode* head = nullptr;
    ReadyNode* tail = nullptr;
  };
  Queue queues_[kReadyClasses];
  size_t size_ = 0;
};

}  // namespace metastore::io
