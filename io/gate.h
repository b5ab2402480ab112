// Gate: owns the root tasks of one object, so that stopping it has an end.
//
// Two problems of stopping a service, and only these: new work must be refused, and running work
// must be waited for, since a suspended frame can never be dropped. Spawn starts a root task; Close
// refuses further ones and completes when all have ended. The destructor CHECKs that none is left.
// Single core.
#pragma once

#include <cstddef>

#include "io/signal.h"
#include "io/task.h"

namespace metastore::io {

// Queues `task` as a root that nobody owns. Only for a root whose end another object waits for by
// other means (io/cross_call.h); everything else is spawned by a Gate.
void StartRoot(Scheduler& scheduler, const char* name, ReadyClass ready_class, Task<void> task);

class Gate final {
 public:
  explicit Gate(Scheduler& scheduler) : scheduler_(scheduler) {}
  ~Gate() { CHECK_EQ(running_, 0u); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // Queues `task` as a root named `name` (a string literal). False, and the task is dropped
  // unstarted, once closed.
  bool Spawn(const char* name, ReadyClass ready_class, Task<void> task);

  // As Spawn, but runs the task on the spot until it first waits: for a caller that has just
  // touched what the task needs, and that can stand the task's end before this returns.
  bool Start(const char* name, ReadyClass ready_class, Task<void> task);

  // Refuses new tasks; completes when the running ones have ended. Does not stop them: request that
  // first (StopSource).
  Task<void> Close();

  bool closed() const { return closed_; }
  size_t running() const { return running_; }

 private:
  static RootTask RunRoot(Gate& gate, Task<void> task);

  Scheduler& scheduler_;
  size_t running_ = 0;
  bool closed_ = false;
  Signal ended_;
};

}  // namespace metastore::io
