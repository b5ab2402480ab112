// Aim: the links of members on the kernel's sockets: messages whole and in order, with and without
// compression, over a restart of the other side; and a server that is out of descriptors waits and
// goes on. Method: one reactor that dials itself over loopback.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <optional>

#include "net/peer_link.h"
#include "net/peer_server.h"
#include "tests/io/uring_fixture.h"

namespace metastore::net_test {
namespace {

using io::uring::RunOn;
using io::uring::SmallOptions;
using io::uring::Stage;
using net::PeerUrgency;

class Ear final : public net::PeerHandler, public net::PeerLinkListener {
 public:
  Status Admit(const net::PeerHello& /*hello*/) override { return verdict; }
  io::Task<void> Serve(net::PeerStream& stream) override {
    while (true) {
      const StatusOr<net::PeerFrame> frame = co_await stream.Receive();
      if (!frame.ok()) co_return;
      const Status apart = net::ForEachPeerMessage(frame->body, [this](std::string_view message) {
        heard.emplace_back(message);
        return OkStatus();
      });
      EXPECT_TRUE(apart.ok());
    }
  }
  void OnPeerUp(NodeId) override { ++ups; }
  void OnPeerDown(NodeId, const Status& why) override { downs.push_back(why); }

  Status verdict;
  std::vector<std::string> heard;
  size_t ups = 0;
  std::vector<Status> downs;
};

// Until `done()`, 20 s at most.
io::Task<bool> Until(io::Runtime& runtime, std::function<bool()> done) {
  const MonoTime limit = runtime.Now() + Seconds(20);
  while (!done() && runtime.Now() < limit) {
    co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(1));
  }
  co_return done();
}

net::PeerLinkOptions OptionsTo(const io::Address& address, net::PeerCompression compression) {
  net::PeerLinkOptions options;
  options.hello = {.cluster = ClusterId(1), .from = NodeId(1), .to = NodeId(2)};
  options.endpoints = {{.host = "localhost", .port = address.port}};
  options.stream.compression = compression;
  return options;
}

std::string MessageOf(size_t i) {
  const size_t bytes = i % 100 == 0 ? 700'000 : i * 7 % 900;
  return Concat(i, ":", std::string(bytes, static_cast<char>('a' + i % 26)));
}

io::Task<void> SendAndRestart(Stage& stage, net::PeerCompression compression) {
  io::Runtime& runtime = stage.runtime;
  Ear ear;
  auto server = std::make_unique<net::PeerServer>(runtime, ear, net::PeerStreamOptions{});
  const io::Address address = io::uring::ValueOrDie(server->Listen({.ip = "127.0.0.1", .port = 0}));
  net::PeerLink link(runtime, OptionsTo(address, compression), ear);
  link.Start();
  for (size_t round = 1; round <= 2; ++round) {
    const bool up = co_await Until(runtime, [&] { return ear.ups == round; });
    EXPECT_TRUE(up) << link.stats().last_error;
    ear.heard.clear();
    for (size_t i = 0; i < 1000; ++i) {
      const bool taken =
          link.Send(PeerUrgency::kBulk, [i](std::string& out) { out += MessageOf(i); });
      EXPECT_TRUE(taken);
      if (i % 50 == 0) co_await io::SleepUntil(runtime, runtime.Now() + Microseconds(100));
    }
    const bool whole = co_await Until(runtime, [&] { return ear.heard.size() == 1000; });
    EXPECT_TRUE(whole) << ear.heard.size();
    for (size_t i = 0; i < ear.heard.size(); ++i) EXPECT_TRUE(ear.heard[i] == MessageOf(i)) << i;
    co_await server->Shutdown();
    const bool down = co_await Until(runtime, [&] { return ear.downs.size() >= round; });
    EXPECT_TRUE(down);
    EXPECT_EQ(ear.downs[0].code(), StatusCode::kUnavailable);
    server = std::make_unique<net::PeerServer>(runtime, ear, net::PeerStreamOptions{});
    EXPECT_TRUE(server->Listen(address).ok());
  }
  const bool off = compression == net::PeerCompression::kOff;
  EXPECT_EQ(link.stats().frames.stored_bytes < link.stats().frames.raw_bytes / 2, !off);
  EXPECT_EQ(link.stats().frames.compress_ns > 0, !off);
  co_await link.Stop();
  co_await server->Shutdown();
}

io::Task<void> SendPlain(Stage& stage) {
  co_await SendAndRestart(stage, net::PeerCompression::kOff);
}
io::Task<void> SendFast(Stage& stage) {
  co_await SendAndRestart(stage, net::PeerCompression::kFast);
}
io::Task<void> SendDense(Stage& stage) {
  co_await SendAndRestart(stage, net::PeerCompression::kDense);
}

TEST(PeerUringTest, MessagesArriveOverRestarts) { RunOn(SmallOptions(), SendPlain); }
TEST(PeerUringTest, FastCompressionOverRestarts) { RunOn(SmallOptions(), SendFast); }
TEST(PeerUringTest, DenseCompressionOverRestarts) { RunOn(SmallOptions(), SendDense); }

// The words get through although the connection is closed right behind them.
io::Task<void> Refuse(Stage& stage) {
  io::Runtime& runtime = stage.runtime;
  Ear ear;
  ear.verdict = PermissionDeniedError("the member has been removed");
  net::PeerServer server(runtime, ear, {});
  const io::Address address = io::uring::ValueOrDie(server.Listen({.ip = "127.0.0.1", .port = 0}));
  net::PeerLink link(runtime, OptionsTo(address, net::PeerCompression::kOff), ear);
  link.Start();
  const bool refused = co_await Until(runtime, [&] { return ear.downs.size() == 10; });
  EXPECT_TRUE(refused);
  for (const Status& down : ear.downs) {
    EXPECT_EQ(down.code(), StatusCode::kPermissionDenied);
    EXPECT_NE(down.ToString().find("the member has been removed"), std::string::npos) << down;
  }
  EXPECT_EQ(ear.ups, 0u);
  co_await link.Stop();
  co_await server.Shutdown();
}

TEST(PeerUringTest, RefusalsArriveInTheirWords) { RunOn(SmallOptions(), Refuse); }

// Leaves the process one descriptor to open, and gives the others back when destroyed.
class OneDescriptor final {
 public:
  OneDescriptor() {
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const int next = dup(0);
    CHECK_GE(next, 0);
    close(next);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(next) + 1;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  ~OneDescriptor() { CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }
  OneDescriptor(const OneDescriptor&) = delete;
  OneDescriptor& operator=(const OneDescriptor&) = delete;

 private:
  rlimit before_{};
};

// One connection to a new server, with a descriptor for its near end only, or with enough.
io::Task<void> ConnectOnce(io::Runtime& runtime, bool scarce) {
  Ear ear;
  net::PeerServer server(runtime, ear, {});
  const io::Address address = io::uring::ValueOrDie(server.Listen({.ip = "127.0.0.1", .port = 0}));
  std::optional<OneDescriptor> limit;
  if (scarce) limit.emplace();
  StatusOr<std::unique_ptr<io::Socket>> near =
      co_await runtime.Connect(address, runtime.Now() + Seconds(5));
  co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(50));
  const uint64_t accepted_at_first = server.stats().accepted_total;
  limit.reset();
  EXPECT_TRUE(near.ok()) << near.status();
  EXPECT_EQ(accepted_at_first, scarce ? 0u : 1u);
  const bool accepted = co_await Until(runtime, [&] { return server.stats().accepted_total == 1; });
  EXPECT_TRUE(accepted);
  if (near.ok()) (*near)->Close();
  co_await server.Shutdown();
}

io::Task<void> RunOutOfDescriptors(Stage& stage) {
  // With enough first: the sanitizer opens a pipe when it first sees a virtual call of a type.
  co_await ConnectOnce(stage.runtime, /*scarce=*/false);
  // Its descriptors are closed a moment later.
  co_await io::SleepUntil(stage.runtime, stage.runtime.Now() + Milliseconds(200));
  co_await ConnectOnce(stage.runtime, /*scarce=*/true);
}

TEST(PeerUringTest, ServerOutOfDescriptorsGoesOn) { RunOn(SmallOptions(), RunOutOfDescriptors); }

// The runtime stops under links and streams that nobody stopped before.
io::Task<void> LeaveThemToTheRuntime(Stage& stage) {
  io::Runtime& runtime = stage.runtime;
  Ear ear;
  net::PeerServer server(runtime, ear, {});
  const io::Address address = io::uring::ValueOrDie(server.Listen({.ip = "127.0.0.1", .port = 0}));
  net::PeerLink link(runtime, OptionsTo(address, net::PeerCompression::kOff), ear);
  link.Start();
  const bool up = co_await Until(runtime, [&] { return link.up(); });
  EXPECT_TRUE(up);
  stage.host.RequestExit(0);
  co_await link.Stop();
  co_await server.Shutdown();
  EXPECT_EQ(ear.downs.size(), 1u);
}

TEST(PeerUringTest, RuntimeThatStopsEndsThem) { RunOn(SmallOptions(), LeaveThemToTheRuntime); }

}  // namespace
}  // namespace metastore::net_test
