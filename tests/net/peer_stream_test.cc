// Aim: the introduction and what follows it: who is let in, what strangers and later versions get,
// every error that the header names, silence and stuck sends, and that a closed stream gives out
// nothing. Method: two simulated machines, one stream; raw sockets where the other side misbehaves.
#include "net/peer_stream.h"

#include <gtest/gtest.h>

#include <optional>

#include "io/base/coding.h"
#include "io/sim/sim_world.h"

namespace metastore::net_test {
namespace {

using net::PeerFrame;
using net::PeerFrameDecoder;
using net::PeerFrameEncoder;
using net::PeerHello;
using net::PeerStream;
using net::PeerStreamKind;
using net::PeerStreamOptions;

const PeerHello kHello{.kind = PeerStreamKind::kMembers,
                       .cluster = ClusterId(0xc1),
                       .from = NodeId(1),
                       .to = NodeId(2),
                       .incarnation = 77,
                       .rules = 5};
constexpr uint16_t kHelloType = net::kPeerReservedTypes;
constexpr uint16_t kWelcomeType = net::kPeerReservedTypes + 1;

bool Contains(const Status& status, std::string_view part) {
  return status.ToString().find(part) != std::string::npos;
}

class PeerStreamTest : public testing::Test {
 protected:
  explicit PeerStreamTest(sim::SimOptions options = Options())
      : world_(1, options),
        near_machine_(world_.AddMachine("near")),
        far_machine_(world_.AddMachine("far")),
        near_(*near_machine_.StartProcess()[0]),
        far_(*far_machine_.StartProcess()[0]),
        near_gate_(std::make_unique<io::Gate>(near_.scheduler())),
        far_gate_(std::make_unique<io::Gate>(far_.scheduler())) {
    StatusOr<std::unique_ptr<io::Listener>> listener =
        far_.Listen({.ip = far_machine_.ip(), .port = 2380});
    CHECK(listener.ok());
    listener_ = std::move(*listener);
  }

  ~PeerStreamTest() override {
    if (dialler_ != nullptr) dialler_->Close();
    if (dialled_ != nullptr) dialled_->Close();
    listener_->Close();
    world_.RunFor(Seconds(25));  // the longest of SayTask
    dialler_.reset();
    dialled_.reset();
    listener_.reset();
    near_gate_.reset();
    far_gate_.reset();
    world_.RunFor(Seconds(1));
    near_machine_.EndProcess();
    far_machine_.EndProcess();
  }

  static sim::SimOptions Options() {
    sim::SimOptions options;
    options.network.give_up = Seconds(900);
    return options;
  }

  // The far side accepts one stream and answers with `verdict`.
  void AcceptOne(Status verdict = OkStatus(), PeerStreamOptions options = {}) {
    far_gate_->Spawn("accept", io::ReadyClass::kClient, AcceptTask(std::move(verdict), options));
  }
  io::Task<void> AcceptTask(Status verdict, PeerStreamOptions options) {
    StatusOr<std::unique_ptr<io::Socket>> socket = co_await listener_->Accept();
    if (!socket.ok()) co_return;
    StatusOr<std::unique_ptr<PeerStream>> stream =
        co_await PeerStream::Accept(far_, std::move(*socket), options);
    accepted_ = stream.status();
    if (!stream.ok()) co_return;
    dialled_ = std::move(*stream);
    answered_ = co_await dialled_->Answer(verdict);
  }

  Status Dial(PeerHello hello = kHello, PeerStreamOptions options = {}) {
    StatusOr<std::unique_ptr<PeerStream>> stream =
        world_.Await(near_, PeerStream::Dial(near_, listener_->local(), hello, options));
    if (stream.ok()) dialler_ = std::move(*stream);
    world_.RunFor(Milliseconds(10));
    return stream.status();
  }
  void Join(PeerHello hello = kHello, PeerStreamOptions near = {}, PeerStreamOptions far = {}) {
    AcceptOne(OkStatus(), far);
    CHECK(Dial(hello, near).ok());
  }

