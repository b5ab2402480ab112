#include "io/sim/sim_runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "io/base/limits.h"
#include "io/sim/sim_file.h"
#include "io/sim/sim_socket.h"
#include "io/sim/sim_world.h"

namespace metastore::sim {

SimRuntime::SimRuntime(SimMachine& machine, int core, Prng prng)
    : machine_(machine), core_(core), prng_(prng) {
  turn_.runtime = timer_event_.runtime = this;
  turn_.run = [](SimEvent& event) { static_cast<TurnEvent&>(event).runtime->RunTurn(); };
  timer_event_.run = [](SimEvent& event) {
    static_cast<TurnEvent&>(event).runtime->PushDueTimers();
  };
  due_timers_.runtime = this;
  due_timers_.name = "timers";
  due_timers_.ready_class = io::ReadyClass::kCritical;
  due_timers_.run = [](io::ReadyNode& node) {
    static_cast<DueTimers&>(node).runtime->FireDueTimers();
  };
}

SimRuntime::~SimRuntime() {
  clock().Cancel(turn_);
  clock().Cancel(timer_event_);
  for (const std::unique_ptr<Ring>& ring : rings_) clock().Cancel(*ring);
}

SimClock& SimRuntime::clock() { return machine_.world().clock(); }

void SimRuntime::CheckCaller() const {
  const SimRuntime* current = machine_.world().current();
  CHECK(current == nullptr || current == this);
}

void SimRuntime::CheckEmpty() const {
  CHECK(scheduler_.idle());
  CHECK(timers_.empty());
  CHECK(waits_.empty());
  CHECK_EQ(objects_, 0u);  // files, sockets, listeners, locks, buffers
  for (const std::unique_ptr<Ring>& ring : rings_) CHECK(ring->nodes.empty());
}

// --- turns -------------------------------------------------------------------------------------

void SimRuntime::ScheduleTurn() {
  if (dead_ || machine_.paused() || scheduler_.idle() || turn_.scheduled()) return;
  clock().Schedule(turn_, busy_until_);
}

void SimRuntime::CancelTurn() { clock().Cancel(turn_); }

void SimRuntime::RunTurn() {
  SimWorld& world = machine_.world();
  CHECK(world.current() == nullptr);
  world.set_current(this);
  const io::Scheduler::Turn turn = scheduler_.RunTurn();
  world.set_current(nullptr);
  const SimOptions& options = world.options();
  const auto overhead = prng_.Below(static_cast<uint64_t>(options.turn_max.ns) + 1);
  const Duration cost = options.node_cost * static_cast<int64_t>(turn.ran);
  busy_until_ = clock().Now() + cost + Nanoseconds(static_cast<int64_t>(overhead));
}

void SimRuntime::Die() {
  dead_now_ = machine_.LocalTime();
  dead_ = true;
  clock().Cancel(turn_);
  clock().Cancel(timer_event_);
  while (!waits_.empty()) static_cast<SimWait*>(waits_.front())->WakeIfSuspended();
  for (const std::unique_ptr<Ring>& ring : rings_) FlushRing(*ring);
}

bool SimRuntime::FireTimerOfDead() {
  CHECK(dead_);
  if (timers_.empty()) return false;
  io::Timer& timer = timers_.Pop();
  dead_now_ = std::max(dead_now_, timer.when);
  timer.fired(timer);
  return true;
}

// --- time --------------------------------------------------------------------------------------

MonoTime SimRuntime::Now() const { return dead_ ? dead_now_ : machine_.LocalTime(); }

void SimRuntime::Arm(io::Timer& timer, MonoTime when) {
  CheckCaller();
  CHECK(timer.fired != nullptr);
  timers_.Add(timer, when);
  if (&timers_.top() == &timer) ScheduleTimers();
}

void SimRuntime::Cancel(io::Timer& timer) {
  CheckCaller();
  if (timer.armed()) timers_.Remove(timer);
}

void SimRuntime::ScheduleTimers() {
  if (dead_ || timers_.empty()) return;
  const MonoTime due = machine_.WorldTimeOf(timers_.top().when);
  if (due == MonoTime::Max()) return;
  if (timer_event_.scheduled() && timer_event_.when <= due) return;
  clock().Cancel(timer_event_);
  const auto late_max = static_cast<uint64_t>(machine_.world().options().timer_late_max.ns);
  clock().Schedule(timer_event_,
                   due + Nanoseconds(static_cast<int64_t>(prng_.Below(late_max + 1))));
}

void SimRuntime::ClockChanged() {
  clock().Cancel(timer_event_);
  ScheduleTimers();
}

void SimRuntime::PushDueTimers() {
  const bool due = !timers_.empty() && timers_.top().when <= Now();
  if (!due) {
    ScheduleTimers();
  } else if (!due_timers_.queued) {
    scheduler_.Push(due_timers_);
  }
}

void SimRuntime::FireDueTimers() {
  // A timer that is armed anew for the past waits for the next turn.
  size_t left = timers_.size();
  while (left > 0 && !timers_.empty() && timers_.top().when <= Now()) {
    io::Timer& timer = timers_.Pop();
    timer.fired(timer);
    --left;
  }
  PushDueTimers();
}

// --- other cores -------------------------------------------------------------------------------

void SimRuntime::ConnectRings(const std::vector<std::unique_ptr<SimRuntime>>& all) {
  for (const std::unique_ptr<SimRuntime>& runtime : all) {
    auto ring = std::make_unique<Ring>();
    ring->from = this;
    ring->to = runtime.get();
    ring->run = [](SimEvent& event) {
      auto& self = static_cast<Ring&>(event);
      self.from->FlushRing(self);
    };
    rings_.push_back(std::move(ring));
  }
}

bool SimRuntime::Post(int core, io::ReadyNode& node) {
  CheckCaller();
  CHECK_GE(core, 0);
  CHECK_LT(core, cores_count());
  Ring& ring = *rings_[static_cast<size_t>(core)];
  if (core == core_ || dead_) {
    ring.to->scheduler_.Push(node);
    return true;
  }
  if (ring.nodes.size() >= limits::kPostRingSlots) return false;
  ring.nodes.push_back(&node);
  if (!ring.scheduled()) {
    const auto max = static_cast<uint64_t>(machine_.world().options().post_delay_max.ns);
    clock().Schedule(ring, clock().Now() + Nanoseconds(static_cast<int64_t>(prng_.Below(max + 1))));
  }
  return true;
}

void SimRuntime::FlushRing(Ring& ring) {
  clock().Cancel(ring);
  for (io::ReadyNode* node : std::exchange(ring.nodes, {})) ring.to->scheduler_.Push(*node);
}

// --- files -------------------------------------------------------------------------------------

io::Task<StatusOr<std::unique_ptr<io::File>>> SimRuntime::OpenFile(std::string path,
                                                                   io::OpenMode mode) {
  DiskCall call(*this, SimDiskOp::kOpen, path, mode);
  const Status status = co_await call;
  if (!status.ok()) co_return status;
  std::unique_ptr<io::File> file = std::make_unique<SimFile>(*this, call.path, call.inode);
  co_return file;
}

io::Task<Status> SimRuntime::RemoveFile(std::string path) {
  DiskCall call(*this, SimDiskOp::kRemove, path);
  const Status status = co_await call;
  co_return status;
}

io::Task<StatusOr<std::vector<io::DirectoryEntry>>> SimRuntime::ListDirectory(std::string path) {
  DiskCall call(*this, SimDiskOp::kList, path);
  const Status status = co_await call;
  if (!status.ok()) co_return status;
  co_return std::move(call.entries);
}

io::Task<Status> SimRuntime::MakeDirectories(std::string path) {
  DiskCall call(*this, SimDiskOp::kMakeDirectories, path);
  const Status status = co_await call;
  co_return status;
}

io::Task<Status> SimRuntime::RenameDirectory(std::string from, std::string to) {
  DiskCall call(*this, SimDiskOp::kRename, from);
  call.new_path = NormalPath(to);
  const Status status = co_await call;
  co_return status;
}

io::Task<Status> SimRuntime::SyncDirectory(std::string path) {
  DiskCall call(*this, SimDiskOp::kSyncDirectory, path);
  const Status status = co_await call;
  co_return status;
}

io::Task<StatusOr<io::FileSystemFacts>> SimRuntime::FactsOf(std::string path) {
  DiskCall call(*this, SimDiskOp::kList, path);
  const Status status = co_await call;
  if (!status.ok()) co_return status;
  SimDisk& disk = machine_.disk();
  const uint64_t used = disk.used_bytes();
  const uint64_t total = disk.options().capacity_bytes;
  co_return io::FileSystemFacts{.type = "simfs",
                                .free_bytes = total > used ? total - used : 0,
                                .total_bytes = total,
                                .direct_block = static_cast<uint32_t>(limits::kBlockBytes)};
}

namespace {

class SimLock final : public io::DirectoryLock {
 public:
  SimLock(SimRuntime& runtime, std::string path) : runtime_(runtime), path_(std::move(path)) {
    runtime_.AddObject();
  }
  ~SimLock() override {
    runtime_.machine().disk().Unlock(path_, runtime_.machine().process_id());
    runtime_.RemoveObject();
  }

