// Aim: a snapshot reaches another member whole or not at all, whatever happens to the link, the
// disks and the two processes, within its rate and its memory. Method: two simulated machines, a
// file of some pieces, faults one by one, then random cuts; malformed frames by hand.
#include "server/snapshot_transfer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/base/coding.h"
#include "io/base/prng.h"
#include "io/gate.h"
#include "tests/engine/snapshot_fixture.h"

namespace metastore::server {
namespace {

using engine::SnapshotPath;
using sim::SimFault;
using Paths = std::vector<std::string>;

constexpr uint16_t kPeerPort = 2380;
constexpr size_t kNoiseBytes = 3'000'000;

// The dialled member: serves each stream by `serve`.
class Receiver final {
 public:
  using Serve = std::function<io::Task<void>(net::PeerStream&)>;

  Receiver(io::Runtime& runtime, Serve serve)
      : runtime_(runtime), serve_(std::move(serve)), gate_(runtime.scheduler()) {
    StatusOr<std::unique_ptr<io::Listener>> listener = runtime.Listen({"0.0.0.0", kPeerPort});
    CHECK(listener.ok());
    listener_ = *std::move(listener);
    gate_.Spawn("test.accept", io::ReadyClass::kClient, AcceptLoop());
  }
  io::Task<void> Stop() {
    listener_->Close();
    stop_.RequestStop();
    co_await gate_.Close();
  }
  void CloseStreams() {
    for (net::PeerStream* stream : streams_) stream->Close();
  }

 private:
  io::Task<void> AcceptLoop() {
    while (true) {
      StatusOr<std::unique_ptr<io::Socket>> socket = co_await listener_->Accept();
      if (!socket.ok()) co_return;
      gate_.Spawn("test.serve", io::ReadyClass::kClient, ServeOne(*std::move(socket)));
    }
  }
  io::Task<void> ServeOne(std::unique_ptr<io::Socket> socket) {
    const net::PeerStreamOptions options{.silence_max = Seconds(3), .stop = stop_.token()};
    StatusOr<std::unique_ptr<net::PeerStream>> stream =
        co_await net::PeerStream::Accept(runtime_, std::move(socket), options);
    if (!stream.ok()) co_return;
    const Status answered = co_await (*stream)->Answer(OkStatus());
    if (!answered.ok()) co_return;
    streams_.push_back(stream->get());
    co_await serve_(**stream);
    std::erase(streams_, stream->get());
  }

  io::Runtime& runtime_;
  const Serve serve_;
  std::unique_ptr<io::Listener> listener_;
  std::vector<net::PeerStream*> streams_;
  io::StopSource stop_;
  io::Gate gate_;
};

PeerMessage MessageOf(uint64_t index) {
  raft::ConfState conf;
  conf.voters = {NodeId(1), NodeId(2)};
  PeerMessage message{.group = GroupId(1), .message = {}};
  message.message.type = raft::MessageType::kSnapshot;
  message.message.from = NodeId(1);
  message.message.to = NodeId(2);
  message.message.term = Term(9);
  message.message.snapshot = std::make_shared<const raft::SnapshotMeta>(
      raft::SnapshotMeta{.last = {Term(7), LogIndex(index)}, .conf = conf});
  return message;
}

std::string Encoded(const PeerMessage& message) {
  std::string bytes;
  EncodePeerMessage(message.group, message.message, bytes);
  return bytes;
}

io::Task<StatusOr<std::unique_ptr<net::PeerStream>>> DialIt(io::Runtime& runtime,
                                                            io::Address address) {
  const net::PeerHello hello{
      .kind = net::PeerStreamKind::kSnapshot, .from = NodeId(1), .to = NodeId(2)};
  return net::PeerStream::Dial(runtime, std::move(address), hello, {.silence_max = Seconds(3)});
}

io::Task<Status> SendTo(engine::SnapshotNode& leader, io::Address address, uint64_t index,
                        SnapshotSendOptions options, io::StopToken stop) {
  StatusOr<std::unique_ptr<net::PeerStream>> stream =
      co_await DialIt(leader.runtime(), std::move(address));
  MS_CO_RETURN_IF_ERROR(stream.status());
  const Status sent = co_await SendSnapshot(leader.runtime(), **stream, leader.store(),
                                            MessageOf(index), options, stop);
  (*stream)->Close();
  co_return sent;
}

io::Task<void> SendAfter(Duration wait, engine::SnapshotNode& leader, io::Address address,
                         SnapshotSendOptions options, Status& result) {
  co_await io::SleepUntil(leader.runtime(), leader.runtime().Now() + wait);
  result = co_await SendTo(leader, std::move(address), 100, options, {});
}

class TransferTest : public testing::Test {
 protected:
  explicit TransferTest(uint64_t seed = 1)
      : world_(seed), leader_(world_, "leader"), follower_(world_, "follower") {
    CHECK(leader_.Open().ok());
    WriteAtLeader(100);
    Boot();
  }
  ~TransferTest() override { Shut(); }

