// NodeProcess: one life of a real metastore process on a data directory, on the loopback, with
// small segments and frequent snapshots. Blocking; for one thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "io/base/status.h"
#include "io/base/time.h"

namespace metastore::crashtest {

// What decides the bytes a node writes: the same in the recording and on its crashes.
struct NodeSettings {
  std::string program;  // metastore
  uint64_t depth = 1;   // --wal-depth
  std::string durable_method = "dsync";
  uint64_t segment_bytes = uint64_t{256} << 10;
};

struct NodePlace {
  std::string data;   // the data directory
  std::string log;    // the file for its standard error, overwritten
  std::string trace;  // the file for its trace, replaced; empty: none
};

class NodeProcess final {
 public:
  static constexpr Duration kStartMax = Seconds(60);

  // Starts the node and waits until it serves.
  // Errors: kAborted            it ended by itself; its last line of log is in the message
  //         kDeadlineExceeded   it does not serve in kStartMax
  //         kInternal           it cannot be started
  static StatusOr<std::unique_ptr<NodeProcess>> Start(const NodeSettings& settings,
                                                      const NodePlace& place);
  ~NodeProcess();  // kills it
  NodeProcess(const NodeProcess&) = delete;
  NodeProcess& operator=(const NodeProcess&) = delete;

  uint16_t port() const { return port_; }
  // kill -9, and waits for the end.
  void Kill();
  // SIGTERM. kAborted: it did not end with status 0.
  Status Stop();

 private:
  NodeProcess(pid_t pid, uint16_t port) : pid_(pid), port_(port) {}
  // Its end; nothing if it still runs.
  bool Ended(int* status);

  pid_t pid_;
  uint16_t port_;
};

// The messages of a node's log, in order, without what varies: which way its start took.
std::string StartPath(std::string_view log);
// One millisecond.
void Pause();
// CLOCK_MONOTONIC.
MonoTime MonotonicNow();

}  // namespace metastore::crashtest
