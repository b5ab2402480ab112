#include "tests/sim/node_harness.h"

#include <utility>

namespace metastore::sim_test {
namespace {

constexpr Duration kBootLimit = Seconds(60);
constexpr Duration kCallTimeout = Seconds(3);

}  // namespace

NodeHarness::NodeHarness(HarnessOptions options)
    : options_(options),
      world_(options.seed, options.world),
      machine_(world_.AddMachine("node")),
      client_(world_.AddMachine("client")) {
  client_.StartProcess(1);
  client_gate_ = std::make_unique<io::Gate>(client_.runtime().scheduler());
}

NodeHarness::~NodeHarness() {
  StopWorkload();
  client_gate_.reset();
  if (machine_.state() == sim::SimProcessState::kRunning) Stop();
  if (machine_.state() == sim::SimProcessState::kDead) Bury();
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
  const std::vector<io::Runtime*> cores = machine_.StartProcess(options_.reactors);
  process_gate_ = std::make_unique<io::Gate>(cores[0]->scheduler());
  node_ = std::make_unique<server::Node>(cores, MakeConfig());
  started_ = stop_requested_ = ended_ = false;
  process_gate_->Spawn("life", io::ReadyClass::kCritical, Life());
  const bool decided = world_.RunUntil(
      [&] {
        return dead() || (started_ && (!start_status_.ok() || node_->state().group().serving()));
      },
      kBootLimit);
  if (dead()) return AbortedError("died while starting");
  if (!started_) return DeadlineExceededError("did not start in time\n", world_.PrintLogs());
  if (!start_status_.ok()) return start_status_;
  if (!decided) return DeadlineExceededError("does not serve in time\n", world_.PrintLogs());
  return OkStatus();
}

io::Task<void> NodeHarness::Life() {
  start_status_ = co_await node_->Start();
  started_ = true;
  while (!stop_requested_) {
    co_await stop_wanted_.Wait();
  }
  co_await node_->Stop(Seconds(1));
  ended_ = true;
}

void NodeHarness::Kill() {
  if (!dead()) machine_.KillProcess();
  Bury();
}

void NodeHarness::PowerLoss() {
  if (!dead()) machine_.PowerLoss();
  Bury();
}

void NodeHarness::Bury() {
  CHECK(dead());
  stop_requested_ = true;
  stop_wanted_.NotifyAll();
  machine_.DrainDead();
  if (!ended_) std::fprintf(stderr, "%s", world_.PrintLogs(40).c_str());
  CHECK(ended_);
  node_.reset();
  process_gate_.reset();
  machine_.EndProcess();
}

void NodeHarness::Stop() {
  stop_requested_ = true;
  stop_wanted_.NotifyAll();
  CHECK(world_.RunUntil([&] { return ended_ || dead(); }, kBootLimit));
  if (dead()) return Bury();
  world_.RunFor(Milliseconds(1));  // the last root task leaves its gate
  node_.reset();
  process_gate_.reset();
  machine_.EndProcess();
}

void NodeHarness::StartWorkload(const WorkloadOptions& options) {
  workload_on_ = true;
  for (int i = 0; i < options.writers; ++i) {
    client_gate_->Spawn("writer", io::ReadyClass::kClient, Writer(options, i));
  }
}

void NodeHarness::StopWorkload() {
  workload_on_ = false;
  CHECK(world_.RunUntil([&] { return client_gate_->running() == 0; }, Seconds(60)));
}

io::Task<void> NodeHarness::Writer(WorkloadOptions options, int number) {
  io::Runtime& runtime = client_.runtime();
  KvClient client(runtime, address());
  for (uint64_t i = 0; workload_on_ && i < options.operations_max; ++i) {
    const bool answered = co_await OneOperation(client, options, Concat(number, ".", i));
    if (!answered) {
      co_await client.Reset();
      co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(50));
    }
    const uint64_t pause = world_.prng().Below(static_cast<uint64_t>(options.pause_max.ns) + 1);
    co_await io::SleepUntil(runtime, runtime.Now() + Nanoseconds(static_cast<int64_t>(pause)));
  }
  co_await client.Reset();
}

