// The HTTP/1.1 pages of the client port: /health, /livez, /readyz, /version, /metrics, as etcd has
// them.
//
// One a core, owned by EdgeCore.
#pragma once

#include <string>
#include <vector>

#include "net/http1.h"
#include "net/server.h"
#include "server/edge.h"
#include "wal/log.h"

namespace metastore::server {

// What /metrics shows; values, gathered from all cores.
struct NodeFacts {
  GroupStatus group;
  wal::LogStats log;
  std::vector<net::ServerStats> edges;
  Identity identity;
};

// What gathers them; the Node.
class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  // On the core of `here`.
  virtual io::Task<NodeFacts> Gather(io::Runtime& here) = 0;
};

// Prometheus text of `facts`, etcd's names where etcd has the thing.
std::string MetricsPage(const NodeFacts& facts);

class HttpApi final : public net::HttpHandler {
 public:
  HttpApi(Edge& edge, NodeObserver& node) : edge_(edge), node_(node) {}

  io::Task<net::HttpResponse> Handle(net::HttpRequest& request) override;

 private:
  io::Task<net::HttpResponse> Health(const net::HttpRequest& request);
  // /livez and /readyz: `linearizable` for the latter.
  io::Task<net::HttpResponse> Probe(const net::HttpRequest& request, bool linearizable);
  // Empty when a read of that kind succeeds now, else why not.
  io::Task<std::string> TryRead(bool serializable);

  Edge& edge_;
  NodeObserver& node_;
};

}  // namespace metastore::server