  // The follower's side; its disk stays.
  void Boot() {
    CHECK(follower_.Open().ok());
    intake_ = std::make_unique<SnapshotIntake>(follower_.runtime(), follower_.store());
    receiver_ = std::make_unique<Receiver>(
        follower_.runtime(), [this](net::PeerStream& stream) { return ReceiveOne(stream); });
  }
  void Shut() {
    if (follower_.machine().dead()) {
      follower_.machine().DrainDead();
    } else {
      follower_.Await(receiver_->Stop());
    }
    receiver_.reset();
    intake_.reset();
  }
  io::Task<void> ReceiveOne(net::PeerStream& stream) {
    StatusOr<PeerMessage> message = co_await intake_->Receive(stream);
    received_.push_back(std::move(message));
  }

  // A snapshot at `index` of about kNoiseBytes.
  void WriteAtLeader(uint64_t index) {
    leader_.ApplyNoiseUpTo(index, kNoiseBytes);
    CHECK(leader_.Write().ok());
  }
  io::Address address() const { return {"10.0.0.2", kPeerPort}; }
  Status Send(uint64_t index = 100, uint64_t bytes_per_second = 0) {
    return leader_.Await(
        SendTo(leader_, address(), index, {.bytes_per_second_max = bytes_per_second}, {}));
  }
  // Received, installed, and the leader's state.
  void ExpectArrived(uint64_t index) {
    ASSERT_FALSE(received_.empty());
    ASSERT_TRUE(received_.back().ok()) << received_.back().status();
    EXPECT_EQ(Encoded(*received_.back()), Encoded(MessageOf(index)));
    const auto loaded =
        follower_.Await(follower_.store().LoadReceived(follower_.engine(), LogIndex(index)));
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(follower_.Digest(), leader_.Digest());
  }
  void ExpectRefused(StatusCode code) {
    ASSERT_FALSE(received_.empty());
    EXPECT_EQ(received_.back().status().code(), code) << received_.back().status();
  }
  void ResetLinkAfter(Duration after) {
    world_.At(after, [this] {
      world_.network().ResetConnections(leader_.machine(), follower_.machine());
    });
  }
  uint64_t delivered() { return world_.network().counters().bytes; }

