#include "io/uring/uring_runtime.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <thread>

#include "io/base/check.h"
#include "io/gate.h"
#include "io/uring/errno_status.h"
#include "io/uring/reactor.h"

namespace metastore::io::uring {
namespace {

Status CheckKernel() {
  utsname name = {};
  uname(&name);
  int major = 0;
  int minor = 0;
  if (std::sscanf(name.release, "%d.%d", &major, &minor) != 2)
    return OkStatus();  // the ring's setup will tell
  if (major > kKernelMajorMin || (major == kKernelMajorMin && minor >= kKernelMinorMin))
    return OkStatus();
  return FailedPreconditionError("kernel ", std::string_view(name.release),
                                 " is too old: ", kKernelMajorMin, ".", kKernelMinorMin,
                                 " or later is needed");
}

void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // best effort: accept reports when descriptors run out
}

bool Pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

bool MayUse(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  return cpu >= 0 && cpu < CPU_SETSIZE && sched_getaffinity(0, sizeof(set), &set) == 0 &&
         CPU_ISSET(static_cast<size_t>(cpu), &set);
}

}  // namespace

// SIGTERM and SIGINT through a signalfd that reactor 0 reads by its ring.
struct UringHost::Signals : RingOp {
  Reactor* reactor = nullptr;
  int fd = -1;
  sigset_t set = {};
  sigset_t before = {};
  std::vector<int> pending;  // at most kPendingMax; more of the same tell nothing new
  Signal arrived;

  static constexpr size_t kPendingMax = 16;

  Signals() {
    prepare = [](RingOp& self, io_uring_sqe& sqe) {
      auto& signals = static_cast<Signals&>(self);
      io_uring_prep_poll_add(&sqe, signals.fd, POLLIN);
    };
    complete = [](RingOp& self, int32_t /*result*/, uint32_t /*flags*/) {
      static_cast<Signals&>(self).Take();
    };
  }
  ~Signals() {
    if (fd < 0) return;
    close(fd);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  Status Open() {
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) return FileStatus(errno, "signalfd", "signals");
    return OkStatus();
  }