 private:
  SimRuntime& runtime_;
  std::string path_;
};

constexpr int kLockTries = 20;
constexpr Duration kLockRetry = Milliseconds(50);

}  // namespace

io::Task<StatusOr<std::unique_ptr<io::DirectoryLock>>> SimRuntime::LockDirectory(std::string path) {
  const std::string normal = NormalPath(path);
  for (int tries = 0; tries < kLockTries && !dead_; ++tries) {
    MS_CO_RETURN_IF_ERROR(machine_.disk().CheckDirectory(normal));
    if (machine_.disk().TryLock(normal, machine_.process_id())) {
      std::unique_ptr<io::DirectoryLock> lock = std::make_unique<SimLock>(*this, normal);
      co_return lock;
    }
    co_await io::SleepUntil(*this, Now() + kLockRetry);
  }
  if (dead_) co_return CancelledError(normal, ": the process was killed");
  co_return AlreadyExistsError(normal, ": locked by another process");
}

io::IoBuffer SimRuntime::AllocateBuffer(size_t bytes) {
  CHECK_GT(bytes, 0u);
  CHECK_EQ(bytes % limits::kBlockBytes, 0u);
  CHECK_LE(bytes, limits::kIoBytesMax);
  auto* data = static_cast<char*>(::operator new(bytes, std::align_val_t{limits::kBlockBytes}));
  std::memset(data, static_cast<int>(prng_.Between(1, 255)), bytes);  // undefined is not zero
  ++objects_;
  return io::IoBuffer(this, data, bytes, -1);
}

void SimRuntime::Free(char* data, size_t bytes) {
  ::operator delete(data, bytes, std::align_val_t{limits::kBlockBytes});
  --objects_;
}

namespace {

// From calloc: what nobody touches costs nothing.
class SimSharedMemory final : public io::SharedMemory {
 public:
  explicit SimSharedMemory(size_t words)
      : data_(static_cast<uint64_t*>(std::calloc(words, sizeof(uint64_t)))), words_(words) {
    CHECK(data_ != nullptr);
  }
  ~SimSharedMemory() override { std::free(data_); }
  std::span<uint64_t> words() override { return {data_, words_}; }

