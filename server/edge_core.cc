#include "server/edge_core.h"

#include <algorithm>

#include "server/metrics_page.h"

namespace metastore::server {
namespace {

net::ServerOptions OptionsOf(const Config& config, int edges_count) {
  net::ServerOptions options;
  options.connections_max =
      std::max<size_t>(1, config.net.connections_max / static_cast<size_t>(edges_count));
  options.streams_max = std::min(options.streams_max, config.net.concurrent_streams_max);
  options.message_bytes_max = config.request.request_bytes_max + 512 * limits::kKiB;
  options.keepalive.min_time = config.net.keepalive_min_time;
  options.keepalive.interval = config.net.keepalive_interval;
  options.keepalive.timeout = config.net.keepalive_timeout;
  return options;
}

}  // namespace

EdgeCore::EdgeCore(const Parts& parts)
    : config_(parts.config),
      edge_(parts.runtime, parts.state_runtime, parts.state.group(), parts.state.identity(),
            parts.config),
      watches_({.runtime = parts.runtime,
                .state = parts.state_runtime,
                .hub = parts.state.watches(),
                .progress_interval = parts.config.request.watch_progress_interval,
                .leader_interval = parts.config.raft.election_timeout,
                .step_watchers = parts.config.request.watch_step_watchers}),
      methods_(edge_),
      http_(edge_, parts.node),
      server_(parts.runtime, methods_, http_,
              OptionsOf(parts.config, std::max(1, parts.runtime.cores_count() - 1))) {
  edge_.SetWatches(watches_);
}

io::Task<Status> EdgeCore::Start() {
  watches_.Start();
  for (const Url& url : config_.member.listen_client_urls) {
    StatusOr<io::Address> address = BindAddress(url);
    MS_CO_RETURN_IF_ERROR(address.status());
    StatusOr<io::Address> bound = server_.Listen(*address, net::PortUse::kGrpcAndHttp);
    if (!bound.ok()) {
      co_return Annotate(bound.status(),
                         Concat("--listen-client-urls: cannot listen on ", url.ToString()));
    }
    addresses_.push_back(*bound);
  }
  co_return OkStatus();
}

void EdgeCore::AddMetrics(io::MetricList& list) const {
  AddClientMetrics(server_.stats(), edge_.now(), list);
  methods_.AddMetrics(list);
  watches_.AddMetrics(list);
  edge_.stages().AddMetrics(list);
  http_.AddMetrics(list);
}

// Watches would last until the deadline.
io::Task<void> EdgeCore::Stop(MonoTime deadline) {
  watches_.EndSessions(ToStatus(errors::kStopped));
  co_await server_.Shutdown(deadline);
  co_await watches_.Close();
}

}  // namespace metastore::server
