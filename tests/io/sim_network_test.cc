// Aim: the simulated network gives streams as TCP does, and every fault of a wire or a machine
// shows as delay, stall, end or reset. Method: two or three machines; tasks on their cores
// listen, connect, send and receive.
#include "io/sim/sim_network.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/base/limits.h"
#include "io/gate.h"
#include "io/sim/sim_world.h"

namespace metastore::sim {
namespace {

using SocketPtr = std::unique_ptr<io::Socket>;

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 251);
  return bytes;
}

// Both ends of one connection, as a test holds them.
struct Pair {
  SocketPtr near;
  SocketPtr far;
};

io::Task<void> AcceptInto(io::Listener& listener, SocketPtr& to) {
  StatusOr<SocketPtr> socket = co_await listener.Accept();
  if (socket.ok()) to = *std::move(socket);
}

io::Task<StatusOr<SocketPtr>> Dial(io::Runtime& runtime, io::Address to, Duration limit) {
  StatusOr<SocketPtr> socket = co_await runtime.Connect(to, runtime.Now() + limit);
  co_return std::move(socket);
}

// What a receiver has got, and how it ended.
struct Received {
  std::string bytes;
  Status status = UnknownError("not ended");
  bool ended = false;
};

io::Task<void> ReceiveAll(io::Socket& socket, Received& to) {
  for (;;) {
    StatusOr<io::ReceivedBytes> bytes = co_await socket.Receive();
    to.status = bytes.status();
    if (!bytes.ok() || bytes->end_of_stream()) break;
    to.bytes += bytes->view();
  }
  to.ended = true;
}

io::Task<void> SendAll(io::Socket& socket, std::string bytes, Status& status, bool& ended) {
  status = co_await socket.Send(bytes);
  ended = true;
}

class SimNetworkTest : public testing::Test {
 protected:
  explicit SimNetworkTest(uint64_t seed = 21) : world_(seed) {
    on_a_ = a_.StartProcess()[0];
    on_b_ = b_.StartProcess()[0];
    gate_a_.emplace(on_a_->scheduler());
    gate_b_.emplace(on_b_->scheduler());
    StatusOr<std::unique_ptr<io::Listener>> listener = on_b_->Listen({"0.0.0.0", 80});
    CHECK(listener.ok());
    listener_ = *std::move(listener);
  }

  Pair Connect() {
    Pair pair;
    gate_b_->Spawn("accept", io::ReadyClass::kClient, AcceptInto(*listener_, pair.far));
    StatusOr<SocketPtr> near = world_.Await(*on_a_, Dial(*on_a_, {b_.ip(), 80}, Seconds(10)));
    CHECK(near.ok());
    pair.near = *std::move(near);
    CHECK(world_.RunUntil([&pair] { return pair.far != nullptr; }, Seconds(1)));
    return pair;
  }
  void Receive(io::Gate& gate, io::Socket& socket, Received& to) {
    gate.Spawn("receive", io::ReadyClass::kClient, ReceiveAll(socket, to));
  }
  void Send(io::Gate& gate, io::Socket& socket, std::string bytes) {
    sent_ = false;
    gate.Spawn("send", io::ReadyClass::kClient,
               SendAll(socket, std::move(bytes), send_status_, sent_));
  }
  StatusCode DialCode(io::Runtime& runtime, io::Address to, Duration limit) {
    return world_.Await(runtime, Dial(runtime, std::move(to), limit)).status().code();
  }

  SimWorld world_;
  SimMachine& a_ = world_.AddMachine("a");
  SimMachine& b_ = world_.AddMachine("b");
  io::Runtime* on_a_ = nullptr;
  io::Runtime* on_b_ = nullptr;
  std::optional<io::Gate> gate_a_;
  std::optional<io::Gate> gate_b_;
  std::unique_ptr<io::Listener> listener_;
  Status send_status_;
  bool sent_ = false;
};

// --- streams -----------------------------------------------------------------------------------

TEST_F(SimNetworkTest, StreamsArriveInOrderAndWholeWithLossAndSmallSegments) {
  world_.network().options().loss_per_million = 20'000;
  world_.network().options().small_per_cent = 50;
  Pair pair = Connect();
  const std::string bytes = Pattern(2'000'000);
  Received received;
  Receive(*gate_b_, *pair.far, received);
  Send(*gate_a_, *pair.near, bytes);
  ASSERT_TRUE(world_.RunUntil([this] { return sent_; }, Seconds(1000)));
  EXPECT_TRUE(send_status_.ok());
  pair.near->ShutdownSend();
  ASSERT_TRUE(world_.RunUntil([&] { return received.ended; }, Seconds(1000)));
  EXPECT_TRUE(received.status.ok());
  EXPECT_TRUE(received.bytes == bytes);
  EXPECT_EQ(world_.network().counters().bytes, bytes.size());
}

