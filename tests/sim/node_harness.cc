#include "tests/sim/node_harness.h"

#include <utility>

namespace metastore::sim_test {
namespace {

constexpr Duration kBootLimit = Seconds(60);

}  // namespace

io::Task<StoreHistory> ReadStore(server::StateCore& state) {
  StoreHistory store;
  engine::HistoryQuery query{.from = Revision(2)};
  while (true) {
    engine::HistoryResult part = co_await state.group().engine().History(query);
    CHECK(part.outcome == engine::Outcome::kOk);
    for (const engine::Event& event : part.events) {
      const engine::KeyValue& kv = event.kv;
      store.Add(std::string(kv.key.view()),
                {.revision = static_cast<int64_t>(kv.mod_revision.value()),
                 .value = std::string(kv.value.view()),
                 .deleted = event.kind == engine::EventKind::kDelete});
    }
    if (part.next > part.current) co_return store;
    query.from = part.next;
  }
}

NodeHarness::NodeHarness(HarnessOptions options)
    : options_(options),
      world_(options.seed, options.world),
      machine_(world_.AddMachine("node")),
      client_(world_.AddMachine("client")),
      node_(machine_) {
  client_.StartProcess(1);
  workload_ = std::make_unique<Workload>(client_);
  workload_->SetServers({address()});
}

NodeHarness::~NodeHarness() {
  workload_.reset();
  if (node_.dead()) node_.Bury();
  if (node_.exists()) node_.Stop();
  client_.EndProcess();
}

server::Config NodeHarness::MakeConfig() const {
  server::Config config;
  config.member.data_dir = "/data";
  config.member.listen_client_urls = {{"http", machine_.ip(), 2379}};
  config.member.advertise_client_urls = config.member.listen_client_urls;
  config.member.listen_peer_urls = {{"http", machine_.ip(), 2380}};
  config.member.initial_advertise_peer_urls = config.member.listen_peer_urls;
  config.cluster.initial_cluster = {{"default", {config.member.listen_peer_urls[0].ToString()}}};
  config.raft.snapshot_count = options_.snapshot_count;
  config.storage.wal_depth = options_.wal_depth;
  config.storage.batch_policy = options_.batch_policy;
  config.storage.wal_segment_bytes = options_.segment_bytes;
  config.runtime.reactors = options_.reactors;
  return config;
}

Status NodeHarness::Boot() {
  node_.Start(MakeConfig());
  return node_.Await(kBootLimit);
}

std::vector<std::string> NodeHarness::Verify() {
  // A member serves before it has applied what its log ends with; clients read behind that.
  const auto leads = [this] { return node().state().group().leading_term() != Term(); };
  if (!world_.RunUntil(leads, kBootLimit)) return {"it does not come to lead"};
  const StoreHistory store = world_.Await(machine_.runtime(), ReadStore(node().state()));
  return history().Check(store);
}

}  // namespace metastore::sim_test
