// EdgeCore: the clients of one core: their connections, services and HTTP pages.
//
// Owned by the Node; made, used and destroyed on its core.
#pragma once

#include <memory>

#include "net/server.h"
#include "server/edge.h"
#include "server/http_api.h"
#include "server/method_table.h"
#include "server/state_core.h"
#include "server/watch_table.h"

namespace metastore::server {

class EdgeCore final {
 public:
  // What a core's clients are connected to; all of it outlives the EdgeCore.
  struct Parts {
    io::Runtime& runtime;
    io::Runtime& state_runtime;
    StateCore& state;
    NodeObserver& node;
    const Config& config;
  };
  explicit EdgeCore(const Parts& parts);

  // Listens on every client URL.
  // Errors: those of net::ClientServer::Listen, naming the URL
  io::Task<Status> Start();
  // Refuses new work, waits for calls under way until `deadline`, closes the connections.
  io::Task<void> Stop(MonoTime deadline);

  void AddMetrics(io::MetricList& list) const;
  // The addresses listened on, with the ports the system chose.
  const std::vector<io::Address>& addresses() const { return addresses_; }

 private:
  const Config& config_;
  Edge edge_;
  WatchTable watches_;
  MethodTable methods_;
  HttpApi http_;
  net::ClientServer server_;
  std::vector<io::Address> addresses_;
};

}  // namespace metastore::server
