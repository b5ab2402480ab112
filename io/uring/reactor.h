// Reactor: one core's Runtime over one io_uring, and its loop. Internal to io/uring; users see
// io::Runtime.
//
// One turn of the loop: nodes other cores posted join the scheduler; due timers join as one
// critical node; one scheduler turn; wakes for sleeping cores posted to; submission (files first,
// sends last) and, if nothing is left to run, sleep until the next timer; completions, which only
// set results and push nodes.
//
// The only system call on this thread in steady state is io_uring_enter. Others: a write to an
// eventfd when an offload ends (on the pool's threads), getrandom once in 512 numbers, and while
// setting up: socket, bind, listen, setsockopt, getsockname, and getpeername once a connection
// whose peer() is asked for.
//
// Stopping: RequestStop makes every later operation end with kCancelled and cancels connections,
// listeners and connects; the loop goes on until nothing is under way on any reactor. A disk that
// hangs longer than kDrainMax ends the process.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "io/metrics.h"
#include "io/runtime.h"
#include "io/uring/arena.h"
#include "io/uring/io_recorder.h"
#include "io/uring/offload_pool.h"
#include "io/uring/post_ring.h"
#include "io/uring/receive_pool.h"
#include "io/uring/ring.h"
#include "io/uring/timer_heap.h"
#include "io/uring/uring_file.h"
#include "io/uring/uring_runtime.h"

namespace metastore::io::uring {

class Reactor;

// What the reactors of one host share. The reactors' threads only read it, but for what is atomic
// or locked.
struct Shared {
  explicit Shared(int reactors)
      : reactors_count(reactors),
        posts(static_cast<size_t>(reactors) * static_cast<size_t>(reactors)) {}

  const int reactors_count;
  bool spin = false;
  RingOptions ring;
  size_t arena_bytes = 0;
  size_t receive_buffers = 1024;
  std::unique_ptr<Logger> log;
  std::unique_ptr<IoRecorder> recorder;  // null: nothing is traced
  std::unique_ptr<OffloadPool> pool;
  std::vector<std::unique_ptr<Reactor>> reactors;
  std::vector<PostRing> posts;  // [from * reactors_count + to]

  std::atomic<bool> stopping{false};
  std::atomic<int> exit_code{0};
  std::atomic<int> quiet{0};  // reactors that had nothing under way after the stop

  std::mutex listening_mutex;
  std::vector<Address> listening;  // under listening_mutex: where some reactor of this host listens

  void RequestStop(int code);  // any thread; the first code wins
};

class Reactor final : public Runtime {
 public:
  // Errors: kFailedPrecondition  see Ring::Create and ReceivePool::Create
  static StatusOr<std::unique_ptr<Reactor>> Create(Shared& shared, int core);
  ~Reactor() override;

  // `start` runs first thing in Run.
  void AtStart(std::function<void()> start) { start_ = std::move(start); }
  // Makes the calling thread the reactor's and runs on it until the host stops and all its reactors
  // have drained.
  void Run();

  // TimerService
  MonoTime Now() const override;
  void Arm(Timer& timer, MonoTime when) override { timers_.Arm(timer, when); }
  void Cancel(Timer& timer) override { timers_.Cancel(timer); }
  // Runtime
  Scheduler& scheduler() override { return scheduler_; }
  int core() const override { return core_; }
  int cores_count() const override { return shared_.reactors_count; }
  Logger& log() override { return *shared_.log; }
  WallTime WallNow() const override;
  uint64_t Random() override;
  bool Post(int core, ReadyNode& node) override;
  Task<StatusOr<std::unique_ptr<File>>> OpenFile(std::string path, OpenMode mode) override;
  Task<Status> RemoveFile(std::string path) override;
  Task<Status> RenameDirectory(std::string from, std::string to) override;
  Task<StatusOr<std::vector<DirectoryEntry>>> ListDirectory(std::string path) override;
  Task<Status> MakeDirectories(std::string path) override;
  Task<Status> SyncDirectory(std::string path) override;
  Task<StatusOr<FileSystemFacts>> FactsOf(std::string path) override;
  Task<StatusOr<std::unique_ptr<DirectoryLock>>> LockDirectory(std::string path) override;
  IoBuffer AllocateBuffer(size_t bytes) override { return arena_.Allocate(bytes); }
  StatusOr<std::unique_ptr<SharedMemory>> MakeSharedMemory(const std::string& name,
                                                           size_t bytes) override;
  StatusOr<std::unique_ptr<Listener>> Listen(const Address& address) override;
  Task<StatusOr<std::unique_ptr<Socket>>> Connect(Address address, MonoTime deadline) override;
  Task<StatusOr<std::vector<Address>>> Resolve(std::string host, uint16_t port) override;
  Task<void> Offload(const char* name, std::function<void()> work) override;

