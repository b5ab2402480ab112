#include "io/uring/reactor.h"

#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "io/base/check.h"
#include "io/uring/errno_status.h"

namespace metastore::io::uring {
namespace {

int64_t ReadClock(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);  // served by the vdso: no system call
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

constexpr Duration kTurnBounds[] = {
    Microseconds(10),  Microseconds(20), Microseconds(50),  Microseconds(100), Microseconds(200),
    Microseconds(500), Milliseconds(1),  Milliseconds(2),   Milliseconds(5),   Milliseconds(10),
    Milliseconds(20),  Milliseconds(50), Milliseconds(100), Milliseconds(500)};

}  // namespace

void Shared::RequestStop(int code) {
  int none = 0;
  if (stopping.load()) return;
  exit_code.compare_exchange_strong(none, code);
  stopping.store(true);
  for (const std::unique_ptr<Reactor>& reactor : reactors) reactor->WakeFromAnywhere();
}

Reactor::Reactor(Shared& shared, int core)
    : shared_(shared), core_(core), arena_(shared.arena_bytes), turn_seconds_(kTurnBounds) {}

Reactor::~Reactor() = default;

StatusOr<std::unique_ptr<Reactor>> Reactor::Create(Shared& shared, int core) {
  std::unique_ptr<Reactor> reactor(new Reactor(shared, core));
  MS_RETURN_IF_ERROR(reactor->Open());
  return reactor;
}

Status Reactor::Open() {
  StatusOr<std::unique_ptr<Ring>> ring = Ring::Create(shared_.ring);
  if (!ring.ok()) return ring.status();
  ring_ = std::move(*ring);
  RegisterArena();
  StatusOr<std::unique_ptr<ReceivePool>> pool =
      ReceivePool::Create(*ring_, shared_.receive_buffers);
  if (!pool.ok()) return pool.status();
  receive_pool_ = std::move(*pool);
  MS_RETURN_IF_ERROR(inbox_.Open());
  timers_node_.reactor = this;
  timers_node_.name = "timers";
  timers_node_.ready_class = ReadyClass::kCritical;
  timers_node_.run = [](ReadyNode& self) {
    Reactor& reactor = *static_cast<TimersNode&>(self).reactor;
    reactor.timers_.Fire(reactor.Now());
  };
  return OkStatus();
}

void Reactor::RegisterArena() {
  if (arena_.bytes() == 0) return;
  const iovec region = {.iov_base = arena_.region(), .iov_len = arena_.bytes()};
  const int result = io_uring_register_buffers(&ring_->raw(), &region, 1);
  if (result == 0) {
    arena_.SetRegistered(0);
  } else if (core_ == 0) {
    log().Warn(
        "I/O buffers are not registered with io_uring: plain ones serve, at a little more CPU a "
        "write; raise "
        "RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)",
        {{"error", ErrnoName(-result)}, {"needed-bytes", arena_.bytes()}});
  }
}

// A machine that was suspended must see that time has passed: what rests on it (lease reads) would
// be wrong otherwise. CLOCK_MONOTONIC stands still meanwhile.
MonoTime Reactor::Now() const { return {ReadClock(CLOCK_BOOTTIME)}; }

WallTime Reactor::WallNow() const { return {ReadClock(CLOCK_REALTIME)}; }

void Reactor::WakeFromAnywhere() { inbox_.Wake(); }

void Reactor::StartInternal(RingOp& op) {
  op.urgent = true;  // connections at their limit must hold up neither offloads nor signals
  internal_.push_back(&op);
  ring_->Start(op);
}

void Reactor::RestartInternal(RingOp& op) {
  if (!finishing_) ring_->Start(op);
}

void Reactor::StartInboxRead() {
  inbox_read_.reactor = this;
  inbox_read_.prepare = [](RingOp& self, io_uring_sqe& sqe) {
    auto& read = static_cast<InboxRead&>(self);
    io_uring_prep_read(&sqe, read.reactor->inbox_.event_fd(), &read.count, sizeof(read.count), 0);
  };
  inbox_read_.complete = [](RingOp& self, int32_t /*result*/, uint32_t /*flags*/) {
    Reactor& reactor = *static_cast<InboxRead&>(self).reactor;
    reactor.TakeFinishedJobs();
    reactor.RestartInternal(self);
  };
  StartInternal(inbox_read_);
}

void Reactor::Enqueue(OffloadJob& job) {
  ++offloads_;
  job.home = &inbox_;
  shared_.pool->Enqueue(job);
}

void Reactor::TakeFinishedJobs() {
  OffloadJob* job = inbox_.Take();
  while (job != nullptr) {
    OffloadJob* next = job->next;
    CHECK_GT(offloads_, 0u);
    --offloads_;
    job->finished(*job);
    job = next;
  }
}

bool Reactor::Post(int core, ReadyNode& node) {
  CHECK(core >= 0 && core < shared_.reactors_count);
  if (core == core_) {
    scheduler_.Push(node);
    return true;
  }
  if (!shared_.posts[static_cast<size_t>(core_ * shared_.reactors_count + core)].TryPush(node))
    return false;
  posted_to_ |= uint64_t{1} << core;
  return true;
}

void Reactor::TakePosts() {
  for (int from = 0; from < shared_.reactors_count; ++from) {
    if (from == core_) continue;
    PostRing& ring = shared_.posts[static_cast<size_t>(from * shared_.reactors_count + core_)];
    // At most what one turn runs, so that a flood of posts leaves the loop its turns.
    for (size_t taken = 0; taken < Scheduler::kShare[0]; ++taken) {
      ReadyNode* node = ring.TryPop();
      if (node == nullptr) break;
      scheduler_.Push(*node);
    }
  }
}

bool Reactor::HavePosts() const {
  for (int from = 0; from < shared_.reactors_count; ++from) {
    if (from != core_ &&
        !shared_.posts[static_cast<size_t>(from * shared_.reactors_count + core_)].empty())
      return true;
  }
  return false;
}

// The wake protocol of posts. Receiver: sleeping_ = true; fence; look into the rings once more;
// sleep. Poster: store into the ring; fence; look at sleeping_. The two sequentially consistent
// fences are ordered one way or the other: if the poster's comes first, the receiver's second look
// finds the post; if the receiver's comes first, the poster sees sleeping_ and wakes. Both may
// happen, which costs one needless wake; neither cannot. One fence serves all posts of a turn, and
// the exchange lets only one poster wake. Nothing but sleeping_ relies on the fences: the node's
// content is published by the ring's own release and acquire.
bool Reactor::PrepareSleep() {
  if (shared_.reactors_count == 1) return true;
  sleeping_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!HavePosts()) return true;
  sleeping_.store(false, std::memory_order_relaxed);
  return false;
}

void Reactor::WakePostedTo() {
  if (posted_to_ == 0) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (int core = 0; core < shared_.reactors_count; ++core) {
    if ((posted_to_ >> core & 1) == 0) continue;
    Reactor& other = *shared_.reactors[static_cast<size_t>(core)];
    if (!other.sleeping_.load(std::memory_order_relaxed)) continue;
    if (other.sleeping_.exchange(false, std::memory_order_relaxed)) ring_->Wake(other.ring_->fd());
  }
  posted_to_ = 0;
}

void Reactor::CloseDescriptor(int fd) {
  if (running_) {
    ring_->Close(fd);
  } else {
    close(fd);  // before the loop or after it: no ring to close through
  }
}

LoopStats Reactor::stats() const {
  LoopStats stats = stats_;
  stats.enters = ring_->enters();
  stats.overflows = ring_->overflows();
  stats.receive_copies = receive_pool_->copies();
  stats.operations_in_flight = ring_->in_flight();
  return stats;
}

}  // namespace metastore::io::uring