TEST_F(SimNetworkTest, ASenderWaitsForTheReceiver) {
  Pair pair = Connect();
  Send(*gate_a_, *pair.near, Pattern(1'000'000));
  world_.RunFor(Seconds(60));
  EXPECT_FALSE(sent_);  // alive but not read: no reset, only waiting
  EXPECT_EQ(world_.network().counters().bytes, world_.network().options().window_bytes);
  Received received;
  Receive(*gate_b_, *pair.far, received);
  ASSERT_TRUE(world_.RunUntil([this] { return sent_; }, Seconds(10)));
  world_.RunFor(Seconds(1));
  EXPECT_EQ(received.bytes.size(), 1'000'000u);
  pair.near->Close();
  world_.RunFor(Seconds(1));
  EXPECT_TRUE(received.ended);
}

TEST_F(SimNetworkTest, EachReceiveGivesAtMostOneBuffer) {
  world_.network().options().small_per_cent = 0;
  Pair pair = Connect();
  Send(*gate_a_, *pair.near, Pattern(100'000));
  world_.RunFor(Seconds(1));
  StatusOr<io::ReceivedBytes> bytes = world_.Await(*on_b_, pair.far->Receive());
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(bytes->view().size(), limits::kReceiveBytes);
}

TEST_F(SimNetworkTest, HalfClosedStillReceives) {
  Pair pair = Connect();
  Received at_far;
  Received at_near;
  Receive(*gate_b_, *pair.far, at_far);
  Receive(*gate_a_, *pair.near, at_near);
  Send(*gate_a_, *pair.near, "question");
  world_.RunFor(Seconds(1));
  pair.near->ShutdownSend();
  EXPECT_EQ(world_.Await(*on_a_, pair.near->Send("more")).code(), StatusCode::kUnavailable);
  world_.RunFor(Seconds(1));
  EXPECT_TRUE(at_far.ended);
  EXPECT_EQ(at_far.bytes, "question");
  Send(*gate_b_, *pair.far, "answer");
  world_.RunFor(Seconds(1));
  EXPECT_EQ(at_near.bytes, "answer");
  EXPECT_FALSE(at_near.ended);
  pair.far->Close();
  world_.RunFor(Seconds(1));
  EXPECT_TRUE(at_near.ended);
  EXPECT_TRUE(at_near.status.ok());
}

TEST_F(SimNetworkTest, CloseCancelsWhatIsUnderWay) {
  Pair pair = Connect();
  Received received;
  Receive(*gate_a_, *pair.near, received);
  Send(*gate_a_, *pair.near, Pattern(1'000'000));
  world_.RunFor(Milliseconds(10));
  pair.near->Close();
  pair.near->Close();
  world_.RunFor(Milliseconds(10));
  EXPECT_EQ(received.status.code(), StatusCode::kCancelled);
  EXPECT_EQ(send_status_.code(), StatusCode::kCancelled);
  EXPECT_EQ(world_.Await(*on_a_, pair.near->Receive()).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(world_.Await(*on_a_, pair.near->Send("x")).code(), StatusCode::kCancelled);
}

TEST_F(SimNetworkTest, ClosingWithUnreadBytesResetsTheOtherSide) {
  Pair pair = Connect();
  Send(*gate_a_, *pair.near, "never read");
  world_.RunFor(Seconds(1));
  Received received;
  Receive(*gate_a_, *pair.near, received);
  pair.far->Close();
  world_.RunFor(Seconds(1));
  EXPECT_EQ(received.status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(world_.Await(*on_a_, pair.near->Send("x")).code(), StatusCode::kUnavailable);
}

TEST_F(SimNetworkTest, SendingToAClosedEndIsAnsweredByAReset) {
  Pair pair = Connect();
  pair.far->Close();
  world_.RunFor(Seconds(1));
  EXPECT_TRUE(world_.Await(*on_a_, pair.near->Receive())->end_of_stream());
  EXPECT_TRUE(world_.Await(*on_a_, pair.near->Receive())->end_of_stream());
  EXPECT_TRUE(world_.Await(*on_a_, pair.near->Send("x")).ok());
  world_.RunFor(Seconds(1));
  EXPECT_EQ(world_.Await(*on_a_, pair.near->Send("y")).code(), StatusCode::kUnavailable);
}

TEST_F(SimNetworkTest, ConnectionsAreForgottenOnceBothSidesAreClosed) {
  for (int i = 0; i < 3; ++i) {
    Pair pair = Connect();
    pair.near->Close();
    pair.far->Close();
  }
  world_.RunFor(Seconds(1));
  EXPECT_EQ(world_.network().endpoints_count(), 0u);
  EXPECT_EQ(world_.network().counters().connections, 3u);
}

// --- connecting --------------------------------------------------------------------------------

TEST_F(SimNetworkTest, ConnectingIsRefusedWhereNobodyListens) {
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 81}, Seconds(5)), StatusCode::kUnavailable);
  EXPECT_EQ(world_.network().counters().refused, 1u);
  listener_->Close();
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(5)), StatusCode::kUnavailable);
  EXPECT_EQ(world_.network().counters().refused, 2u);
}

