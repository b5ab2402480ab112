// TraceSession: the kernel's tracepoints of a durable write, switched on for stretches of time, by
// raw tracefs. Needs root.
//
// Works in a trace instance of its own ("metastore-live-PID"), so that nobody else's tracing is
// touched, and removes it when destroyed; what a killed process left is removed by the next one.
// Where tracefs is not mounted, it is mounted for this process alone.
#pragma once

#include <memory>
#include <string>

#include "io/base/status.h"

namespace metastore::walinspect {

class TraceSession final {
 public:
  // For the flushes that thread `thread` submits.
  // Errors: kPermissionDenied    not root, or a container that may not
  //         kFailedPrecondition  the kernel has no tracefs, or not the events this is made of
  static StatusOr<std::unique_ptr<TraceSession>> Open(int thread);
  ~TraceSession();
  TraceSession(const TraceSession&) = delete;
  TraceSession& operator=(const TraceSession&) = delete;

  // Events are collected from here...
  Status Start();
  // ...to here; gives the trace's text (trace_text.h), kTextBytesMax at most. Times in it are the
  // runtime's monotonic ones.
  StatusOr<std::string> Stop();

  static constexpr size_t kTextBytesMax = size_t{64} << 20;

 private:
  explicit TraceSession(std::string directory) : directory_(std::move(directory)) {}
  Status Set(const std::string& file, const std::string& value) const;
  bool Enable(const std::string& event, const std::string& filter) const;
  Status Arrange(int thread);

  const std::string directory_;  // of the instance
  int pipe_ = -1;
};

}  // namespace metastore::walinspect
