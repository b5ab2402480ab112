#include "io/scheduler.h"

#include "io/base/check.h"

namespace metastore::io {
namespace {

uint64_t Cycles() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return 0;
#endif
}

}  // namespace

Scheduler::~Scheduler() { CHECK_EQ(size_, 0u); }

void Scheduler::Push(ReadyNode& node) {
  CHECK(!node.queued);
  CHECK(node.run != nullptr);
  node.queued = true;
  node.next = nullptr;
  Queue& queue = queues_[static_cast<size_t>(node.ready_class)];
  if (queue.tail == nullptr) {
    queue.head = &node;
  } else {
    queue.tail->next = &node;
  }
  queue.tail = &node;
  ++size_;
}

void Scheduler::PushNext(ReadyNode& node) {
  CHECK(!node.queued);
  CHECK(node.run != nullptr);
  node.queued = true;
  Queue& queue = queues_[static_cast<size_t>(node.ready_class)];
  node.next = queue.head;
  queue.head = &node;
  if (queue.tail == nullptr) queue.tail = &node;
  ++size_;
}

Scheduler::Turn Scheduler::RunTurn() {
  Turn turn;
  uint64_t before = Cycles();
  for (size_t c = 0; c < kReadyClasses; ++c) {
    for (size_t taken = 0; taken < kShare[c] && queues_[c].head != nullptr; ++taken) {
      ReadyNode& node = *queues_[c].head;
      queues_[c].head = node.next;
      if (node.next == nullptr) queues_[c].tail = nullptr;
      node.next = nullptr;
      node.queued = false;
      --size_;
      __builtin_prefetch(queues_[c].head);  // frames of waiting coroutines are cold
      const char* name = node.name;
      node.run(node);  // may free the node
      ++turn.ran;
      const uint64_t after = Cycles();
      if (after - before > turn.slowest_cycles) {
        turn.slowest_cycles = after - before;
        turn.slowest_name = name;
      }
      before = after;
    }
  }
  return turn;
}

}  // namespace metastore::io