  // A receive of the far side, whose result lands in `got_` and `got_status_`.
  void StartReceive(PeerStream& stream, io::Gate& gate) {
    got_status_.reset();
    gate.Spawn("receive", io::ReadyClass::kClient, ReceiveTask(stream));
  }
  io::Task<void> ReceiveTask(PeerStream& stream) {
    const StatusOr<PeerFrame> frame = co_await stream.Receive();
    got_status_ = frame.status();
    if (frame.ok()) got_ = {frame->type, std::string(frame->body)};
  }
  static io::Task<void> SendTask(PeerStream& stream, const std::string& body,
                                 std::optional<Status>& result) {
    result = co_await stream.Send(1, body);
  }
  Status Receive(io::Runtime& runtime, PeerStream& stream) {
    world_.Await(runtime, ReceiveTask(stream));
    return *got_status_;
  }

  // A connection of bare bytes to the far side.
  std::unique_ptr<io::Socket> ConnectRaw() {
    StatusOr<std::unique_ptr<io::Socket>> socket =
        world_.Await(near_, near_.Connect(listener_->local(), near_.Now() + Seconds(1)));
    CHECK(socket.ok());
    return std::move(*socket);
  }
  void SendRaw(io::Socket& socket, std::string_view bytes) {
    CHECK(world_.Await(near_, socket.Send(bytes)).ok());
    world_.RunFor(Milliseconds(10));
  }
  std::string ReceiveRaw(io::Socket& socket) {
    std::string all;
    while (true) {
      const StatusOr<io::ReceivedBytes> received = world_.Await(near_, socket.Receive());
      if (!received.ok() || received->end_of_stream()) return all;
      all += received->view();
    }
  }
  // What the far side makes of a hello frame with these bytes.
  Status AcceptHello(std::string_view body, std::string* answer = nullptr) {
    accepted_.reset();
    AcceptOne();
    const std::unique_ptr<io::Socket> socket = ConnectRaw();
    PeerFrameEncoder encoder(net::PeerCompression::kOff);
    std::string bytes;
    encoder.Encode(kHelloType, body, bytes);
    SendRaw(*socket, bytes);
    const Status result = *accepted_;
    if (result.ok()) dialled_->Close();
    if (answer != nullptr) *answer = ReceiveRaw(*socket);
    socket->Close();
    dialled_.reset();
    return result;
  }
  // The far side as a bare socket that says `bytes` to whoever connects.
  io::Task<void> SayTask(std::string bytes) {
    StatusOr<std::unique_ptr<io::Socket>> socket = co_await listener_->Accept();
    if (!socket.ok()) co_return;
    const Status sent = co_await (*socket)->Send(bytes);
    EXPECT_TRUE(sent.ok());
    co_await io::SleepUntil(far_, far_.Now() + Seconds(20));
  }
  void Say(std::string bytes) {
    far_gate_->Spawn("say", io::ReadyClass::kClient, SayTask(std::move(bytes)));
  }
  static std::string Frame(uint16_t type, std::string_view body) {
    PeerFrameEncoder encoder(net::PeerCompression::kOff);
    std::string bytes;
    encoder.Encode(type, body, bytes);
    return bytes;
  }

