// The loop of a Reactor and its end.
#include <sys/prctl.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "io/base/check.h"
#include "io/uring/reactor.h"

namespace metastore::io::uring {
namespace {

constexpr Duration kSpinMax = Microseconds(200);
constexpr Duration kSlowLogEvery = Seconds(1);

}  // namespace

void Reactor::Run() {
  // Sleeps end at their time, not up to 50 us later; flush pacing depends on it.
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  const Status enabled = ring_->Enable();
  CHECK(enabled.ok());  // all that may be refused was asked for in Create
  running_ = true;
  StartInboxRead();
  if (start_) start_();
  while (!Drained()) Turn();
  Finish();
  running_ = false;
}

void Reactor::Turn() {
  ++stats_.turns;
  TakePosts();
  RunReady();
  WakePostedTo();
  receive_pool_->ServeStarved();
  EnterRing();
  stats_.completions += ring_->Reap();
}

void Reactor::RunReady() {
  const MonoTime before = Now();
  if (timers_.next() <= before && !timers_node_.queued) scheduler_.Push(timers_node_);
  if (scheduler_.idle()) return;
  const Scheduler::Turn turn = scheduler_.RunTurn();
  const Duration took = Now() - before;
  turn_seconds_.Observe(took);
  if (took > kSlowTurn) NoteSlowTurn(took, turn.slowest_name);
}

void Reactor::NoteSlowTurn(Duration took, const char* name) {
  ++stats_.slow_turns;
  const MonoTime now = Now();
  if (now < slow_log_next_) {
    ++slow_unlogged_;
    return;
  }
  log().Warn("slow turn of the reactor", {{"core", core_},
                                          {"took-us", took.us()},
                                          {"slowest-task", name},
                                          {"unlogged-before", std::exchange(slow_unlogged_, 0)}});
  slow_log_next_ = now + kSlowLogEvery;
}

void Reactor::EnterRing() {
  if (!scheduler_.idle() || HavePosts()) return ring_->Enter(Ring::Wait::kNo, {});
  const MonoTime now = Now();
  MonoTime until = std::min(timers_.next(), drain_deadline_);
  if (stopping())
    until = std::min(until, now + Milliseconds(20));  // the others' draining is only polled
  if (until <= now) return ring_->Enter(Ring::Wait::kNo, {});
  if (shared_.spin && Spin(until)) return;
  if (!PrepareSleep()) return ring_->Enter(Ring::Wait::kNo, {});
  ring_->Enter(Ring::Wait::kUntil, until == MonoTime::Max() ? Ring::kNoTimeout : until - now);
  if (shared_.reactors_count > 1) sleeping_.store(false, std::memory_order_relaxed);
  if (shared_.spin) spin_pays_ = Now() - now <= kSpinMax;
}

// Polls instead of sleeping while a file operation is under way, as long as sleeps have been short:
// a sleep and its wake-up cost more than a fast disk's flush. True when something completed or was
// posted.
bool Reactor::Spin(MonoTime until) {
  if (!spin_pays_ || file_requests_.under_way() == 0) return false;
  const MonoTime end = std::min(until, Now() + kSpinMax);
  do {
    ring_->Enter(Ring::Wait::kNo, {});
    if (io_uring_cq_ready(&ring_->raw()) > 0 || HavePosts()) return true;
  } while (Now() < end);
  spin_pays_ = false;
  return false;
}

bool Reactor::Quiet() const {
  return scheduler_.idle() && offloads_ == 0 && !ring_->has_queued() &&
         ring_->in_flight() == internal_.size() && !HavePosts() && timers_.next() > Now();
}

bool Reactor::Drained() {
  if (!shared_.stopping.load(std::memory_order_relaxed)) return false;
  if (!stopping()) {
    drain_deadline_ = Now() + kDrainMax;
    stopping_.RequestStop();
  }
  if (Now() >= drain_deadline_) {
    log().Error("the reactor did not come to rest: a disk hangs, or a task does not heed the stop",
                {{"core", core_},
                 {"operations", ring_->in_flight() - internal_.size()},
                 {"files", file_requests_.under_way()},
                 {"offloads", offloads_}});
    std::_Exit(shared_.exit_code.load() == 0 ? 1 : shared_.exit_code.load());
  }
  if (!counted_quiet_ && Quiet()) {
    counted_quiet_ = true;
    shared_.quiet.fetch_add(1);
  }
  return shared_.quiet.load() == shared_.reactors_count && Quiet();
}

void Reactor::Finish() {
  finishing_ = true;
  for (RingOp* op : internal_) ring_->Cancel(*op);
  while (ring_->in_flight() > 0 || ring_->has_queued()) {
    ring_->Enter(Ring::Wait::kUntil, Milliseconds(20));
    ring_->Reap();
  }
  internal_.clear();
  if (ring_->overflows() > 0) {
    log().Error("the completion queue overflowed",
                {{"core", core_}, {"completions", ring_->overflows()}});
  }
}

}  // namespace metastore::io::uring
