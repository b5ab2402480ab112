// Aim: sockets, posts between cores and Offload behave as the headers of io/ say, on whichever
// runtime the suite is instantiated with. Method: each test is one coroutine on core 0.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/base/limits.h"
#include "io/gate.h"
#include "io/queue.h"
#include "tests/io/conformance.h"

namespace metastore::io {
namespace {

using SocketPtr = std::unique_ptr<Socket>;
using ListenerPtr = std::unique_ptr<Listener>;

// --- sockets -----------------------------------------------------------------------------------

// Sends back what comes until the end of the stream, which it answers with its own.
Task<void> EchoUntilEnd(Listener& listener) {
  StatusOr<SocketPtr> socket = co_await listener.Accept();
  CO_ASSERT(socket.ok());
  for (;;) {
    StatusOr<ReceivedBytes> bytes = co_await (*socket)->Receive();
    CO_ASSERT(bytes.ok());
    if (bytes->end_of_stream()) break;
    const Status sent = co_await (*socket)->Send(bytes->view());
    CO_ASSERT(sent.ok());
  }
  const Status bye = co_await (*socket)->Send("bye");
  CO_ASSERT(bye.ok());
  (*socket)->ShutdownSend();
}

Task<StatusOr<std::string>> ReceiveSome(Socket& socket, size_t size) {
  std::string all;
  while (all.size() < size) {
    StatusOr<ReceivedBytes> bytes = co_await socket.Receive();
    if (!bytes.ok()) co_return bytes.status();
    if (bytes->end_of_stream()) break;
    all += bytes->view();
  }
  co_return all;
}

Task<void> Echoes(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<ListenerPtr> listener = runtime.Listen({"127.0.0.1", 0});
  CO_ASSERT(listener.ok());
  EXPECT_NE((*listener)->local().port, 0);
  Gate gate(runtime.scheduler());
  gate.Spawn("echo", ReadyClass::kClient, EchoUntilEnd(**listener));
  StatusOr<SocketPtr> socket =
      co_await runtime.Connect((*listener)->local(), runtime.Now() + Seconds(10));
  CO_ASSERT(socket.ok());
  EXPECT_EQ((*socket)->peer(), (*listener)->local());
  const Status sent = co_await (*socket)->Send("hello");
  EXPECT_TRUE(sent.ok());
  const StatusOr<std::string> hello = co_await ReceiveSome(**socket, 5);
  CO_ASSERT(hello.ok());
  EXPECT_EQ(*hello, "hello");
  (*socket)->ShutdownSend();
  const StatusOr<std::string> bye = co_await ReceiveSome(**socket, 100);
  CO_ASSERT(bye.ok());
  EXPECT_EQ(*bye, "bye");  // half closed, and the other half still comes; then its end
  StatusOr<ReceivedBytes> end = co_await (*socket)->Receive();
  CO_ASSERT(end.ok());
  EXPECT_TRUE(end->end_of_stream());
  co_await gate.Close();
}
TEST_P(ConformanceTest, BytesAreEchoedAndAHalfCloseEndsTheStream) { Run(Echoes); }

Task<void> SendThenEnd(Socket& socket, const std::string& bytes, bool& ended) {
  const Status sent = co_await socket.Send(bytes);
  EXPECT_TRUE(sent.ok());
  socket.ShutdownSend();
  ended = true;
}

Task<void> AcceptInto(Listener& listener, OneShot<SocketPtr>& to) {
  StatusOr<SocketPtr> socket = co_await listener.Accept();
  CO_ASSERT(socket.ok());
  to.Set(*std::move(socket));
}

Task<void> TransfersMuch(Stage& stage) {
  constexpr size_t kSize = 8 * limits::kMiB;
  Runtime& runtime = stage.runtime();
  StatusOr<ListenerPtr> listener = runtime.Listen({"127.0.0.1", 0});
  CO_ASSERT(listener.ok());
  Gate gate(runtime.scheduler());
  OneShot<SocketPtr> accepted;
  gate.Spawn("accept", ReadyClass::kClient, AcceptInto(**listener, accepted));
  StatusOr<SocketPtr> near =
      co_await runtime.Connect((*listener)->local(), runtime.Now() + Seconds(10));
  CO_ASSERT(near.ok());
  SocketPtr far = co_await accepted;
  std::string pattern;
  while (pattern.size() < kSize) pattern += Concat(pattern.size(), ",");
  bool ended = false;
  gate.Spawn("send", ReadyClass::kClient, SendThenEnd(**near, pattern, ended));
  co_await SleepUntil(runtime, runtime.Now() + Milliseconds(100));
  EXPECT_FALSE(ended);  // nobody receives: the sender waits
  const StatusOr<std::string> bytes = co_await ReceiveSome(*far, 2 * kSize);
  CO_ASSERT(bytes.ok());
  EXPECT_TRUE(*bytes == pattern);
  co_await gate.Close();
  EXPECT_TRUE(ended);
}
TEST_P(ConformanceTest, ABigTransferWaitsForItsReceiver) { Run(TransfersMuch); }

Task<void> ReceiveStatus(Socket& socket, std::optional<Status>& status) {
  StatusOr<ReceivedBytes> bytes = co_await socket.Receive();
  status = bytes.status();
}

Task<void> SendStatus(Socket& socket, std::optional<Status>& status) {
  const std::string bytes(32 * limits::kMiB, 's');
  status = co_await socket.Send(bytes);
}

Task<void> CloseCancels(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<ListenerPtr> listener = runtime.Listen({"127.0.0.1", 0});
  CO_ASSERT(listener.ok());
  Gate gate(runtime.scheduler());
  OneShot<SocketPtr> accepted;
  gate.Spawn("accept", ReadyClass::kClient, AcceptInto(**listener, accepted));
  StatusOr<SocketPtr> near =
      co_await runtime.Connect((*listener)->local(), runtime.Now() + Seconds(10));
  CO_ASSERT(near.ok());
  SocketPtr far = co_await accepted;
  std::optional<Status> received;
  std::optional<Status> sent;
  gate.Spawn("receive", ReadyClass::kClient, ReceiveStatus(**near, received));
  gate.Spawn("send", ReadyClass::kClient, SendStatus(**near, sent));
  co_await SleepUntil(runtime, runtime.Now() + Milliseconds(20));
  EXPECT_FALSE(received.has_value());
  EXPECT_FALSE(sent.has_value());
  (*near)->Close();
  (*near)->Close();
  co_await gate.Close();
  CO_ASSERT(received.has_value() && sent.has_value());
  EXPECT_EQ(received->code(), StatusCode::kCancelled);
  EXPECT_EQ(sent->code(), StatusCode::kCancelled);
  const Status later = co_await (*near)->Send("x");
  EXPECT_EQ(later.code(), StatusCode::kCancelled);
}
TEST_P(ConformanceTest, CloseCancelsReceiveAndSend) { Run(CloseCancels); }

Task<void> AcceptStatus(Listener& listener, std::optional<Status>& status) {
  StatusOr<SocketPtr> socket = co_await listener.Accept();
  status = socket.status();
}

Task<void> ClosesListener(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<ListenerPtr> listener = runtime.Listen({"127.0.0.1", 0});
  CO_ASSERT(listener.ok());
  const Address address = (*listener)->local();
  std::optional<Status> accepted;
  Gate gate(runtime.scheduler());
  gate.Spawn("accept", ReadyClass::kClient, AcceptStatus(**listener, accepted));
  co_await SleepUntil(runtime, runtime.Now() + Milliseconds(5));
  EXPECT_EQ(runtime.Listen(address).status().code(), StatusCode::kAlreadyExists);
  (*listener)->Close();
  co_await gate.Close();
  CO_ASSERT(accepted.has_value());
  EXPECT_EQ(accepted->code(), StatusCode::kCancelled);
  listener->reset();
  StatusOr<SocketPtr> refused = co_await runtime.Connect(address, runtime.Now() + Seconds(10));
  EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable);
  StatusOr<SocketPtr> late = co_await runtime.Connect(address, runtime.Now() - Seconds(1));
  EXPECT_EQ(late.status().code(), StatusCode::kUnavailable);
}
TEST_P(ConformanceTest, AClosedListenerCancelsAcceptAndRefusesConnections) { Run(ClosesListener); }

Task<void> ServesTwo(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<ListenerPtr> listener = runtime.Listen({"127.0.0.1", 0});
  CO_ASSERT(listener.ok());
  SocketPtr near[2];
  SocketPtr far[2];
  for (int i = 0; i < 2; ++i) {
    OneShot<SocketPtr> accepted;
    Gate gate(runtime.scheduler());
    gate.Spawn("accept", ReadyClass::kClient, AcceptInto(**listener, accepted));
    StatusOr<SocketPtr> socket =
        co_await runtime.Connect((*listener)->local(), runtime.Now() + Seconds(10));
    co_await gate.Close();
    CO_ASSERT(socket.ok());
    CO_ASSERT(accepted.set());
    near[i] = *std::move(socket);
    far[i] = co_await accepted;
  }
  const Status second_sent = co_await near[1]->Send("two");
  const Status first_sent = co_await near[0]->Send("one");
  EXPECT_TRUE(first_sent.ok() && second_sent.ok());
  const StatusOr<std::string> first = co_await ReceiveSome(*far[0], 3);
  const StatusOr<std::string> second = co_await ReceiveSome(*far[1], 3);
  CO_ASSERT(first.ok() && second.ok());
  EXPECT_EQ(*first, "one");
  EXPECT_EQ(*second, "two");
  near[0].reset();
  StatusOr<ReceivedBytes> end = co_await far[0]->Receive();
  CO_ASSERT(end.ok());
  EXPECT_TRUE(end->end_of_stream());  // destroying closes
  const Status still = co_await far[1]->Send("back");
  EXPECT_TRUE(still.ok());
  const StatusOr<std::string> back = co_await ReceiveSome(*near[1], 4);
  CO_ASSERT(back.ok());
  EXPECT_EQ(*back, "back");
}
TEST_P(ConformanceTest, TwoConnectionsAreIndependent) { Run(ServesTwo); }

Task<void> SeesReset(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<ListenerPtr> listener = runtime.Listen({"127.0.0.1", 0});
  CO_ASSERT(listener.ok());
  Gate gate(runtime.scheduler());
  OneShot<SocketPtr> accepted;
  gate.Spawn("accept", ReadyClass::kClient, AcceptInto(**listener, accepted));
  StatusOr<SocketPtr> near =
      co_await runtime.Connect((*listener)->local(), runtime.Now() + Seconds(10));
  CO_ASSERT(near.ok());
  SocketPtr far = co_await accepted;
  far.reset();
  Status sent;
  for (int i = 0; i < 100 && sent.ok(); ++i) {
    sent = co_await (*near)->Send("into the void");
    co_await SleepUntil(runtime, runtime.Now() + Milliseconds(2));
  }
  EXPECT_EQ(sent.code(), StatusCode::kUnavailable);
  co_await gate.Close();
}
TEST_P(ConformanceTest, SendingToAClosedSideFailsInTheEnd) { Run(SeesReset); }

Task<void> ResolvesNames(Stage& stage) {
  Runtime& runtime = stage.runtime();
  StatusOr<std::vector<Address>> found = co_await runtime.Resolve("127.0.0.1", 17);
  CO_ASSERT(found.ok());
  CO_ASSERT(found->size() == 1);
  EXPECT_EQ(found->front(), (Address{"127.0.0.1", 17}));
  found = co_await runtime.Resolve("localhost", 17);
  CO_ASSERT(found.ok());
  EXPECT_FALSE(found->empty());
}
TEST_P(ConformanceTest, LiteralsAndLocalhostResolve) { Run(ResolvesNames); }

// --- other cores and Offload -------------------------------------------------------------------

// Goes to the other core and comes back.
struct Ball : ReadyNode {
  Stage* stage = nullptr;
  int number = 0;
  std::vector<int>* there = nullptr;
  std::vector<int>* back = nullptr;
  Signal* came_back = nullptr;
};

void ArriveBack(ReadyNode& node) {
  auto& ball = static_cast<Ball&>(node);
  ball.back->push_back(ball.number);
  ball.came_back->NotifyAll();
}

void ArriveThere(ReadyNode& node) {
  auto& ball = static_cast<Ball&>(node);
  ball.there->push_back(ball.number);
  ball.run = &ArriveBack;
  EXPECT_TRUE(ball.stage->runtimes[1]->Post(0, ball));
}

Task<void> PostsInOrder(Stage& stage) {
  constexpr int kBalls = 1000;
  std::vector<int> there;
  std::vector<int> back;
  Signal came_back;
  std::vector<Ball> balls(kBalls);
  EXPECT_EQ(stage.runtime().core(), 0);
  EXPECT_EQ(stage.runtimes[1]->core(), 1);
  EXPECT_EQ(stage.runtime().cores_count(), 2);
  for (int i = 0; i < kBalls; ++i) {
    Ball& ball = balls[static_cast<size_t>(i)];
    ball.stage = &stage;
    ball.number = i;
    ball.there = &there;
    ball.back = &back;
    ball.came_back = &came_back;
    ball.run = &ArriveThere;
    EXPECT_TRUE(stage.runtime().Post(1, ball));
  }
  while (back.size() < kBalls) {
    co_await came_back.Wait();
  }
  EXPECT_TRUE(std::is_sorted(there.begin(), there.end()));
  EXPECT_TRUE(std::is_sorted(back.begin(), back.end()));
}
TEST_P(ConformanceTest, PostsToAnotherCoreKeepTheirOrder) { Run(PostsInOrder, 2); }

Task<void> PostsToItself(Stage& stage) {
  std::vector<int> back;
  Signal came_back;
  Ball ball;
  ball.back = &back;
  ball.came_back = &came_back;
  ball.run = &ArriveBack;
  EXPECT_TRUE(stage.runtime().Post(0, ball));
  EXPECT_TRUE(back.empty());  // never inside Post
  while (back.empty()) {
    co_await came_back.Wait();
  }
}
TEST_P(ConformanceTest, APostToTheOwnCoreRunsLater) { Run(PostsToItself); }

Task<void> OffloadOne(Runtime& runtime, int& sum) {
  int part = 0;
  const std::function<void()> work = [&part] { part = 1; };
  co_await runtime.Offload("one", work);
  sum += part;
}

Task<void> OffloadsWork(Stage& stage) {
  int sum = 0;
  Gate gate(stage.runtime().scheduler());
  for (int i = 0; i < 50; ++i) {
    gate.Spawn("offload", ReadyClass::kClient, OffloadOne(stage.runtime(), sum));
  }
  EXPECT_EQ(sum, 0);
  co_await gate.Close();
  EXPECT_EQ(sum, 50);
}
TEST_P(ConformanceTest, OffloadedWorkIsDoneWhenItCompletes) { Run(OffloadsWork); }

}  // namespace
}  // namespace metastore::io
