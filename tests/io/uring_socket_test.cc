// Aim: sockets through the ring where the conformance suite cannot look: shared receive buffers
// under flood and thrift, closing with work under way, errors of the system, many connections, two
// reactors on one address. Method: loopback with system-chosen ports; waits are on events. Small
// pools and rings make the limits reachable.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <vector>

#include "tests/io/uring_fixture.h"

namespace metastore::io::uring {
namespace {

const Address kAnyPort = {"127.0.0.1", 0};

std::string Pattern(size_t bytes, size_t from = 0) {
  std::string text(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>('a' + (from + i) % 23);
  return text;
}

struct Pair {
  std::unique_ptr<Socket> client;
  std::unique_ptr<Socket> server;
};

Task<void> AcceptInto(Listener& listener, std::unique_ptr<Socket>& out) {
  StatusOr<std::unique_ptr<Socket>> socket = co_await listener.Accept();
  out = ValueOrDie(std::move(socket));
}

// A connection to itself: both ends on this core.
Task<Pair> Connected(Runtime& runtime, Listener& listener) {
  Pair pair;
  Gate gate(runtime.scheduler());
  gate.Spawn("accept", ReadyClass::kClient, AcceptInto(listener, pair.server));
  StatusOr<std::unique_ptr<Socket>> client =
      co_await runtime.Connect(listener.local(), MonoTime::Max());
  pair.client = ValueOrDie(std::move(client));
  co_await gate.Close();
  co_return pair;
}

Task<std::string> ReceiveExactly(Socket& socket, size_t bytes) {
  std::string all;
  while (all.size() < bytes) {
    StatusOr<ReceivedBytes> part = co_await socket.Receive();
    if (!part.ok() || part->end_of_stream()) break;
    all += part->view();
  }
  co_return all;
}

Task<void> SendAll(Socket& socket, std::string bytes, Status& out) {
  const Status sent = co_await socket.Send(bytes);
  out = sent;
}

Task<void> ReceiveInto(Socket& socket, Status& out) {
  const StatusOr<ReceivedBytes> got = co_await socket.Receive();
  out = got.status();
}

Task<void> Ping(Socket& from, Socket& to, std::string message) {
  const Status sent = co_await from.Send(message);
  EXPECT_TRUE(sent.ok()) << sent.ToString();
  const std::string got = co_await ReceiveExactly(to, message.size());
  EXPECT_EQ(got, message);
}

// --- bytes both ways -----------------------------------------------------------------------------

Task<void> BothWays(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  Pair pair = co_await Connected(stage.runtime, **listener);
  EXPECT_EQ(pair.client->peer(), (*listener)->local());
  EXPECT_EQ(pair.server->peer().ip, "127.0.0.1");
  EXPECT_NE(pair.server->peer().port, 0);
  const Status nothing = co_await pair.client->Send("");
  EXPECT_TRUE(nothing.ok());
  co_await Ping(*pair.client, *pair.server, "hello");
  co_await Ping(*pair.server, *pair.client, Pattern(100'000));
  pair.client->ShutdownSend();
  const StatusOr<ReceivedBytes> end = co_await pair.server->Receive();
  EXPECT_TRUE(end.ok() && end->end_of_stream());
  const StatusOr<ReceivedBytes> again = co_await pair.server->Receive();
  EXPECT_TRUE(again.ok() && again->end_of_stream());
  co_await Ping(*pair.server, *pair.client, "the other half still works");
}

TEST(UringSocketTest, BytesGoBothWaysUntilEachHalfEnds) { RunOn(SmallOptions(), BothWays); }

Task<void> BothWaysV6(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen({"::1", 0});
  EXPECT_TRUE(listener.ok()) << listener.status().ToString();
  Pair pair = co_await Connected(stage.runtime, **listener);
  EXPECT_EQ(pair.server->peer().ip, "::1");
  co_await Ping(*pair.client, *pair.server, "hello");
}

TEST(UringSocketTest, Ipv6Works) {
  if (!std::ifstream("/proc/net/if_inet6").good()) GTEST_SKIP() << "no IPv6 here";
  RunOn(SmallOptions(), BothWaysV6);
}

Task<void> ListenOnBoth(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen({"::", 0});
  EXPECT_TRUE(listener.ok()) << listener.status().ToString();
  Gate gate(stage.runtime.scheduler());
  std::unique_ptr<Socket> server;
  gate.Spawn("accept", ReadyClass::kClient, AcceptInto(**listener, server));
  StatusOr<std::unique_ptr<Socket>> client =
      co_await stage.runtime.Connect({"127.0.0.1", (*listener)->local().port}, MonoTime::Max());
  EXPECT_TRUE(client.ok()) << client.status().ToString();
  co_await gate.Close();
  EXPECT_EQ(server->peer().ip, "127.0.0.1");
}

TEST(UringListenerTest, WildcardIpv6TakesIpv4Too) {
  if (!std::ifstream("/proc/net/if_inet6").good()) GTEST_SKIP() << "no IPv6 here";
  RunOn(SmallOptions(), ListenOnBoth);
}

// --- shared buffers ------------------------------------------------------------------------------

Task<void> FloodOne(Stage& stage) {
  constexpr size_t kBytes = 32 * limits::kMiB;
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  Pair flooded = co_await Connected(stage.runtime, **listener);
  Pair other = co_await Connected(stage.runtime, **listener);
  Status sent = UnknownError("pending");
  Gate gate(stage.runtime.scheduler());
  gate.Spawn("flood", ReadyClass::kClient, SendAll(*flooded.client, Pattern(kBytes), sent));
  // One Receive arms the flooded connection; what it gives is held on to, nothing more is read.
  StatusOr<ReceivedBytes> first = co_await flooded.server->Receive();
  EXPECT_TRUE(first.ok());
  for (int i = 0; i < 200; ++i) {
    co_await Ping(*other.client, *other.server, "not starved");
  }
  EXPECT_EQ(sent.code(), StatusCode::kUnknown) << "the slow reader did not hold up its sender";
  std::string all(first->view());
  first = ReceivedBytes();
  const std::string rest = co_await ReceiveExactly(*flooded.server, kBytes - all.size());
  all += rest;
  EXPECT_TRUE(all == Pattern(kBytes));
  co_await gate.Close();
  EXPECT_TRUE(sent.ok()) << sent.ToString();
}

TEST(UringSocketTest, SlowReaderHoldsUpItsSenderAndNobodyElse) {
  UringOptions options = SmallOptions();
  options.receive_buffers = 16;
  RunOn(std::move(options), FloodOne);
}

Task<void> HoldEverything(Stage& stage) {
  constexpr size_t kConnections = 12;
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  std::vector<Pair> pairs;
  std::vector<ReceivedBytes> held;
  for (size_t i = 0; i < kConnections; ++i) {
    Pair pair = co_await Connected(stage.runtime, **listener);
    pairs.push_back(std::move(pair));
  }
  // Each connection's bytes are kept, far more than the pool has buffers.
  for (size_t round = 0; round < 8; ++round) {
    for (Pair& pair : pairs) {
      const Status sent = co_await pair.client->Send("keep me");
      EXPECT_TRUE(sent.ok());
      StatusOr<ReceivedBytes> got = co_await pair.server->Receive();
      held.push_back(ValueOrDie(std::move(got)));
    }
  }
  for (const ReceivedBytes& bytes : held) EXPECT_EQ(bytes.view(), "keep me");
  EXPECT_GT(stage.host.stats(0).receive_copies, 0u);
}

TEST(UringSocketTest, ScarceBuffersAreCopiedOutSoThatAllGoOn) {
  UringOptions options = SmallOptions();
  options.receive_buffers = 8;
  RunOn(std::move(options), HoldEverything);
}

Task<void> FloodMany(Stage& stage) {
  constexpr size_t kConnections = 16;
  constexpr size_t kBytes = 2 * limits::kMiB;
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  std::vector<Pair> pairs;
  std::vector<Status> sent(kConnections);
  Gate gate(stage.runtime.scheduler());
  for (size_t i = 0; i < kConnections; ++i) {
    Pair pair = co_await Connected(stage.runtime, **listener);
    pairs.push_back(std::move(pair));
    gate.Spawn("flood", ReadyClass::kClient,
               SendAll(*pairs[i].client, Pattern(kBytes, i), sent[i]));
  }
  for (size_t i = 0; i < kConnections; ++i) {
    const std::string all = co_await ReceiveExactly(*pairs[i].server, kBytes);
    EXPECT_TRUE(all == Pattern(kBytes, i)) << i;
  }
  co_await gate.Close();
  for (const Status& status : sent) EXPECT_TRUE(status.ok());
}

TEST(UringSocketTest, FloodsThroughATinyPoolAllArriveWhole) {
  UringOptions options = SmallOptions();
  options.receive_buffers = 2;
  RunOn(std::move(options), FloodMany);
}

// --- closing -------------------------------------------------------------------------------------

Task<void> CloseUnderWay(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  Pair pair = co_await Connected(stage.runtime, **listener);
  Status sent;
  Status received;
  Gate gate(stage.runtime.scheduler());
  gate.Spawn("send", ReadyClass::kClient,
             SendAll(*pair.client, std::string(32 * limits::kMiB, 'x'), sent));
  gate.Spawn("receive", ReadyClass::kClient, ReceiveInto(*pair.client, received));
  co_await SleepUntil(stage.runtime, stage.runtime.Now() + Milliseconds(2));
  pair.client->Close();
  pair.client->Close();
  co_await gate.Close();
  EXPECT_EQ(sent.code(), StatusCode::kCancelled) << sent.ToString();
  EXPECT_EQ(received.code(), StatusCode::kCancelled) << received.ToString();
  const Status later = co_await pair.client->Send("x");
  EXPECT_EQ(later.code(), StatusCode::kCancelled);
  const StatusOr<ReceivedBytes> none = co_await pair.client->Receive();
  EXPECT_EQ(none.status().code(), StatusCode::kCancelled);
  pair.client->ShutdownSend();
}

TEST(UringSocketTest, CloseCancelsWhatIsUnderWayAndAllLater) {
  RunOn(SmallOptions(), CloseUnderWay);
}

Task<void> DropAtOnce(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  for (int i = 0; i < 50; ++i) {
    Pair pair = co_await Connected(stage.runtime, **listener);
    co_await Ping(*pair.client, *pair.server, "armed");  // leaves a receive armed in the kernel
    const Status unread = co_await pair.client->Send("never read");
    EXPECT_TRUE(unread.ok());
  }
  co_await stage.runtime.Offload("turn", [] {});
}

TEST(UringSocketTest, SocketsMayGoWithAReceiveArmed) { RunOn(SmallOptions(), DropAtOnce); }

Task<void> ResetByPeer(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  Pair pair = co_await Connected(stage.runtime, **listener);
  pair.server.reset();
  const StatusOr<ReceivedBytes> end = co_await pair.client->Receive();
  EXPECT_TRUE(end.ok() && end->end_of_stream());
  Status sent;
  for (int i = 0; i < 100 && sent.ok(); ++i) {
    sent = co_await pair.client->Send(Pattern(100'000));
  }
  EXPECT_EQ(sent.code(), StatusCode::kUnavailable) << sent.ToString();
}

TEST(UringSocketTest, SendToAClosedPeerIsUnavailable) { RunOn(SmallOptions(), ResetByPeer); }

// --- the stop ------------------------------------------------------------------------------------

Task<void> AcceptForEver(Listener& listener, Status& out) {
  const StatusOr<std::unique_ptr<Socket>> socket = co_await listener.Accept();
  out = socket.status();
}

Task<void> ConnectForEver(Runtime& runtime, Address address, Status& out) {
  const StatusOr<std::unique_ptr<Socket>> socket =
      co_await runtime.Connect(address, MonoTime::Max());
  out = socket.status();
}

// A listener of the plain kind that accepts nothing and whose queue is full: further connects hang.
class FullListener {
 public:
  FullListener() {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    CHECK_EQ(listen(fd_, 0), 0);
    socklen_t bytes = sizeof(address);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &bytes);
    port_ = ntohs(address.sin_port);
    for (int& filler : fillers_) {
      filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      connect(filler, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    }
  }
  ~FullListener() {
    for (const int filler : fillers_) close(filler);
    close(fd_);
  }
  Address address() const { return {"127.0.0.1", port_}; }

 private:
  int fd_ = -1;
  uint16_t port_ = 0;
  int fillers_[3] = {};
};

TEST(UringSocketTest, StopCancelsEverythingUnderWay) {
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(SmallOptions());
  ASSERT_TRUE(host.ok());
  Runtime& runtime = (*host)->runtime(0);
  Gate gate(runtime.scheduler());
  const FullListener full;
  Status accepted;
  Status connected;
  std::unique_ptr<Listener> listener;
  (*host)->Run([&](std::span<Runtime* const>) {
    listener = ValueOrDie(runtime.Listen(kAnyPort));
    gate.Spawn("accept", ReadyClass::kClient, AcceptForEver(*listener, accepted));
    gate.Spawn("connect", ReadyClass::kClient, ConnectForEver(runtime, full.address(), connected));
    (*host)->RequestExit(0);
  });
  EXPECT_EQ(accepted.code(), StatusCode::kCancelled) << accepted.ToString();
  EXPECT_EQ(connected.code(), StatusCode::kCancelled) << connected.ToString();
  EXPECT_EQ(gate.running(), 0u);
}

// --- connecting and listening --------------------------------------------------------------------

Task<void> ConnectErrors(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  const Address gone = (*listener)->local();
  listener->reset();
  const StatusOr<std::unique_ptr<Socket>> refused =
      co_await stage.runtime.Connect(gone, MonoTime::Max());
  EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable) << refused.status().ToString();
  EXPECT_NE(refused.status().message().find(gone.ToString()), absl::string_view::npos);
  const StatusOr<std::unique_ptr<Socket>> name =
      co_await stage.runtime.Connect({"localhost", 1}, MonoTime::Max());
  EXPECT_EQ(name.status().code(), StatusCode::kInvalidArgument);
  const FullListener full;
  const MonoTime deadline = stage.runtime.Now() + Milliseconds(20);
  const StatusOr<std::unique_ptr<Socket>> late =
      co_await stage.runtime.Connect(full.address(), deadline);
  EXPECT_EQ(late.status().code(), StatusCode::kUnavailable) << late.status().ToString();
  EXPECT_GE(stage.runtime.Now(), deadline);
}

TEST(UringSocketTest, ConnectErrorsSayWhatIsWrong) { RunOn(SmallOptions(), ConnectErrors); }

Task<void> ListenTwice(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> first = stage.runtime.Listen(kAnyPort);
  const Address local = (*first)->local();
  const StatusOr<std::unique_ptr<Listener>> second = stage.runtime.Listen(local);
  EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists) << second.status().ToString();
  (*first)->Close();
  const StatusOr<std::unique_ptr<Socket>> none = co_await (*first)->Accept();
  EXPECT_EQ(none.status().code(), StatusCode::kCancelled);
  first->reset();
  const StatusOr<std::unique_ptr<Listener>> third = stage.runtime.Listen(local);
  EXPECT_TRUE(third.ok()) << third.status().ToString();
  const StatusOr<std::unique_ptr<Listener>> bad = stage.runtime.Listen({"example.com", 1});
  EXPECT_EQ(bad.status().code(), StatusCode::kInvalidArgument);
}

TEST(UringListenerTest, AddressIsTakenUntilTheListenerGoes) { RunOn(SmallOptions(), ListenTwice); }

Task<void> RunOutOfDescriptors(Stage& stage) {
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons((*listener)->local().port);
  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit low = {.rlim_cur = 3, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &low);
  EXPECT_EQ(connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  StatusOr<std::unique_ptr<Socket>> accepted = co_await (*listener)->Accept();
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(accepted.status().code(), StatusCode::kResourceExhausted);
  accepted = co_await (*listener)->Accept();
  EXPECT_TRUE(accepted.ok()) << accepted.status().ToString();
  close(client);
}

TEST(UringListenerTest, RunningOutOfDescriptorsPasses) {
  RunOn(SmallOptions(), RunOutOfDescriptors);
}

Task<void> PingOnce(Socket& client, Socket& server, std::string message) {
  co_await Ping(client, server, std::move(message));
}

Task<void> ManyConnections(Stage& stage) {
  constexpr size_t kConnections = 300;
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  std::vector<Pair> pairs;
  for (size_t i = 0; i < kConnections; ++i) {
    Pair pair = co_await Connected(stage.runtime, **listener);
    pairs.push_back(std::move(pair));
  }
  for (int round = 0; round < 20; ++round) {
    Gate gate(stage.runtime.scheduler());
    for (Pair& pair : pairs) {
      gate.Spawn("ping", ReadyClass::kClient,
                 PingOnce(*pair.client, *pair.server, Concat("round ", round)));
    }
    co_await gate.Close();
  }
}

TEST(UringSocketTest, ManyConnectionsThroughASmallRing) {
  UringOptions options = SmallOptions();
  options.sq_entries = 16;
  options.cq_entries = 1024;  // 512 operations may be under way
  RunOn(std::move(options), ManyConnections);
}

Task<void> AtTheLimit(Stage& stage) {
  // Sixteen plain operations may be under way; 32 idle receives want more. Files and closes must
  // not wait for them.
  StatusOr<std::unique_ptr<Listener>> listener = stage.runtime.Listen(kAnyPort);
  std::vector<Pair> pairs;
  for (size_t i = 0; i < 16; ++i) {
    Pair pair = co_await Connected(stage.runtime, **listener);
    pairs.push_back(std::move(pair));
  }
  std::vector<Status> results(pairs.size() * 2);
  Gate gate(stage.runtime.scheduler());
  for (size_t i = 0; i < pairs.size(); ++i) {
    gate.Spawn("idle", ReadyClass::kClient, ReceiveInto(*pairs[i].server, results[2 * i]));
    gate.Spawn("idle", ReadyClass::kClient, ReceiveInto(*pairs[i].client, results[2 * i + 1]));
  }
  co_await stage.runtime.Offload("turn", [] {});
  StatusOr<std::unique_ptr<File>> opened =
      co_await stage.runtime.OpenFile(stage.directory + "/f", OpenMode::kCreate);
  const std::unique_ptr<File> file = ValueOrDie(std::move(opened));
  IoBuffer out = stage.runtime.AllocateBuffer(kBlock);
  std::fill_n(out.data(), out.size(), 'x');
  const StatusOr<size_t> wrote = co_await file->Write(0, {out.data(), out.size()});
  EXPECT_TRUE(wrote.ok());
  for (Pair& pair : pairs) {
    pair.server->Close();
    pair.client->Close();
  }
  co_await gate.Close();
  for (const Status& result : results) EXPECT_EQ(result.code(), StatusCode::kCancelled);
}

TEST(UringSocketTest, FilesAndClosesPassTheLimitOfOperations) {
  UringOptions options = SmallOptions();
  options.sq_entries = 8;
  options.cq_entries = 32;
  options.receive_buffers = 4;
  RunOn(std::move(options), AtTheLimit);
}

// --- two reactors on one address -----------------------------------------------------------------

Task<void> AcceptAndCount(Listener& listener, int& count) {
  while (true) {
    StatusOr<std::unique_ptr<Socket>> socket = co_await listener.Accept();
    if (!socket.ok()) break;
    ++count;
    const Status sent = co_await (*socket)->Send("welcome");
    EXPECT_TRUE(sent.ok());
  }
}

struct Server {
  Server(Runtime& runtime, const Address& address)
      : gate(runtime.scheduler()), listener(ValueOrDie(runtime.Listen(address))) {
    gate.Spawn("accept", ReadyClass::kClient, AcceptAndCount(*listener, accepted));
  }
  Gate gate;
  std::unique_ptr<Listener> listener;
  int accepted = 0;
};

struct StartNode : ReadyNode {
  Runtime* runtime = nullptr;
  Address address;
  std::unique_ptr<Server> server;
  std::atomic<bool> started = false;
};

Task<void> ConnectOften(Stage& stage, Address address, std::atomic<bool>& ready, int times) {
  while (!ready.load()) {
    co_await Yield();
  }
  for (int i = 0; i < times; ++i) {
    StatusOr<std::unique_ptr<Socket>> client =
        co_await stage.runtime.Connect(address, MonoTime::Max());
    EXPECT_TRUE(client.ok()) << client.status().ToString();
    const std::string got = co_await ReceiveExactly(**client, 7);
    EXPECT_EQ(got, "welcome");
  }
  stage.host.RequestExit(0);
}

TEST(UringListenerTest, ReactorsShareAnAddressAndItsConnections) {
  constexpr int kTimes = 200;
  UringOptions options = SmallOptions();
  options.reactors = 2;
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(std::move(options));
  ASSERT_TRUE(host.ok());
  Stage stage{**host, (*host)->runtime(0), ""};
  Gate gate(stage.runtime.scheduler());
  std::unique_ptr<Server> here;
  StartNode there;
  (*host)->Run([&](std::span<Runtime* const> runtimes) {
    here = std::make_unique<Server>(*runtimes[0], kAnyPort);
    there.runtime = runtimes[1];
    there.address = here->listener->local();
    there.run = [](ReadyNode& self) {
      auto& node = static_cast<StartNode&>(self);
      node.server = std::make_unique<Server>(*node.runtime, node.address);
      node.started.store(true);
    };
    EXPECT_TRUE(runtimes[0]->Post(1, there));
    gate.Spawn("client", ReadyClass::kClient,
               ConnectOften(stage, there.address, there.started, kTimes));
  });
  EXPECT_EQ(here->accepted + there.server->accepted, kTimes);
  EXPECT_GT(here->accepted, 0);
  EXPECT_GT(there.server->accepted, 0);
}

TEST(UringListenerTest, SharedAddressIsStillRefusedWhenAnotherProcessHasIt) {
  UringOptions options = SmallOptions();
  options.reactors = 2;
  StatusOr<std::unique_ptr<UringHost>> first = UringHost::Create(options);
  StatusOr<std::unique_ptr<UringHost>> second = UringHost::Create(options);
  ASSERT_TRUE(first.ok() && second.ok());
  const std::unique_ptr<Listener> listener = ValueOrDie((*first)->runtime(0).Listen(kAnyPort));
  const StatusOr<std::unique_ptr<Listener>> taken = (*second)->runtime(0).Listen(listener->local());
  EXPECT_EQ(taken.status().code(), StatusCode::kAlreadyExists) << taken.status().ToString();
}

}  // namespace
}  // namespace metastore::io::uring
