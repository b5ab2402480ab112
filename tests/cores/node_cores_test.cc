// Aim: a node on real threads, one core for the state and others for clients, answers and stops
// without a data race. Method: the Node on a UringHost with loopback clients on core 0; what
// ThreadSanitizer sees of it is the point, so this program also runs under it.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "io/uring/uring_runtime.h"
#include "rpc.pb.h"
#include "server/node.h"
#include "tests/net/grpc_client.h"

namespace metastore::server {
namespace {

constexpr int kClients = 4;
constexpr int kPuts = 200;

class NodeOnCores {
 public:
  NodeOnCores(int reactors, std::string directory) : directory_(std::move(directory)) {
    io::uring::UringOptions options;
    options.reactors = reactors;
    options.arena_bytes = 16 * limits::kMiB;
    options.handle_signals = false;
    options.log.level = io::LogLevel::kError;
    StatusOr<std::unique_ptr<io::uring::UringHost>> host =
        io::uring::UringHost::Create(std::move(options));
    CHECK(host.ok());
    host_ = *std::move(host);
  }

  // Boots, lets the clients work, stops; the number of acknowledged puts.
  int Run() {
    host_->Run([this](std::span<io::Runtime* const> cores) {
      gate_ = std::make_unique<io::Gate>(cores[0]->scheduler());
      gate_->Spawn("life", io::ReadyClass::kCritical, Life({cores.begin(), cores.end()}));
    });
    return acknowledged_;
  }
  const Status& status() const { return status_; }
  // Of /metrics, when the clients were done.
  const std::string& page() const { return page_; }

 private:
  // A port that was free a moment ago.
  static io::Address FreeAddress(io::Runtime& runtime) {
    StatusOr<std::unique_ptr<io::Listener>> listener = runtime.Listen({"127.0.0.1", 0});
    CHECK(listener.ok());
    return (*listener)->local();
  }

  Config MakeConfig(const io::Address& address, size_t reactors) const {
    Config config;
    config.member.data_dir = directory_;
    config.member.listen_client_urls = {{"http", address.ip, address.port}};
    config.member.advertise_client_urls = config.member.listen_client_urls;
    // Nobody dials the only member: the system chooses the port, so that tests run side by side.
    config.member.listen_peer_urls = {{"http", "127.0.0.1", 0}};
    config.member.initial_advertise_peer_urls = {{"http", "127.0.0.1", 2380}};
    config.cluster.initial_cluster = {{"default", {"http://127.0.0.1:2380"}}};
    config.storage.wal_segment_bytes = 4 * limits::kMiB;
    config.runtime.reactors = static_cast<int>(reactors);
    return config;
  }

  io::Task<void> Life(std::vector<io::Runtime*> cores) {
    io::Runtime& runtime = *cores[0];
    const io::Address address = FreeAddress(runtime);
    node_ = std::make_unique<Node>(cores, MakeConfig(address, cores.size()), host_.get());
    status_ = co_await node_->Start();
    if (status_.ok()) {
      const io::WaitLimit limit{.timers = &runtime, .deadline = runtime.Now() + Seconds(60)};
      const io::WaitResult serving = co_await node_->WaitServing(limit);
      if (serving != io::WaitResult::kNotified) status_ = DeadlineExceededError("does not serve");
    }
    if (status_.ok()) {
      io::Gate clients(runtime.scheduler());
      for (int i = 0; i < kClients; ++i) {
        clients.Spawn("client", io::ReadyClass::kClient, Client(runtime, address, i));
      }
      clients.Spawn("scrape", io::ReadyClass::kClient, Scrape(runtime));
      co_await clients.Close();
      page_ = co_await node_->MetricsText(runtime);
    }
    co_await node_->Stop(Seconds(1));
    node_.reset();
    host_->RequestExit(0);
  }

  // Looks at every core's counters while they count.
  io::Task<void> Scrape(io::Runtime& runtime) {
    for (int i = 0; i < 20; ++i) {
      const std::string page = co_await node_->MetricsText(runtime);
      EXPECT_NE(page.find("metastore_reactor_turns_total{core=\"0\"}"), std::string::npos);
      co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(5));
    }
  }

  io::Task<void> Client(io::Runtime& runtime, io::Address address, int number) {
    net_test::GrpcClient client(runtime);
    Status connected = co_await client.Connect(address, runtime.Now() + Seconds(20));
    if (!connected.ok()) {
      status_ = connected;
      co_return;
    }
    for (int i = 0; i < kPuts; ++i) {
      etcdserverpb::PutRequest put;
      put.set_key(Concat("key", number));
      put.set_value(std::string(static_cast<size_t>(i), 'v'));
      put.set_prev_kv(i % 3 == 0);
      StatusOr<std::string> reply =
          co_await client.Call("/etcdserverpb.KV/Put", {{"metastore-stages", "1"}},
                               put.SerializeAsString(), runtime.Now() + Seconds(60));
      if (!reply.ok()) {
        status_ = reply.status();
        break;
      }
      etcdserverpb::RangeRequest range;
      range.set_key(put.key());
      StatusOr<std::string> read = co_await client.Call(
          "/etcdserverpb.KV/Range", {}, range.SerializeAsString(), runtime.Now() + Seconds(60));
      etcdserverpb::RangeResponse response;
      if (!read.ok() || !response.ParseFromString(*read) || response.kvs_size() != 1 ||
          response.kvs(0).value() != put.value()) {
        status_ = InternalError("an acknowledged put is not read back");
        break;
      }
      ++acknowledged_;
    }
    co_await client.Close();
  }

  const std::string directory_;
  std::unique_ptr<io::uring::UringHost> host_;
  std::unique_ptr<io::Gate> gate_;
  std::unique_ptr<Node> node_;
  Status status_;
  std::string page_;
  int acknowledged_ = 0;
};

class NodeCores : public testing::TestWithParam<int> {
 protected:
  NodeCores()
      : directory_(std::filesystem::current_path() /
                   Concat("node_cores_", ::getpid(), "_", GetParam())) {}
  ~NodeCores() override { std::filesystem::remove_all(directory_); }

  const std::filesystem::path directory_;
};

TEST_P(NodeCores, AnswersOnEveryCoreAndKeepsItsDataOverARestart) {
  for (int round = 0; round < 2; ++round) {
    NodeOnCores node(GetParam(), directory_.string());
    EXPECT_EQ(node.Run(), kClients * kPuts);
    EXPECT_EQ(node.status(), OkStatus());
    for (const std::string_view series :
         {"grpc_server_handled_total{grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\","
          "grpc_type=\"unary\",grpc_code=\"OK\"} ",
          "metastore_request_stage_seconds_count{stage=\"send\"} "}) {
      const std::string line = Concat("\n", series, kClients * kPuts, "\n");
      EXPECT_NE(node.page().find(line), std::string::npos) << line << node.page();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Reactors, NodeCores, testing::Values(1, 2, 3));

}  // namespace
}  // namespace metastore::server
