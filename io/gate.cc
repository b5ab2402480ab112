#include "io/gate.h"

namespace metastore::io {
namespace {

RootTask RunAlone(Task<void> task) { co_await std::move(task); }

PromiseBase::Node& Prepare(RootTask root, Scheduler& scheduler, const char* name,
                           ReadyClass ready_class) {
  root.promise.scheduler = &scheduler;
  root.promise.node.name = name;
  root.promise.node.ready_class = ready_class;
  return root.promise.node;
}

}  // namespace

void StartRoot(Scheduler& scheduler, const char* name, ReadyClass ready_class, Task<void> task) {
  scheduler.Push(Prepare(RunAlone(std::move(task)), scheduler, name, ready_class));
}

RootTask Gate::RunRoot(Gate& gate, Task<void> task) {
  co_await std::move(task);
  --gate.running_;
  if (gate.running_ == 0) gate.ended_.NotifyAll();
}

bool Gate::Spawn(const char* name, ReadyClass ready_class, Task<void> task) {
  if (closed_) return false;
  ++running_;
  scheduler_.Push(Prepare(RunRoot(*this, std::move(task)), scheduler_, name, ready_class));
  return true;
}

bool Gate::Start(const char* name, ReadyClass ready_class, Task<void> task) {
  if (closed_) return false;
  ++running_;
  PromiseBase::Node& root = Prepare(RunRoot(*this, std::move(task)), scheduler_, name, ready_class);
  root.run(root);
  return true;
}

Task<void> Gate::Close() {
  closed_ = true;
  while (running_ > 0) {
    co_await ended_.Wait();
  }
}

}  // namespace metastore::io