  // A plain read behind a poll: kernels before 6.10 cannot read a signalfd without blocking through
  // the ring, and would hold a worker thread in it.
  void Take() {
    signalfd_siginfo info = {};
    while (read(fd, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      if (pending.size() < kPendingMax) pending.push_back(static_cast<int>(info.ssi_signo));
    }
    if (!pending.empty()) arrived.NotifyAll();
    reactor->RestartInternal(*this);
  }
};

Status UringOptions::Validate() const {
  std::string problems;
  const auto add = [&](const std::string& problem) {
    problems += (problems.empty() ? "" : "; ") + problem;
  };
  if (reactors < 1 || reactors > limits::kReactorsMax) {
    add(Concat("reactors: ", reactors, " is not between 1 and ", limits::kReactorsMax));
  }
  if (!cpu_list.empty() && cpu_list.size() != static_cast<size_t>(reactors)) {
    add(Concat("cpu list: ", cpu_list.size(), " CPUs for ", reactors, " reactors"));
  }
  for (const int cpu : cpu_list) {
    if (!MayUse(cpu)) add(Concat("cpu list: CPU ", cpu, " is not available to this process"));
  }
  if (arena_bytes % limits::kBlockBytes != 0 || arena_bytes > limits::kGiB) {
    add(Concat("arena bytes: ", arena_bytes, " is not a multiple of ", limits::kBlockBytes,
               " up to 1 GiB"));
  }
  if (receive_buffers < 2 || receive_buffers > 32768 ||
      (receive_buffers & (receive_buffers - 1)) != 0) {
    add(Concat("receive buffers: ", receive_buffers, " is not a power of two between 2 and 32768"));
  }
  if (offload_threads < 1 || offload_threads > 64) {
    add(Concat("offload threads: ", offload_threads, " is not between 1 and 64"));
  }
  if (sq_entries < 8 || cq_entries < 4 * sq_entries || cq_entries > 65536 ||
      (cq_entries & (cq_entries - 1)) != 0) {
    add(Concat("ring entries: completions ", cq_entries, " must be a power of two, at least 4 x ",
               "submissions ", sq_entries, " and at most 65536"));
  }
  return problems.empty() ? OkStatus() : InvalidArgumentError(problems);
}

UringHost::UringHost() = default;

UringHost::~UringHost() {
  if (shared_ == nullptr) return;
  shared_->pool.reset();  // joins: no job of a reactor is under way any more
  shared_->reactors.clear();
}

StatusOr<std::unique_ptr<UringHost>> UringHost::Create(UringOptions options) {
  MS_RETURN_IF_ERROR(options.Validate());
  MS_RETURN_IF_ERROR(CheckKernel());
  std::unique_ptr<UringHost> host(new UringHost);
  MS_RETURN_IF_ERROR(host->Open(std::move(options)));
  return host;
}

Status UringHost::Open(UringOptions options) {
  RaiseDescriptorLimit();
  std::signal(SIGPIPE, SIG_IGN);
  if (options.handle_signals) {
    signals_ = std::make_unique<Signals>();
    MS_RETURN_IF_ERROR(
        signals_->Open());  // before any thread is made (the log's too): all inherit the mask
  }
  StatusOr<std::unique_ptr<Logger>> log = MakeLogger(options.log);
  if (!log.ok()) return log.status();
  cpu_list_ = std::move(options.cpu_list);
  shared_ = std::make_unique<Shared>(options.reactors);
  shared_->log = std::move(*log);
  if (!options.trace_path.empty()) {
    StatusOr<std::unique_ptr<IoRecorder>> recorder =
        IoRecorder::Create(options.trace_path, *shared_->log);
    if (!recorder.ok()) return recorder.status();
    shared_->recorder = std::move(*recorder);
  }
  shared_->spin = options.spin;
  shared_->arena_bytes = options.arena_bytes;
  shared_->receive_buffers = options.receive_buffers;
  shared_->ring = {.sq_entries = options.sq_entries,
                   .cq_entries = options.cq_entries,
                   .setup = std::move(options.setup)};
  shared_->pool = std::make_unique<OffloadPool>(options.offload_threads);
  for (int core = 0; core < options.reactors; ++core) {
    StatusOr<std::unique_ptr<Reactor>> reactor = Reactor::Create(*shared_, core);
    if (!reactor.ok()) return reactor.status();
    shared_->reactors.push_back(std::move(*reactor));
  }
  return OkStatus();
}

Runtime& UringHost::runtime(int core) { return *shared_->reactors[static_cast<size_t>(core)]; }

Logger& UringHost::log() { return *shared_->log; }

void UringHost::RequestExit(int code) { shared_->RequestStop(code); }

void UringHost::RunReactor(int core) {
  Reactor& reactor = *shared_->reactors[static_cast<size_t>(core)];
  if (!cpu_list_.empty() && !Pin(cpu_list_[static_cast<size_t>(core)])) {
    log().Warn("reactor is not pinned",
               {{"core", core}, {"cpu", cpu_list_[static_cast<size_t>(core)]}});
  }
  reactor.Run();
}

int UringHost::Run(const std::function<void(std::span<Runtime* const>)>& main) {
  CHECK(!ran_);
  ran_ = true;
  const auto count = static_cast<size_t>(shared_->reactors_count);
  std::vector<std::thread> threads;
  for (size_t core = 1; core < count; ++core) {
    threads.emplace_back([this, core] { RunReactor(static_cast<int>(core)); });
  }
  std::vector<Runtime*> runtimes;
  for (const std::unique_ptr<Reactor>& reactor : shared_->reactors)
    runtimes.push_back(reactor.get());
  Reactor& first = *shared_->reactors[0];
  first.AtStart([&] {
    if (signals_ != nullptr) {
      signals_->reactor = &first;
      first.StartInternal(*signals_);
    }
    main(runtimes);
  });
  RunReactor(0);
  for (std::thread& thread : threads) thread.join();
  return shared_->exit_code.load();
}

Task<int> UringHost::WaitForSignal() {
  Reactor& reactor = *shared_->reactors[0];
  Signal never;
  Signal& arrived = signals_ == nullptr ? never : signals_->arrived;
  while (signals_ == nullptr || signals_->pending.empty()) {
    const WaitResult result = co_await arrived.Wait(WaitLimit{.stop = reactor.stop_token()});
    if (result == WaitResult::kStopped) co_return 0;
  }
  const int number = signals_->pending.front();
  signals_->pending.erase(signals_->pending.begin());
  co_return number;
}

LoopStats UringHost::stats(int core) const {
  return shared_->reactors[static_cast<size_t>(core)]->stats();
}

StatusOr<int> RunOneTask(UringOptions options, const char* name,
                         const std::function<Task<void>(UringHost&)>& task) {
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(std::move(options));
  if (!host.ok()) return host.status();
  Gate gate((*host)->runtime(0).scheduler());
  return (*host)->Run([&](std::span<Runtime* const> /*runtimes*/) {
    gate.Spawn(name, ReadyClass::kClient, task(**host));
  });
}

}  // namespace metastore::io::uring