io::Task<bool> NodeHarness::OneOperation(KvClient& client, const WorkloadOptions& options,
                                         std::string name) {
  io::Runtime& runtime = client_.runtime();
  Prng& prng = world_.prng();
  const MonoTime deadline = runtime.Now() + kCallTimeout;
  const std::string key = Concat("key", prng.Below(static_cast<uint64_t>(options.keys)));
  const uint64_t filler = prng.Below(static_cast<uint64_t>(options.value_bytes_max));
  const std::string value = Concat(name, ":", std::string(filler, 'v'));
  const uint64_t choice = prng.Below(10);
  const MonoTime began = world_.Now();
  if (choice < 3) {
    StatusOr<ReadAck> read = co_await client.Get(key, 0, deadline);
    if (!read.ok()) co_return false;
    history_.Read({key, read->found, read->value, read->mod_revision, read->header_revision, began,
                   world_.Now()});
    co_return true;
  }
  if (choice == 3 && options.deletes) {
    StatusOr<PutAck> ack = co_await client.Delete(key, deadline);
    if (ack.ok()) {
      history_.Acknowledged({key, "", ack->revision, began, world_.Now()});
    } else {
      history_.Unknown();
    }
    co_return ack.ok();
  }
  if (choice == 4 && options.swaps) {
    StatusOr<ReadAck> read = co_await client.Get(key, 0, deadline);
    if (!read.ok()) co_return false;
    const MonoTime swap_began = world_.Now();
    StatusOr<TxnAck> swap =
        co_await client.CompareAndSwap(key, read->mod_revision, value, deadline);
    if (swap.ok() && swap->succeeded) {
      history_.Acknowledged({key, value, swap->revision, swap_began, world_.Now()});
    }
    if (!swap.ok()) history_.Unknown();
    co_return swap.ok();
  }
  StatusOr<PutAck> ack = co_await client.Put(key, value, deadline);
  if (ack.ok()) {
    history_.Acknowledged({key, value, ack->revision, began, world_.Now()});
  } else {
    history_.Unknown();
  }
  co_return ack.ok();
}

std::vector<std::string> NodeHarness::Verify() {
  std::vector<std::string> problems = history_.CheckOrder();
  world_.Await(client_.runtime(), VerifyAll(problems), Seconds(600));
  return problems;
}

io::Task<void> NodeHarness::VerifyAll(std::vector<std::string>& problems) {
  KvClient client(client_.runtime(), address());
  const auto deadline = [&] { return client_.runtime().Now() + Seconds(20); };
  for (const WriteEvent& write : history_.writes()) {
    if (write.revision == 0) continue;
    StatusOr<ReadAck> read = co_await client.Get(write.key, write.revision, deadline());
    const bool is_delete = write.value.empty();
    const bool there = read.ok() && (is_delete ? !read->found
                                               : read->found && read->value == write.value &&
                                                     read->mod_revision == write.revision);
    if (there) continue;
    problems.push_back(Concat("acknowledged write lost: ", write.key, " at revision ",
                              write.revision, ": ",
                              read.ok() ? "the store has another" : read.status().ToString()));
  }
  for (const ReadEvent& seen : history_.reads()) {
    StatusOr<ReadAck> read = co_await client.Get(seen.key, seen.header_revision, deadline());
    if (read.ok() && read->found == seen.found && read->value == seen.value &&
        read->mod_revision == seen.mod_revision) {
      continue;
    }
    problems.push_back(Concat("a read of ", seen.key, " at revision ", seen.header_revision,
                              " does not agree with the store"));
  }
  co_await client.Reset();
}

}  // namespace metastore::sim_test