  // For the objects this runtime makes.
  Ring& ring() { return *ring_; }
  ReceivePool& receive_pool() { return *receive_pool_; }
  FileRequestPool& file_requests() { return file_requests_; }
  Shared& shared() { return shared_; }
  IoRecorder* recorder() { return shared_.recorder.get(); }
  bool stopping() const { return stopping_.stopped(); }
  StopToken stop_token() { return stopping_.token(); }
  // `job.finished` runs on this core once `job.work` has run on a pool thread.
  void Enqueue(OffloadJob& job);
  // Closes a descriptor of which no operation is under way.
  void CloseDescriptor(int fd);
  // Starts `op`, which does not keep the loop from ending and is cancelled at its end; its
  // completion calls RestartInternal.
  void StartInternal(RingOp& op);
  void RestartInternal(RingOp& op);  // no effect once the loop has ended
  LoopStats stats() const;
  // Of the turns that ran something.
  const Histogram& turn_seconds() const { return turn_seconds_; }
  // Any thread.
  void WakeFromAnywhere();
  Arena& arena() { return arena_; }

  static constexpr Duration kSlowTurn = Milliseconds(10);
  static constexpr Duration kDrainMax = Seconds(10);

 private:
  struct TimersNode : ReadyNode {
    Reactor* reactor = nullptr;
  };
  struct InboxRead : RingOp {
    Reactor* reactor = nullptr;
    uint64_t count = 0;
  };

  Reactor(Shared& shared, int core);
  Status Open();
  uint64_t TraceBegin(TraceOp op, std::string_view path, OpenMode mode = OpenMode::kRead);
  void TraceEnd(uint64_t traced, const Status& status);
  void RegisterArena();
  void Turn();
  void TakePosts();
  void RunReady();
  void NoteSlowTurn(Duration took, const char* name);
  void WakePostedTo();
  void EnterRing();
  bool HavePosts() const;
  bool PrepareSleep();
  bool Spin(MonoTime until);
  void TakeFinishedJobs();
  void StartInboxRead();
  bool Quiet() const;
  bool Drained();
  void Finish();

  Shared& shared_;
  const int core_;
  Scheduler scheduler_;
  std::unique_ptr<Ring> ring_;
  TimerHeap timers_;
  TimersNode timers_node_;
  Arena arena_;
  std::unique_ptr<ReceivePool> receive_pool_;
  FileRequestPool file_requests_;
  OffloadInbox inbox_;
  InboxRead inbox_read_;
  size_t offloads_ = 0;                // enqueued, not yet finished here
  std::vector<RingOp*> internal_;      // never ending reads
  uint64_t posted_to_ = 0;             // bit a core: posted to since the last wake
  std::atomic<bool> sleeping_{false};  // see PrepareSleep
  StopSource stopping_;
  std::function<void()> start_;
  bool counted_quiet_ = false;
  bool running_ = false;
  bool finishing_ = false;
  MonoTime drain_deadline_ = MonoTime::Max();
  bool spin_pays_ = true;
  LoopStats stats_;
  Histogram turn_seconds_;
  MonoTime slow_log_next_;
  uint64_t slow_unlogged_ = 0;
  std::vector<uint64_t> random_;
};
static_assert(limits::kReactorsMax <= 64, "posted_to_ has a bit a core");

}  // namespace metastore::io::uring
