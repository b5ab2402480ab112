#include "server/node.h"

#include <utility>

#include "io/cross_call.h"

namespace metastore::server {

Node::Node(std::span<io::Runtime* const> cores, Config config, const io::HostMetrics* host)
    : cores_(cores.begin(), cores.end()),
      config_(std::move(config)),
      host_(host),
      state_(*cores_.front(), config_),
      edges_(cores_.size()) {
  CHECK_EQ(cores_.front()->core(), 0);
}

Node::~Node() = default;

io::Task<Status> Node::Start() {
  Status started = co_await state_.Start();
  MS_CO_RETURN_IF_ERROR(started);
  Status listening = co_await StartEdges();
  co_return listening;
}

io::Task<Status> Node::StartEdges() {
  const size_t first = cores_.size() == 1 ? 0 : 1;
  for (size_t core = first; core < cores_.size(); ++core) {
    Status status;
    io::CrossTask start(*cores_.front(), *cores_[core],
                        [&, core] { return StartEdge(*this, core, status); });
    const bool arrived = co_await start;
    CHECK(arrived);  // nothing else is under way yet
    MS_CO_RETURN_IF_ERROR(status);
  }
  co_return OkStatus();
}

io::Task<void> Node::StartEdge(Node& node, size_t core, Status& status) {
  node.edges_[core] = std::make_unique<EdgeCore>(
      EdgeCore::Parts{*node.cores_[core], *node.cores_.front(), node.state_, node, node.config_});
  EdgeCore& edge = *node.edges_[core];
  status = co_await edge.Start();
  if (status.ok() && node.client_addresses_.empty()) node.client_addresses_ = edge.addresses();
}

io::Task<void> Node::Stop(Duration drain) {
  for (size_t core = 0; core < cores_.size(); ++core) {
    if (edges_[core] == nullptr) continue;
    io::CrossTask stop(*cores_.front(), *cores_[core],
                       [&, core] { return StopEdge(*this, core, drain); });
    const bool arrived = co_await stop;
    CHECK(arrived);
  }
  co_await state_.Stop();
}

io::Task<void> Node::StopEdge(Node& node, size_t core, Duration drain) {
  const MonoTime deadline = node.cores_[core]->Now() + drain;
  co_await node.edges_[core]->Stop(deadline);
  node.edges_[core].reset();
}

io::Task<io::WaitResult> Node::WaitServing(io::WaitLimit limit) {
  Group& group = state_.group();
  while (!group.serving()) {
    const io::WaitResult result = co_await group.serving_changed().Wait(limit);
    if (result != io::WaitResult::kNotified) co_return result;
  }
  co_return io::WaitResult::kNotified;
}

io::Task<Status> Node::WaitFailed(io::StopToken stop) {
  Group& group = state_.group();
  while (group.failure().ok()) {
    const io::WaitResult result = co_await group.failed().Wait(io::WaitLimit{.stop = stop});
    if (result == io::WaitResult::kStopped) co_return OkStatus();
  }
  co_return group.failure();
}

io::Task<std::string> Node::MetricsText(io::Runtime& here) {
  std::vector<io::MetricList> lists = co_await io::GatherMetrics(here, cores_, *this);
  if (host_ != nullptr) {
    io::MetricList& process = lists.emplace_back();
    co_await here.Offload("metrics.process", [&] { host_->CollectProcessMetrics(process); });
  }
  co_return io::RenderMetrics(lists);
}

// Clients of another core may ask while this one still starts or already stops.
void Node::CollectMetrics(int core, io::MetricList& list) const {
  const auto place = static_cast<size_t>(core);
  if (core == 0) state_.AddMetrics(list);
  if (edges_[place] != nullptr) edges_[place]->AddMetrics(list);
  if (host_ != nullptr) host_->CollectMetrics(core, list);
}

}  // namespace metastore::server
