// UringHost: the production host of a node's runtimes: one io_uring reactor and thread a core, one
// log, one pool of threads for blocking calls, and the process's signals.
//
// Use: Create, then Run on the thread that becomes reactor 0; `main` starts the root tasks there.
// Some task of reactor 0 awaits WaitForSignal, stops the node's gates in order, and calls
// RequestExit; Run returns once all reactors have come to rest: nothing ready, nothing under way in
// the kernel or the pool. A task that only waits for a timer or a Signal does not count as work:
// stop it before. Everything made from a runtime must be destroyed before the host.
//
// Create also: refuses kernels before 6.1 and says what forbids io_uring; blocks SIGTERM and SIGINT
// (in this thread and those made later) and ignores SIGPIPE; raises the descriptor limit to its
// hard value.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "io/base/limits.h"
#include "io/metrics.h"
#include "io/runtime.h"
#include "io/uring/logger.h"

struct io_uring;
struct io_uring_params;

namespace metastore::io::uring {

struct Shared;

struct UringOptions {
  int reactors = 1;           // 1 to limits::kReactorsMax
  std::vector<int> cpu_list;  // reactor i is pinned to cpu_list[i]; empty: not pinned
  size_t arena_bytes =
      64 * limits::kMiB;  // a reactor, for IoBuffers; registered (locked) memory where allowed
  size_t receive_buffers = 1024;  // a reactor, of limits::kReceiveBytes; a power of two
  bool spin = false;              // poll briefly instead of sleeping while a fast disk writes
  bool handle_signals = true;     // false: WaitForSignal never completes before the stop
  int offload_threads = 4;
  unsigned sq_entries = 1024;
  unsigned cq_entries = 65536;  // a power of two, at least 4 x sq_entries; half of it bounds
                                // operations under way
  LogOptions log;
  // A new file for the trace of all disk operations (io_recorder.h); empty: none.
  std::string trace_path;
  // Replaces io_uring_queue_init_params, for tests of refusals.
  std::function<int(unsigned, ::io_uring*, ::io_uring_params*)> setup;

  // OK, or kInvalidArgument naming every problem.
  Status Validate() const;
};

// Counters of one reactor since it started; read them after Run, or on that reactor.
struct LoopStats {
  uint64_t turns = 0;
  uint64_t enters = 0;  // io_uring_enter calls
  uint64_t completions = 0;
  uint64_t slow_turns = 0;  // longer than 10 ms
  uint64_t overflows = 0;   // completions the queue had no room for; stays 0
  uint64_t receive_copies = 0;
  size_t operations_in_flight = 0;  // known to the kernel now
};

class UringHost final : public HostMetrics {
 public:
  // Errors: kInvalidArgument     see UringOptions::Validate; a log output cannot be opened; a CPU
  // cannot be pinned to
  //         kAlreadyExists       there is a file at trace_path
  //         kFailedPrecondition  the kernel is too old, or io_uring is missing or forbidden; says
  //         what to change
  static StatusOr<std::unique_ptr<UringHost>> Create(UringOptions options);
  ~UringHost() override;
  UringHost(const UringHost&) = delete;
  UringHost& operator=(const UringHost&) = delete;

  Runtime& runtime(int core);
  Logger& log();

  // Starts the reactors, runs `main` on reactor 0, returns RequestExit's code once all have come to
  // rest. Once only.
  int Run(const std::function<void(std::span<Runtime* const>)>& main);

  // Any thread; the first code wins. Pending operations end with kCancelled.
  void RequestExit(int code);

  // Reactor 0 only, one waiter at a time: the next SIGTERM or SIGINT; 0 when the host stops first.
  Task<int> WaitForSignal();

  LoopStats stats(int core) const;

  // HostMetrics, in io/uring/host_metrics.cc.
  void CollectMetrics(int core, MetricList& list) const override;
  void CollectProcessMetrics(MetricList& list) const override;

 private:
  struct Signals;

  UringHost();
  Status Open(UringOptions options);
  void RunReactor(int core);

  std::unique_ptr<Shared> shared_;
  std::unique_ptr<Signals> signals_;
  std::vector<int> cpu_list_;
  bool ran_ = false;
};

// For programs of one task: makes a host of one reactor, runs `task` there as `name`, and returns
// the code that it gave to RequestExit. Errors: those of Create
StatusOr<int> RunOneTask(UringOptions options, const char* name,
                         const std::function<Task<void>(UringHost&)>& task);

}  // namespace metastore::io::uring