TEST_F(SimNetworkTest, ConnectingToNothingTimesOutAtItsDeadline) {
  for (const char* ip : {"10.9.9.9", "10.0.0.2"}) {
    world_.network().Isolate(b_);
    const MonoTime start = world_.Now();
    EXPECT_EQ(DialCode(*on_a_, {ip, 80}, Seconds(5)), StatusCode::kUnavailable);
    EXPECT_GE(world_.Now() - start, Seconds(5));
    EXPECT_LE(world_.Now() - start, Seconds(6));
  }
  const MonoTime start = world_.Now();
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(0)), StatusCode::kUnavailable);
  EXPECT_LE(world_.Now() - start, Milliseconds(1));
}

TEST_F(SimNetworkTest, ConnectingGetsThroughWhenTheWireIsHealedInTime) {
  world_.network().Cut(a_, b_);
  world_.At(Seconds(3), [this] { world_.network().Heal(a_, b_); });
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(10)), StatusCode::kOk);
}

TEST_F(SimNetworkTest, TheBacklogIsBounded) {
  world_.network().options().backlog = 2;
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(5)), StatusCode::kOk);
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(5)), StatusCode::kOk);
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(5)), StatusCode::kUnavailable);
}

TEST_F(SimNetworkTest, AddressesOfListenersConflictAsTheyDoInAKernel) {
  EXPECT_EQ(on_b_->Listen({b_.ip(), 80}).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(on_b_->Listen({"127.0.0.1", 80}).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(on_b_->Listen({a_.ip(), 81}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(on_a_->Listen({"0.0.0.0", 80}).ok());  // another machine
  StatusOr<std::unique_ptr<io::Listener>> chosen = on_b_->Listen({"127.0.0.1", 0});
  ASSERT_TRUE(chosen.ok());
  EXPECT_NE((*chosen)->local().port, 0);
  EXPECT_EQ(DialCode(*on_b_, (*chosen)->local(), Seconds(1)), StatusCode::kOk);
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), (*chosen)->local().port}, Seconds(1)),
            StatusCode::kUnavailable);  // loopback only
  (*chosen)->Close();
  EXPECT_TRUE(on_b_->Listen((*chosen)->local()).ok());
}

TEST_F(SimNetworkTest, NamesOfMachinesResolve) {
  const auto resolve = [this](std::string host) {
    return world_.Await(*on_a_, on_a_->Resolve(std::move(host), 7));
  };
  EXPECT_EQ(resolve("b")->front(), (io::Address{b_.ip(), 7}));
  EXPECT_EQ(resolve("localhost")->front(), (io::Address{"127.0.0.1", 7}));
  EXPECT_EQ(resolve("192.168.1.1")->front(), (io::Address{"192.168.1.1", 7}));
  EXPECT_EQ(resolve("::1")->front(), (io::Address{"::1", 7}));
  EXPECT_EQ(resolve("nowhere").status().code(), StatusCode::kNotFound);
}

TEST(SimNetworkCoresTest, ConnectionsAreSpreadOverTheCoresThatListen) {
  SimWorld world(3);
  SimMachine& server = world.AddMachine("server");
  SimMachine& client = world.AddMachine("client");
  const std::vector<io::Runtime*> cores = server.StartProcess(2);
  io::Runtime& on_client = *client.StartProcess()[0];
  StatusOr<std::unique_ptr<io::Listener>> first = cores[0]->Listen({"0.0.0.0", 80});
  StatusOr<std::unique_ptr<io::Listener>> second = cores[1]->Listen({"0.0.0.0", 80});
  ASSERT_TRUE(first.ok() && second.ok());
  std::vector<SocketPtr> sockets;
  for (int i = 0; i < 20; ++i) {
    StatusOr<SocketPtr> socket =
        world.Await(on_client, Dial(on_client, {server.ip(), 80}, Seconds(1)));
    ASSERT_TRUE(socket.ok());
    sockets.push_back(*std::move(socket));
  }
  int accepted = 0;
  for (int i = 0; i < 5; ++i) {
    accepted += world.Await(*cores[0], (*first)->Accept()).ok() ? 1 : 0;
    accepted += world.Await(*cores[1], (*second)->Accept()).ok() ? 1 : 0;
  }
  EXPECT_EQ(accepted, 10);
}