  sim::SimWorld world_;
  engine::SnapshotNode leader_;
  engine::SnapshotNode follower_;
  std::unique_ptr<SnapshotIntake> intake_;
  std::unique_ptr<Receiver> receiver_;
  std::vector<StatusOr<PeerMessage>> received_;
};

TEST_F(TransferTest, FileArrivesWhole) {
  const Status sent = Send();
  ASSERT_TRUE(sent.ok()) << sent;
  ExpectArrived(100);
  EXPECT_EQ(follower_.Files(), Paths{SnapshotPath(100)});
  // Both copies are the same but for the trailer.
  const uint64_t stream_bytes = leader_.store().files()[0].stream_bytes;
  EXPECT_EQ(follower_.disk().ReadDurable(SnapshotPath(100), 0, stream_bytes),
            leader_.disk().ReadDurable(SnapshotPath(100), 0, stream_bytes));
}

TEST_F(TransferTest, PiecesAreBounded) {
  uint64_t read_most = 0;
  uint64_t written_most = 0;
  leader_.disk().OnIo([&](const sim::SimIo& io) {
    if (io.op == sim::SimDiskOp::kRead) read_most = std::max(read_most, io.size);
    return sim::SimIoVerdict();
  });
  follower_.disk().OnIo([&](const sim::SimIo& io) {
    if (io.op == sim::SimDiskOp::kWrite) written_most = std::max(written_most, io.size);
    return sim::SimIoVerdict();
  });
  ASSERT_TRUE(Send().ok());
  EXPECT_EQ(read_most, kSnapshotPieceBytes);
  EXPECT_EQ(written_most, engine::kSnapshotWriteBytes);
}

TEST_F(TransferTest, BrokenLinkIsResumedWhereItBroke) {
  ResetLinkAfter(Milliseconds(300));
  EXPECT_EQ(Send(100, 5'000'000).code(), StatusCode::kUnavailable);
  const uint64_t before = delivered();
  EXPECT_GT(before, 1'000'000u);
  ExpectRefused(StatusCode::kUnavailable);
  ASSERT_TRUE(Send().ok());
  // What was on its way is sent again, what had come is not.
  EXPECT_LT(delivered(), kNoiseBytes + 700'000);
  EXPECT_LT(delivered() - before, 2'500'000u);
  ExpectArrived(100);
}

TEST_F(TransferTest, SilentLinkIsGivenUpAndResumed) {
  world_.At(Milliseconds(300),
            [this] { world_.network().Cut(leader_.machine(), follower_.machine()); });
  const MonoTime begin = world_.Now();
  EXPECT_EQ(Send(100, 5'000'000).code(), StatusCode::kUnavailable);
  EXPECT_LT(world_.Now() - begin, Seconds(4));
  world_.RunFor(Seconds(4));  // the receiver hears nothing either
  ExpectRefused(StatusCode::kUnavailable);
  world_.network().HealAll();
  const uint64_t before = delivered();
  ASSERT_TRUE(Send().ok());
  EXPECT_LT(delivered() - before, 2'500'000u);
  ExpectArrived(100);
}

TEST_F(TransferTest, AnyNumberOfCutsIsSurvived) {
  Prng prng(7);
  Status sent = UnknownError("not sent");
  int attempts = 0;
  for (; attempts < 200 && !sent.ok(); ++attempts) {
    ResetLinkAfter(Microseconds(static_cast<int64_t>(prng.Between(1, 20'000))));
    sent = Send(100, 20'000'000);
    EXPECT_TRUE(sent.ok() || sent.code() == StatusCode::kUnavailable) << sent;
    world_.RunFor(Milliseconds(50));
  }
  ASSERT_TRUE(sent.ok()) << sent;
  EXPECT_GT(attempts, 5);
  ExpectArrived(100);
}

TEST_F(TransferTest, RestartedReceiverBeginsAnew) {
  world_.At(Milliseconds(300), [this] { follower_.machine().PowerLoss(); });
  EXPECT_EQ(Send(100, 5'000'000).code(), StatusCode::kUnavailable);
  Shut();
  follower_.Restart();
  Boot();
  EXPECT_TRUE(follower_.store().files().empty());
  ASSERT_TRUE(Send().ok());
  ExpectArrived(100);
}

TEST_F(TransferTest, AnotherOfferReplacesAnInterruptedOne) {
  ResetLinkAfter(Milliseconds(300));
  EXPECT_EQ(Send(100, 5'000'000).code(), StatusCode::kUnavailable);
  world_.RunFor(Milliseconds(10));
  EXPECT_EQ(follower_.Files(), Paths{SnapshotPath(100)});
  WriteAtLeader(110);
  ASSERT_TRUE(Send(110).ok());
  EXPECT_EQ(follower_.Files(), Paths{SnapshotPath(110)});
  ExpectArrived(110);
}

TEST_F(TransferTest, SecondStreamIsDeclined) {
  Status second;
  io::Gate gate(leader_.runtime().scheduler());
  gate.Spawn("test.second", io::ReadyClass::kClient,
             SendAfter(Milliseconds(100), leader_, address(), {}, second));
  ASSERT_TRUE(Send(100, 10'000'000).ok());
  leader_.Await(gate.Close());
  EXPECT_EQ(second.code(), StatusCode::kUnavailable);
  EXPECT_NE(StdView(second.message()).find("another snapshot"), std::string_view::npos) << second;
  ExpectArrived(100);
}

TEST_F(TransferTest, WhatIsPendingIsDeclinedAndWhatIsInstalledIsNotSent) {
  ASSERT_TRUE(Send().ok());
  EXPECT_EQ(Send().code(), StatusCode::kUnavailable);
  ExpectRefused(StatusCode::kUnavailable);
  ASSERT_TRUE(
      follower_.Await(follower_.store().LoadReceived(follower_.engine(), LogIndex(100))).ok());
  follower_.store().NoteInstalled(LogIndex(100));
  const uint64_t before = delivered();
  ASSERT_TRUE(Send().ok());
  EXPECT_LT(delivered() - before, 2'000u);
  ASSERT_TRUE(received_.back().ok());
  EXPECT_EQ(Encoded(*received_.back()), Encoded(MessageOf(100)));
}

TEST_F(TransferTest, DamagedFileIsNoticedHereAndSetAside) {
  leader_.disk().FlipBit(SnapshotPath(100), 2'000'000, 1);
  const Status sent = Send();
  EXPECT_EQ(sent.code(), StatusCode::kDataLoss);
  EXPECT_NE(StdView(sent.message()).find(SnapshotPath(100)), std::string_view::npos) << sent;
  EXPECT_TRUE(leader_.store().files().empty());
  ExpectRefused(StatusCode::kDataLoss);
  EXPECT_TRUE(follower_.Files().empty());
}

TEST_F(TransferTest, UnreadableFileIsNoticedHereAndSetAside) {
  leader_.disk().MarkUnreadable(SnapshotPath(100), 2'000'384);
  EXPECT_EQ(Send().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(leader_.store().files().empty());
}

TEST_F(TransferTest, PassingReadErrorIsTriedAgain) {
  leader_.disk().FailNext(SimFault::kReadError, SnapshotPath(100), 4);
  EXPECT_EQ(Send().code(), StatusCode::kUnavailable);
  ASSERT_TRUE(Send().ok());
  ExpectArrived(100);
}

TEST_F(TransferTest, DamageOnTheReceiversSideIsNotTheSenders) {
  follower_.disk().FailNext(SimFault::kSyncError, SnapshotPath(100));
  EXPECT_EQ(Send().code(), StatusCode::kUnavailable);
  EXPECT_EQ(leader_.store().files().size(), 1u);
  EXPECT_TRUE(follower_.Files().empty());
  ASSERT_TRUE(Send().ok());
  ExpectArrived(100);
}

TEST_F(TransferTest, FullDiskIsToldInTheReceiversWords) {
  follower_.ApplyUpTo(20);
  ASSERT_TRUE(follower_.Write().ok());
  // The file, its space, a write later on: refused at the offer twice, then under way.
  for (const uint64_t skip : {0u, 1u, 3u}) {
    for (const uint64_t rate : {20'000'000u, 0u}) {
      follower_.disk().FailNext(SimFault::kNoSpace, SnapshotPath(100), skip);
      const Status sent = Send(100, rate);
      EXPECT_EQ(sent.code(), StatusCode::kResourceExhausted) << sent;
      EXPECT_NE(StdView(sent.message()).find("the receiver: "), std::string_view::npos) << sent;
      world_.RunFor(Milliseconds(10));
      ExpectRefused(StatusCode::kResourceExhausted);
      EXPECT_EQ(follower_.Files(), Paths{SnapshotPath(20)});
    }
  }
}

TEST_F(TransferTest, FileRemovedMeanwhileArrivesAllTheSame) {
  Status sent;
  io::Gate gate(leader_.runtime().scheduler());
  gate.Spawn("test.send", io::ReadyClass::kClient,
             SendAfter(Duration(), leader_, address(), {.bytes_per_second_max = 2'000'000}, sent));
  world_.RunFor(Milliseconds(100));
  const uint64_t digest = leader_.Digest();
  WriteAtLeader(110);
  WriteAtLeader(120);
  EXPECT_EQ(leader_.Files(), (Paths{SnapshotPath(110), SnapshotPath(120)}));
  EXPECT_TRUE(received_.empty());
  leader_.Await(gate.Close());
  ASSERT_TRUE(sent.ok()) << sent;
  ASSERT_TRUE(
      follower_.Await(follower_.store().LoadReceived(follower_.engine(), LogIndex(100))).ok());
  EXPECT_EQ(follower_.Digest(), digest);
  EXPECT_EQ(Send(100).code(), StatusCode::kNotFound);
}

TEST_F(TransferTest, RateIsKept) {
  const auto bytes = static_cast<double>(leader_.store().files()[0].stream_bytes);
  for (const uint64_t rate : {200'000u, 1'000'000u, 8'000'000u}) {
    const MonoTime begin = world_.Now();
    ASSERT_TRUE(Send(100, rate).ok());
    const double seconds = static_cast<double>((world_.Now() - begin).us()) / 1e6;
    EXPECT_NEAR(bytes / seconds, static_cast<double>(rate), static_cast<double>(rate) / 10);
    follower_.store().Discard(LogIndex(100));
  }
}

TEST_F(TransferTest, StopEndsTheSenderAtOnce) {
  for (int64_t after_us : {0, 300, 1'000, 5'000, 100'000, 301'234}) {
    io::StopSource stop;
    MonoTime stopped;
    world_.At(Microseconds(after_us), [&] {
      stopped = world_.Now();
      stop.RequestStop();
    });
    const Status sent = leader_.Await(
        SendTo(leader_, address(), 100, {.bytes_per_second_max = 1'000'000}, stop.token()));
    EXPECT_EQ(sent.code(), StatusCode::kCancelled) << sent;
    EXPECT_LT(world_.Now() - stopped, Milliseconds(5));
    world_.RunFor(Milliseconds(10));
  }
  ASSERT_TRUE(Send().ok());
  ExpectArrived(100);
}

TEST_F(TransferTest, ClosedStreamEndsTheReceiverAtOnce) {
  for (int64_t after_us : {2'000, 5'000, 100'000, 301'234}) {
    const size_t before = received_.size();
    MonoTime closed;
    MonoTime ended;
    world_.At(Microseconds(after_us), [&] {
      closed = world_.Now();
      receiver_->CloseStreams();
      EXPECT_TRUE(world_.RunUntil([&] { return received_.size() > before; }, Seconds(1)));
      ended = world_.Now();
    });
    EXPECT_EQ(Send(100, 1'000'000).code(), StatusCode::kUnavailable);
    ASSERT_EQ(received_.size(), before + 1);
    ExpectRefused(StatusCode::kCancelled);
    EXPECT_LT(ended - closed, Milliseconds(10));
  }
  ASSERT_TRUE(Send().ok());
  ExpectArrived(100);
}

// --- peers that keep to nothing ------------------------------------------------------------------

std::string OfferOf(const PeerMessage& message, uint8_t version = 1,
                    uint64_t stream_bytes = 3'000'000) {
  std::string body;
  PutU8(body, version);
  PutU64(body, stream_bytes);
  PutU64(body, 12345);
  return body + Encoded(message);
}

struct RawFrame {
  uint16_t type;
  std::string body;
};

// Sends all frames as they are (CHECKed), and returns the code of the first verdict that is not OK.
io::Task<StatusCode> SendRaw(io::Runtime& runtime, io::Address address,
                             std::vector<RawFrame> frames) {
  StatusOr<std::unique_ptr<net::PeerStream>> stream = co_await DialIt(runtime, std::move(address));
  CHECK(stream.ok());
  for (const RawFrame& frame : frames) {
    const Status sent = co_await (*stream)->Send(frame.type, frame.body);
    CHECK(sent.ok());
  }
  StatusCode code = StatusCode::kOk;
  while (code == StatusCode::kOk) {
    const StatusOr<net::PeerFrame> frame = co_await (*stream)->Receive();
    if (!frame.ok()) break;
    if (frame->body.empty()) continue;
    code = static_cast<StatusCode>(frame->body[0]);
  }
  (*stream)->Close();
  co_return code;
}

TEST_F(TransferTest, MalformedOffersAreRefused) {
  PeerMessage vote = MessageOf(100);
  vote.message.type = raft::MessageType::kVote;
  PeerMessage bare = MessageOf(100);
  bare.message.snapshot = nullptr;
  PeerMessage stranger = MessageOf(100);
  stranger.message.from = NodeId(3);
  PeerMessage astray = MessageOf(100);
  astray.message.to = NodeId(3);
  const std::string good = OfferOf(MessageOf(100));
  const std::vector<std::pair<RawFrame, StatusCode>> offers = {
      {{1, ""}, StatusCode::kDataLoss},
      {{1, std::string(1, '\1')}, StatusCode::kDataLoss},
      {{1, good.substr(0, 17)}, StatusCode::kDataLoss},
      {{1, good.substr(0, good.size() - 1)}, StatusCode::kDataLoss},
      {{1, good + "x"}, StatusCode::kDataLoss},
      {{2, good}, StatusCode::kDataLoss},
      {{1, OfferOf(MessageOf(100), 2)}, StatusCode::kUnimplemented},
      {{1, OfferOf(vote)}, StatusCode::kDataLoss},
      {{1, OfferOf(bare)}, StatusCode::kDataLoss},
      {{1, OfferOf(stranger)}, StatusCode::kDataLoss},
      {{1, OfferOf(astray)}, StatusCode::kDataLoss},
      {{1, OfferOf(MessageOf(0))}, StatusCode::kInvalidArgument},
  };
  for (const auto& [frame, expected] : offers) {
    const StatusCode told = leader_.Await(SendRaw(leader_.runtime(), address(), {frame}));
    EXPECT_EQ(told, expected) << frame.body.size();
    ExpectRefused(expected);
  }
  EXPECT_TRUE(follower_.Files().empty());
  ASSERT_TRUE(Send().ok());
}

TEST_F(TransferTest, MalformedDataIsRefused) {
  const RawFrame offer{1, OfferOf(MessageOf(100))};
  const std::vector<RawFrame> wrong = {{3, ""},
                                       {3, std::string(kSnapshotPieceBytes + 1, 'x')},
                                       {4, "x"},
                                       {3, std::string(kSnapshotPieceBytes, 'x')}};
  for (const RawFrame& frame : wrong) {
    const StatusCode told = leader_.Await(SendRaw(leader_.runtime(), address(), {offer, frame}));
    EXPECT_EQ(told, StatusCode::kDataLoss);
    world_.RunFor(Milliseconds(10));
    ExpectRefused(StatusCode::kDataLoss);
    EXPECT_TRUE(follower_.Files().empty());
  }
  ASSERT_TRUE(Send().ok());
}

// A stream closed with bytes unread is reset, and a reset can overtake the verdict.
TEST_F(TransferTest, WhatIsUnderWayIsReadBeforeAFailedTransferIsClosed) {
  std::vector<RawFrame> frames = {{1, OfferOf(MessageOf(100))}, {4, "no data"}};
  for (int i = 0; i < 8; ++i) frames.push_back({3, std::string(kSnapshotPieceBytes, 'x')});
  EXPECT_EQ(leader_.Await(SendRaw(leader_.runtime(), address(), frames)), StatusCode::kDataLoss);
}

TEST_F(TransferTest, InterruptedTransferOfAnotherFileIsNotResumed) {
  const uint64_t stream_bytes = leader_.store().files()[0].stream_bytes;
  const RawFrame offer{1, OfferOf(MessageOf(100), 1, stream_bytes)};
  EXPECT_EQ(leader_.Await(SendRaw(leader_.runtime(), address(), {offer})), StatusCode::kOk);
  world_.RunFor(Milliseconds(10));
  EXPECT_EQ(follower_.Files(), Paths{SnapshotPath(100)});
  ASSERT_TRUE(Send().ok());
  ExpectArrived(100);
}

std::string VerdictOf(StatusCode code, std::string_view text) {
  std::string body;
  PutU8(body, static_cast<uint8_t>(code));
  PutU16(body, static_cast<uint16_t>(text.size()));
  body += text;
  return body;
}

// Answers the offer with the given frames, and reads what comes.
io::Task<void> AnswerRaw(net::PeerStream& stream, std::vector<RawFrame> frames) {
  const StatusOr<net::PeerFrame> offer = co_await stream.Receive();
  if (!offer.ok()) co_return;
  for (const RawFrame& frame : frames) {
    const Status sent = co_await stream.Send(frame.type, frame.body);
    if (!sent.ok()) co_return;
  }
  StatusOr<net::PeerFrame> data = offer;
  while (data.ok()) data = co_await stream.Receive();
}

TEST_F(TransferTest, ReceiverThatKeepsToNothingIsHarmless) {
  std::string resume = VerdictOf(StatusCode::kOk, "");
  PutU64(resume, 0);
  std::string beyond = VerdictOf(StatusCode::kOk, "");
  PutU64(beyond, uint64_t{1} << 40);
  const std::vector<std::pair<std::vector<RawFrame>, StatusCode>> answers = {
      {{{2, ""}}, StatusCode::kUnavailable},
      {{{2, VerdictOf(StatusCode::kOk, "")}}, StatusCode::kUnavailable},
      {{{2, beyond}}, StatusCode::kUnavailable},
      {{{4, resume}}, StatusCode::kUnavailable},
      {{{2, resume + "x"}}, StatusCode::kUnavailable},
      {{{2, VerdictOf(static_cast<StatusCode>(99), "")}}, StatusCode::kUnavailable},
      {{{2, VerdictOf(StatusCode::kCancelled, "stopping")}}, StatusCode::kUnavailable},
      {{{2, VerdictOf(StatusCode::kPermissionDenied, "no")}}, StatusCode::kPermissionDenied},
      {{{2, resume}, {1, ""}}, StatusCode::kUnavailable},
      {{{2, resume}, {5, ""}}, StatusCode::kUnavailable},
      {{{2, resume}, {5, VerdictOf(StatusCode::kOk, "")}}, StatusCode::kUnavailable},
      {{{2, resume}, {5, VerdictOf(StatusCode::kNotFound, "")}}, StatusCode::kUnavailable},
      {{{2, resume}, {5, VerdictOf(StatusCode::kInternal, "x")}}, StatusCode::kInternal},
  };
  for (size_t i = 0; i < answers.size(); ++i) {
    follower_.Await(receiver_->Stop());
    receiver_ = std::make_unique<Receiver>(follower_.runtime(), [&, i](net::PeerStream& stream) {
      return AnswerRaw(stream, answers[i].first);
    });
    EXPECT_EQ(Send().code(), answers[i].second) << i;
    EXPECT_EQ(leader_.store().files().size(), 1u);
  }
}

}  // namespace
}  // namespace metastore::server
