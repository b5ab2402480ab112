// The HTTP/1.1 pages of the client port: /health, /livez, /readyz, /version, /metrics, as etcd has
// them.
//
// One a core, owned by EdgeCore.
#pragma once

#include <string>
#include <vector>

#include "io/metrics.h"
#include "net/http1.h"
#include "net/server.h"
#include "server/edge.h"

namespace metastore::server {

// What sees the whole member; the Node.
class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  // The text of /metrics. `here` is the caller's own runtime.
  virtual io::Task<std::string> MetricsText(io::Runtime& here) = 0;
};

class HttpApi final : public net::HttpHandler {
 public:
  HttpApi(Edge& edge, NodeObserver& node) : edge_(edge), node_(node) {}

  io::Task<net::HttpResponse> Handle(net::HttpRequest& request) override;

  void AddMetrics(io::MetricList& list) const;

 private:
  io::Task<net::HttpResponse> Health(const net::HttpRequest& request);
  // /livez and /readyz: `linearizable` for the latter.
  io::Task<net::HttpResponse> Probe(const net::HttpRequest& request, bool linearizable);
  // Empty when a read of that kind succeeds now, else why not.
  io::Task<std::string> TryRead(bool serializable);

  Edge& edge_;
  NodeObserver& node_;
  uint64_t health_successes_ = 0;  // answers of /health
  uint64_t health_failures_ = 0;
};

}  // namespace metastore::server