 private:
  uint64_t* const data_;
  const size_t words_;
};

}  // namespace

StatusOr<std::unique_ptr<io::SharedMemory>> SimRuntime::MakeSharedMemory(const std::string& name,
                                                                         size_t bytes) {
  CheckCaller();
  CHECK_GT(bytes, 0u);
  CHECK_EQ(bytes % sizeof(uint64_t), 0u);
  if (dead_) return CancelledError(name, ": the process was killed");
  return std::make_unique<SimSharedMemory>(bytes / sizeof(uint64_t));
}

// --- network -----------------------------------------------------------------------------------

StatusOr<std::unique_ptr<io::Listener>> SimRuntime::Listen(const io::Address& address) {
  CheckCaller();
  if (dead_) return CancelledError(address.ToString(), ": the process was killed");
  SimNetwork& network = machine_.world().network();
  auto listener = std::make_unique<SimListener>(*this, network);
  StatusOr<io::Address> local = network.AddListener(*listener, address);
  if (!local.ok()) return local.status();
  listener->set_local(*std::move(local));
  return std::unique_ptr<io::Listener>(std::move(listener));
}

io::Task<StatusOr<std::unique_ptr<io::Socket>>> SimRuntime::Connect(io::Address address,
                                                                    MonoTime deadline) {
  CheckCaller();
  SimNetwork& network = machine_.world().network();
  while (!dead_ && Now() < deadline) {
    const Duration there = network.DelayTo(machine_, address);
    co_await io::SleepUntil(*this, Now() + there);
    if (dead_) break;
    SimNetwork::End end;
    const SimNetwork::Answer answer = network.TryConnect(*this, address, &end);
    std::unique_ptr<io::Socket> socket;
    if (answer == SimNetwork::Answer::kAccepted) socket = std::make_unique<SimSocket>(*this, end);
    if (answer == SimNetwork::Answer::kNone) {
      const MonoTime again = Now() + network.options().connect_retry;
      co_await io::SleepUntil(*this, std::min(again, std::max(deadline, Now())));
      continue;
    }
    const Duration back = network.DelayTo(machine_, address);
    co_await io::SleepUntil(*this, Now() + back);
    if (dead_) break;
    if (socket == nullptr) co_return UnavailableError(address.ToString(), ": connection refused");
    if (Now() <= deadline) co_return socket;
  }
  if (dead_) co_return CancelledError(address.ToString(), ": the process was killed");
  co_return UnavailableError(address.ToString(), ": connect timed out");
}

namespace {

bool IsLiteral(std::string_view host) {
  return host.find_first_not_of("0123456789.") == std::string_view::npos ||
         host.find(':') != std::string_view::npos;
}

}  // namespace

io::Task<StatusOr<std::vector<io::Address>>> SimRuntime::Resolve(std::string host, uint16_t port) {
  CheckCaller();
  if (dead_) co_return CancelledError(host, ": the process was killed");
  if (IsLiteral(host) && !host.empty()) co_return std::vector<io::Address>{{host, port}};
  if (host == "localhost") co_return std::vector<io::Address>{{"127.0.0.1", port}};
  const SimMachine* found = machine_.world().network().FindByName(host);
  if (found == nullptr) co_return NotFoundError(host, ": no such host");
  co_return std::vector<io::Address>{{found->ip(), port}};
}

// --- elsewhere ---------------------------------------------------------------------------------

io::Task<void> SimRuntime::Offload(const char* /*name*/, std::function<void()> work) {
  CheckCaller();
  const auto max = static_cast<uint64_t>(machine_.world().options().offload_max.ns);
  const Duration takes = Nanoseconds(static_cast<int64_t>(prng_.Below(max + 1)));
  co_await io::SleepUntil(*this, Now() + takes);
  work();
}

}  // namespace metastore::sim