  sim::SimWorld world_;
  sim::SimMachine& near_machine_;
  sim::SimMachine& far_machine_;
  io::Runtime& near_;
  io::Runtime& far_;
  std::unique_ptr<io::Gate> near_gate_;
  std::unique_ptr<io::Gate> far_gate_;
  std::unique_ptr<io::Listener> listener_;
  std::unique_ptr<PeerStream> dialler_;
  std::unique_ptr<PeerStream> dialled_;
  std::optional<Status> accepted_;
  std::optional<Status> answered_;
  std::optional<Status> got_status_;
  std::pair<uint16_t, std::string> got_;
};

std::string HelloBody(uint16_t version, uint8_t kind) {
  std::string body;
  PutU16(body, version);
  PutU8(body, kind);
  for (const uint64_t field : {0xc1u, 1u, 2u, 77u}) PutU64(body, field);
  PutU8(body, 5);
  PutBytes(body, "http://10.0.0.9:2380");
  return body;
}

// --- introduction --------------------------------------------------------------------------------

TEST_F(PeerStreamTest, BothSidesKnowTheHelloAndFramesFlowBothWays) {
  Join();
  EXPECT_EQ(dialled_->hello(), kHello);
  EXPECT_EQ(dialler_->hello(), kHello);
  EXPECT_EQ(dialler_->address(), listener_->local());
  EXPECT_EQ(dialled_->address().ip, near_machine_.ip());
  for (const size_t size : {0u, 10u, 100'000u, 2'000'000u}) {
    const std::string body(size, 'q');
    StartReceive(*dialled_, *far_gate_);
    ASSERT_TRUE(world_.Await(near_, dialler_->Send(7, body)).ok());
    world_.RunFor(Seconds(1));
    ASSERT_TRUE(got_status_.has_value() && got_status_->ok());
    EXPECT_TRUE(got_ == std::pair(uint16_t{7}, body));
    StartReceive(*dialler_, *near_gate_);
    std::string frame = std::string(net::kPeerFrameHeaderBytes, '\0') + body;
    ASSERT_TRUE(world_.Await(far_, dialled_->SendInPlace(8, frame)).ok());
    world_.RunFor(Seconds(1));
    EXPECT_TRUE(got_ == std::pair(uint16_t{8}, body));
  }
  EXPECT_EQ(dialler_->sent().frames, 5u);  // the hello too
}

TEST_F(PeerStreamTest, RefusalCarriesCodeAndWords) {
  for (const Status& verdict : {FailedPreconditionError("another cluster"),
                                PermissionDeniedError("removed"), UnimplementedError("too new")}) {
    AcceptOne(verdict);
    const Status refused = Dial();
    EXPECT_EQ(refused.code(), verdict.code());
    EXPECT_EQ(refused.message(), Concat("10.0.0.2:2380: ", StdView(verdict.message())));
    EXPECT_TRUE(answered_->ok());
    dialled_.reset();
  }
}

TEST_F(PeerStreamTest, RefusalsThatOnlyThisSideMaySayAreUnavailable) {
  AcceptOne(CancelledError("shutting down"));
  EXPECT_EQ(Dial().code(), StatusCode::kUnavailable);
  for (const int code : {0, 1, 17, 255}) {
    Say(Frame(net::kPeerReservedTypes + 2, std::string(1, static_cast<char>(code)) + "words"));
    const Status refused = Dial();
    EXPECT_EQ(refused.code(), StatusCode::kUnavailable) << code;
    EXPECT_TRUE(Contains(refused, "words"));
  }
  Say(Frame(net::kPeerReservedTypes + 2, ""));
  EXPECT_EQ(Dial().code(), StatusCode::kUnavailable);
}

TEST_F(PeerStreamTest, LongRefusalIsCut) {
  AcceptOne(FailedPreconditionError(std::string(100'000, 'w')));
  const Status refused = Dial();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_LT(refused.message().size(), 600u);
}

TEST_F(PeerStreamTest, NobodyAnswersTheHello) {
  const MonoTime begin = world_.Now();
  EXPECT_EQ(Dial().code(), StatusCode::kDeadlineExceeded);
  EXPECT_NEAR(static_cast<double>((world_.Now() - begin).ms()), 5010.0, 10.0);
}

TEST_F(PeerStreamTest, NobodyIsThere) {
  listener_->Close();
  EXPECT_EQ(Dial().code(), StatusCode::kUnavailable);
  world_.network().Cut(near_machine_, far_machine_);
  const MonoTime begin = world_.Now();
  EXPECT_EQ(Dial().code(), StatusCode::kUnavailable);
  EXPECT_LT((world_.Now() - begin).ms(), 1'100);
}

TEST_F(PeerStreamTest, OtherServersAreNoMembers) {
  for (const std::string_view said :
       {"HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH", "\x15\x03\x01"}) {
    Say(std::string(said));
    const Status status = Dial();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << said;
    EXPECT_TRUE(Contains(status, "10.0.0.2:2380")) << status;
  }
  for (const std::string& said : {Frame(5, "a frame too early"), Frame(kWelcomeType, ""),
                                  Frame(kWelcomeType, "123"), Frame(kHelloType, "hello")}) {
    Say(said);
    EXPECT_EQ(Dial().code(), StatusCode::kDataLoss);
  }
  Say(Frame(kWelcomeType, std::string("\x09\0", 2)));
  const Status later = Dial();
  EXPECT_EQ(later.code(), StatusCode::kUnimplemented);
  EXPECT_TRUE(Contains(later, "version 9")) << later;
}

TEST_F(PeerStreamTest, DiallerThatIsNoMemberIsClosed) {
  AcceptOne();
  const std::unique_ptr<io::Socket> socket = ConnectRaw();
  SendRaw(*socket, "GET / HTTP/1.0\r\n");
  ASSERT_TRUE(accepted_.has_value());  // not only at the timeout
  EXPECT_EQ(accepted_->code(), StatusCode::kDataLoss);
  EXPECT_EQ(ReceiveRaw(*socket), "");
}

TEST_F(PeerStreamTest, SilentDiallerIsClosed) {
  AcceptOne();
  const std::unique_ptr<io::Socket> socket = ConnectRaw();
  SendRaw(*socket, Frame(kHelloType, HelloBody(3, 1)).substr(0, 50));
  world_.RunFor(Milliseconds(4900));
  EXPECT_FALSE(accepted_.has_value());
  world_.RunFor(Milliseconds(200));
  EXPECT_EQ(accepted_->code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(Contains(*accepted_, "10.0.0.1")) << *accepted_;
}

TEST_F(PeerStreamTest, DiallerThatLeavesIsUnavailable) {
  AcceptOne();
  ConnectRaw()->Close();
  world_.RunFor(Milliseconds(10));
  EXPECT_EQ(accepted_->code(), StatusCode::kUnavailable);
}

TEST_F(PeerStreamTest, HellosThatCannotBeAreRefused) {
  EXPECT_TRUE(AcceptHello(HelloBody(3, 1)).ok());
  EXPECT_EQ(AcceptHello("").code(), StatusCode::kDataLoss);
  EXPECT_EQ(AcceptHello(HelloBody(3, 1) + "x").code(), StatusCode::kDataLoss);
  EXPECT_EQ(AcceptHello(HelloBody(3, 1).substr(0, 30)).code(), StatusCode::kDataLoss);
  EXPECT_EQ(AcceptHello(std::string(2000, 'x')).code(), StatusCode::kDataLoss);
  std::string answer;
  for (const std::string& body : {HelloBody(4, 1), HelloBody(4, 1) + "of a later version",
                                  HelloBody(3, 0), HelloBody(3, 4)}) {
    EXPECT_EQ(AcceptHello(body, &answer).code(), StatusCode::kUnimplemented);
    PeerFrameDecoder decoder;
    decoder.Add(answer);
    PeerFrame frame;
    ASSERT_TRUE(*decoder.Next(frame));
    EXPECT_EQ(frame.type, net::kPeerReservedTypes + 2);
    EXPECT_EQ(frame.body[0], static_cast<char>(StatusCode::kUnimplemented));
    EXPECT_NE(frame.body.find(LoadU16(body.data()) == 4 ? "version 4" : "kind"), frame.body.npos);
  }
}

TEST_F(PeerStreamTest, LaterFrameVersionsAreRefusedInWords) {
  AcceptOne();
  const std::unique_ptr<io::Socket> socket = ConnectRaw();
  std::string bytes = Frame(kHelloType, HelloBody(3, 1));
  bytes[4] = 2;
  SendRaw(*socket, bytes);
  EXPECT_EQ(accepted_->code(), StatusCode::kUnimplemented);
  EXPECT_NE(ReceiveRaw(*socket).find("peer frames of version 2"), std::string::npos);
}

// --- ends ----------------------------------------------------------------------------------------

TEST_F(PeerStreamTest, CloseEndsBothWithCancelled) {
  Join();
  StartReceive(*dialler_, *near_gate_);
  std::optional<Status> sent;
  const std::string body(4 << 20, 'x');
  near_gate_->Spawn("send", io::ReadyClass::kClient, SendTask(*dialler_, body, sent));
  world_.RunFor(Seconds(1));
  EXPECT_FALSE(sent.has_value());
  dialler_->Close();
  world_.RunFor(Milliseconds(1));
  EXPECT_EQ(sent->code(), StatusCode::kCancelled);
  EXPECT_EQ(got_status_->code(), StatusCode::kCancelled);
  // The other side reads what had arrived, then sees the end.
  const Status end = Receive(far_, *dialled_);
  EXPECT_EQ(end.code(), StatusCode::kUnavailable);
  EXPECT_TRUE(Contains(end, "10.0.0.1")) << end;
}

TEST_F(PeerStreamTest, StopClosesItAtAnyTime) {
  io::StopSource stop;
  AcceptOne();
  ASSERT_TRUE(Dial(kHello, {.stop = stop.token()}).ok());
  StartReceive(*dialler_, *near_gate_);
  world_.RunFor(Milliseconds(10));
  stop.RequestStop();
  world_.RunFor(Milliseconds(1));
  EXPECT_EQ(got_status_->code(), StatusCode::kCancelled);
  dialler_.reset();
  dialled_.reset();
  AcceptOne();
  EXPECT_EQ(Dial(kHello, {.stop = stop.token()}).code(), StatusCode::kCancelled);
  world_.RunFor(Milliseconds(10));
  EXPECT_EQ(accepted_->code(), StatusCode::kUnavailable);
}

TEST_F(PeerStreamTest, StopEndsAnIntroduction) {
  io::StopSource stop;
  const MonoTime begin = world_.Now();
  world_.At(Milliseconds(100), [&] { stop.RequestStop(); });
  EXPECT_EQ(Dial(kHello, {.stop = stop.token()}).code(), StatusCode::kCancelled);
  EXPECT_LT((world_.Now() - begin).ms(), 120);
}

TEST_F(PeerStreamTest, ResetIsUnavailable) {
  Join();
  StartReceive(*dialled_, *far_gate_);
  world_.network().ResetConnections(near_machine_, far_machine_);
  world_.RunFor(Milliseconds(10));
  EXPECT_EQ(got_status_->code(), StatusCode::kUnavailable);
  EXPECT_EQ(world_.Await(near_, dialler_->Send(1, "x")).code(), StatusCode::kUnavailable);
}

TEST_F(PeerStreamTest, NothingIsGivenOutOnceClosed) {
  AcceptOne();
  const std::unique_ptr<io::Socket> socket = ConnectRaw();
  PeerFrameEncoder encoder(net::PeerCompression::kOff);
  std::string bytes;
  encoder.Encode(kHelloType, HelloBody(3, 1), bytes);
  for (int i = 0; i < 3; ++i) encoder.Encode(1, "message", bytes);
  // In one segment, so that all frames are held once the first is asked for.
  world_.network().options().small_per_cent = 0;
  SendRaw(*socket, bytes);
  EXPECT_TRUE(Receive(far_, *dialled_).ok());
  EXPECT_TRUE(Receive(far_, *dialled_).ok());
  dialled_->Close();
  EXPECT_EQ(Receive(far_, *dialled_).code(), StatusCode::kCancelled);
  socket->Close();
}

TEST_F(PeerStreamTest, DamageAndWrongFramesEndIt) {
  for (const bool damaged : {true, false}) {
    AcceptOne();
    const std::unique_ptr<io::Socket> socket = ConnectRaw();
    PeerFrameEncoder encoder(net::PeerCompression::kOff);
    std::string bytes;
    encoder.Encode(kHelloType, HelloBody(3, 3), bytes);
    encoder.Encode(damaged ? 1 : kHelloType, "content", bytes);
    if (damaged) bytes.back() ^= 1;
    SendRaw(*socket, bytes);
    const Status status = Receive(far_, *dialled_);
    EXPECT_EQ(status.code(), StatusCode::kDataLoss);
    EXPECT_TRUE(Contains(status, damaged ? "checksum" : "unexpected frame")) << status;
    EXPECT_TRUE(Contains(status, "10.0.0.1")) << status;
    socket->Close();
    dialled_.reset();
  }
}

TEST_F(PeerStreamTest, ReservedTypesAreNotTheUsers) {
  Join();
  EXPECT_DEATH(static_cast<void>(world_.Await(near_, dialler_->Send(net::kPeerReservedTypes, ""))),
               "CHECK failed");
  EXPECT_DEATH(static_cast<void>(world_.Await(near_, dialler_->SendAlive())), "CHECK failed");
}

TEST_F(PeerStreamTest, MessagesGoOneWay) {
  PeerHello hello = kHello;
  hello.kind = PeerStreamKind::kMessages;
  Join(hello);
  EXPECT_DEATH(static_cast<void>(world_.Await(far_, dialled_->Send(1, "x"))), "CHECK failed");
}

// --- silence -------------------------------------------------------------------------------------

TEST_F(PeerStreamTest, SilenceEndsAReceive) {
  Join(kHello, {.silence_max = Seconds(3)});
  StartReceive(*dialler_, *near_gate_);
  world_.RunFor(Milliseconds(2900));
  ASSERT_FALSE(got_status_.has_value());
  ASSERT_TRUE(world_.Await(far_, dialled_->Send(1, "x")).ok());
  world_.RunFor(Milliseconds(10));
  ASSERT_TRUE(got_status_->ok());
  // Time in which nobody waits does not count.
  world_.RunFor(Seconds(10));
  StartReceive(*dialler_, *near_gate_);
  world_.RunFor(Milliseconds(2900));
  ASSERT_FALSE(got_status_.has_value());
  world_.RunFor(Milliseconds(200));
  EXPECT_EQ(got_status_->code(), StatusCode::kUnavailable);
  EXPECT_TRUE(Contains(*got_status_, "10.0.0.2:2380: nothing heard for 3000 ms")) << *got_status_;
  EXPECT_EQ(world_.Await(near_, dialler_->Send(1, "x")).code(), StatusCode::kUnavailable);
}

TEST_F(PeerStreamTest, StuckSendEndsIt) {
  Join(kHello, {.silence_max = Seconds(3)});
  const MonoTime begin = world_.Now();
  const Status sent = world_.Await(near_, dialler_->Send(1, std::string(1 << 20, 'x')));
  EXPECT_EQ(sent.code(), StatusCode::kUnavailable);
  EXPECT_TRUE(Contains(sent, "takes nothing for 3000 ms")) << sent;
  EXPECT_NEAR(static_cast<double>((world_.Now() - begin).ms()), 3000.0, 100.0);
}

// 8 MiB at some 400 KiB a second: slow, but every piece makes it in time.
TEST_F(PeerStreamTest, SlowSendIsNotStuck) {
  Join(kHello, {.silence_max = Seconds(3)});
  world_.network().SetSlowFactor(near_machine_, far_machine_, 2000);
  StartReceive(*dialled_, *far_gate_);
  const MonoTime begin = world_.Now();
  const Status sent =
      world_.Await(near_, dialler_->Send(1, std::string(8 << 20, 'x')), Seconds(600));
  EXPECT_TRUE(sent.ok()) << sent;
  EXPECT_GT((world_.Now() - begin).ms(), 6'000);
  world_.RunFor(Seconds(20));
  EXPECT_TRUE(got_status_->ok());
}

TEST_F(PeerStreamTest, WithoutALimitNothingEndsIt) {
  Join();
  StartReceive(*dialler_, *near_gate_);
  world_.RunFor(Seconds(3600));
  EXPECT_FALSE(got_status_.has_value());
}

// --- death of the process ------------------------------------------------------------------------

TEST_F(PeerStreamTest, RuntimeStopIsCancelled) {
  Join();
  StartReceive(*dialler_, *near_gate_);
  world_.RunFor(Milliseconds(1));
  near_machine_.KillProcess();
  near_machine_.DrainDead();
  EXPECT_EQ(got_status_->code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace metastore::net_test