// --- wires -------------------------------------------------------------------------------------

TEST_F(SimNetworkTest, ACutWireHoldsBytesAndHealingBringsThemInOrder) {
  int cut_short = 0;
  for (int round = 0; round < 20; ++round) {
    Pair pair = Connect();
    Received received;
    Receive(*gate_b_, *pair.far, received);
    Send(*gate_a_, *pair.near, Pattern(100'000));
    world_.RunFor(Microseconds(static_cast<int64_t>(world_.prng().Below(600))));
    world_.network().Cut(a_, b_);
    world_.RunFor(Seconds(2));
    const size_t before = received.bytes.size();
    cut_short += before < 100'000u ? 1 : 0;
    world_.RunFor(Seconds(2));
    EXPECT_EQ(received.bytes.size(), before);
    world_.network().HealAll();
    EXPECT_TRUE(world_.RunUntil([this] { return sent_; }, Seconds(1)));
    Send(*gate_a_, *pair.near, "after");
    world_.RunFor(Seconds(1));
    ASSERT_TRUE(received.bytes == Pattern(100'000) + "after");
    pair.near->Close();
    world_.RunFor(Seconds(1));
    EXPECT_TRUE(received.ended);
  }
  EXPECT_GT(cut_short, 5);
}

TEST_F(SimNetworkTest, ACutLongerThanPatienceResetsTheSenderOnly) {
  Pair pair = Connect();
  Received at_far;
  Receive(*gate_b_, *pair.far, at_far);
  world_.network().Cut(a_, b_);
  Send(*gate_a_, *pair.near, "lost");
  world_.RunFor(Seconds(14));
  Received at_near;
  Receive(*gate_a_, *pair.near, at_near);
  EXPECT_FALSE(at_near.ended);
  world_.RunFor(Seconds(2));
  EXPECT_EQ(at_near.status.code(), StatusCode::kUnavailable);
  EXPECT_FALSE(at_far.ended);  // half open: it has sent nothing and hears nothing
  world_.network().HealAll();
  world_.RunFor(Seconds(60));
  EXPECT_FALSE(at_far.ended);
  EXPECT_EQ(at_far.bytes, "");
  Send(*gate_b_, *pair.far, "anybody there?");
  world_.RunFor(Seconds(1));
  EXPECT_EQ(at_far.status.code(), StatusCode::kUnavailable);
}

TEST_F(SimNetworkTest, AOneWayCutStopsOneDirectionAndStarvesTheOther) {
  Pair pair = Connect();
  Received at_far;
  Received at_near;
  Receive(*gate_b_, *pair.far, at_far);
  Receive(*gate_a_, *pair.near, at_near);
  world_.network().CutOneWay(b_, a_);
  EXPECT_TRUE(world_.network().IsCut(b_, a_));
  EXPECT_FALSE(world_.network().IsCut(a_, b_));
  Send(*gate_a_, *pair.near, Pattern(1'000'000));
  world_.RunFor(Seconds(5));
  EXPECT_FALSE(sent_);  // acknowledgements do not come back
  EXPECT_EQ(at_far.bytes.size(), world_.network().options().window_bytes);
  world_.network().HealAll();
  world_.RunFor(Seconds(5));
  EXPECT_TRUE(sent_);
  EXPECT_TRUE(at_far.bytes == Pattern(1'000'000));
  world_.network().CutOneWay(b_, a_);
  Send(*gate_a_, *pair.near, "x");
  world_.RunFor(Seconds(20));
  EXPECT_EQ(at_near.status.code(), StatusCode::kUnavailable);
  pair.far->Close();
  world_.RunFor(Seconds(1));
}

TEST_F(SimNetworkTest, ResettingConnectionsEndsThemOnBothSides) {
  Pair pair = Connect();
  Received at_far;
  Received at_near;
  Receive(*gate_b_, *pair.far, at_far);
  Receive(*gate_a_, *pair.near, at_near);
  world_.RunFor(Seconds(1));
  world_.network().ResetConnections(a_, b_);
  world_.RunFor(Seconds(1));
  EXPECT_EQ(at_far.status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(at_near.status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(world_.network().counters().resets, 2u);
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(1)), StatusCode::kOk);
}

TEST_F(SimNetworkTest, ASlowWireDelays) {
  world_.network().SetSlowFactor(a_, b_, 1000);
  const MonoTime start = world_.Now();
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(5)), StatusCode::kOk);
  EXPECT_GE(world_.Now() - start, Milliseconds(50));
}

TEST_F(SimNetworkTest, AnIsolatedMachineIsCutFromAllAndRejoins) {
  SimMachine& c = world_.AddMachine("c");
  world_.network().Isolate(b_);
  EXPECT_TRUE(world_.network().IsCut(a_, b_));
  EXPECT_TRUE(world_.network().IsCut(b_, c));
  EXPECT_FALSE(world_.network().IsCut(a_, c));
  EXPECT_EQ(DialCode(*on_b_, {"127.0.0.1", 80}, Seconds(1)), StatusCode::kOk);
  world_.network().Rejoin(b_);
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(1)), StatusCode::kOk);
}

