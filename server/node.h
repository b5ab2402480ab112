// Node: one member, from its configuration to serving clients. The only place that joins log, raft,
// engine and network.
//
// Made on core 0 with the runtimes of all its cores. Core 0 has the state; with one core it has the
// clients too, with more the others have them. What boots here is the same under the kernel and in
// simulation: only the runtimes differ.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "io/metrics.h"
#include "io/runtime.h"
#include "server/config.h"
#include "server/edge_core.h"
#include "server/state_core.h"

namespace metastore::server {

class Node final : public NodeObserver, private io::MetricsSource {
 public:
  // `cores` (1 or more, [0] the calling one) outlive the node, and so does `host`, which adds what
  // it knows to /metrics; null: nothing.
  Node(std::span<io::Runtime* const> cores, Config config, const io::HostMetrics* host = nullptr);
  ~Node() override;

  // Recovers, starts raft and listens. After an error, Stop.
  io::Task<Status> Start();
  // Drains clients for at most `drain`, then ends everything. Always needed, once.
  io::Task<void> Stop(Duration drain);

  // Completes when a leader is known and the member is published, or with `limit`.
  io::Task<io::WaitResult> WaitServing(io::WaitLimit limit);
  // Completes with the error when the node can no longer work (a failed log write), or with OK when
  // `stop` came first.
  io::Task<Status> WaitFailed(io::StopToken stop);

  io::Task<std::string> MetricsText(io::Runtime& here) override;
  StateCore& state() { return state_; }
  // Of the first edge core.
  const std::vector<io::Address>& client_addresses() const { return client_addresses_; }

 private:
  void CollectMetrics(int core, io::MetricList& list) const override;
  static io::Task<void> StartEdge(Node& node, size_t core, Status& status);
  static io::Task<void> StopEdge(Node& node, size_t core, Duration drain);
  io::Task<Status> StartEdges();

  const std::vector<io::Runtime*> cores_;
  const Config config_;
  const io::HostMetrics* const host_;
  StateCore state_;
  std::vector<std::unique_ptr<EdgeCore>> edges_;  // by core; null where there are no clients
  std::vector<io::Address> client_addresses_;
};

}  // namespace metastore::server