// --- machines ----------------------------------------------------------------------------------

TEST_F(SimNetworkTest, AKilledProcessResetsItsConnectionsAndRefusesNewOnes) {
  Pair pair = Connect();
  Received at_near;
  Receive(*gate_a_, *pair.near, at_near);
  world_.RunFor(Seconds(1));
  b_.KillProcess();
  world_.RunFor(Seconds(1));
  EXPECT_EQ(at_near.status.code(), StatusCode::kUnavailable);
  const MonoTime start = world_.Now();
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(5)), StatusCode::kUnavailable);
  EXPECT_LT(world_.Now() - start, Milliseconds(10));  // refused, the machine is alive
}

TEST_F(SimNetworkTest, ASilentPowerLossLeavesHalfOpenConnections) {
  world_.network().options().silent_power_loss_per_cent = 100;
  Pair pair = Connect();
  Received at_near;
  Receive(*gate_a_, *pair.near, at_near);
  b_.PowerLoss();
  world_.RunFor(Seconds(100));
  EXPECT_FALSE(at_near.ended);
  Send(*gate_a_, *pair.near, "x");
  world_.RunFor(Seconds(14));
  EXPECT_FALSE(at_near.ended);
  world_.RunFor(Seconds(2));
  EXPECT_EQ(at_near.status.code(), StatusCode::kUnavailable);
  const MonoTime start = world_.Now();
  EXPECT_EQ(DialCode(*on_a_, {b_.ip(), 80}, Seconds(5)), StatusCode::kUnavailable);
  EXPECT_GE(world_.Now() - start, Seconds(5));  // nothing answers
}

TEST_F(SimNetworkTest, ARestartedMachineResetsConnectionsItDoesNotKnow) {
  world_.network().options().silent_power_loss_per_cent = 100;
  Pair pair = Connect();
  Received at_near;
  Receive(*gate_a_, *pair.near, at_near);
  b_.PowerLoss();
  Send(*gate_a_, *pair.near, "x");
  world_.RunFor(Seconds(5));
  EXPECT_FALSE(at_near.ended);
  b_.DrainDead();
  pair.far.reset();
  listener_.reset();
  gate_b_.reset();
  b_.EndProcess();
  b_.StartProcess();
  world_.RunFor(Seconds(1));
  EXPECT_EQ(at_near.status.code(), StatusCode::kUnavailable);
}

TEST_F(SimNetworkTest, ADeadListenerAcceptsNothing) {
  SocketPtr socket;
  gate_b_->Spawn("accept", io::ReadyClass::kClient, AcceptInto(*listener_, socket));
  world_.RunFor(Seconds(1));
  b_.KillProcess();
  b_.DrainDead();
  EXPECT_EQ(gate_b_->running(), 0u);
  EXPECT_EQ(socket, nullptr);
}

TEST_F(SimNetworkTest, ConnectingIsCancelledByDeath) {
  Status status;
  bool ended = false;
  struct Dialler {
    static io::Task<void> Run(io::Runtime& runtime, Status& to, bool& done) {
      const StatusOr<SocketPtr> socket = co_await Dial(runtime, {"10.9.9.9", 1}, Seconds(100));
      to = socket.status();
      done = true;
    }
  };
  gate_a_->Spawn("dial", io::ReadyClass::kClient, Dialler::Run(*on_a_, status, ended));
  world_.RunFor(Seconds(1));
  a_.PowerLoss();
  a_.DrainDead();
  EXPECT_TRUE(ended);
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace metastore::sim
