#include "server/snapshot_transfer.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/gate.h"

namespace metastore::server {
namespace {

// Contents of the frames, little-endian:
//   offer     u8 version (1) | u64 stream bytes | u64 stream hash | message
//   resume    verdict | u64 offset, if it is OK
//   data      bytes
//   progress  nothing
//   end       verdict
// A verdict is u8 status code | u16 length | text.
constexpr uint16_t kOffer = 1;
constexpr uint16_t kResume = 2;
constexpr uint16_t kData = 3;
constexpr uint16_t kProgress = 4;
constexpr uint16_t kEnd = 5;
constexpr uint8_t kOfferVersion = 1;
constexpr size_t kVerdictTextMax = 512;
// Frames of a limited transfer are so small that one comes at least so often, but whole blocks.
constexpr uint64_t kPiecesPerSecond = 4;
constexpr uint64_t kPieceBytesMin = 4096;

void PutVerdict(std::string& out, const Status& verdict) {
  const std::string_view text = StdView(verdict.message()).substr(0, kVerdictTextMax);
  PutU8(out, static_cast<uint8_t>(verdict.code()));
  PutU16(out, static_cast<uint16_t>(text.size()));
  out += text;
}

// What the receiver says, as an error of SendSnapshot. That it is stopping means: later again. What
// it may have missed or lost is for this side to judge.
Status ReadVerdict(Reader& in) {
  const uint8_t code = in.U8();
  const std::string_view text = in.Bytes(in.U16());
  if (!in.ok() || code > static_cast<uint8_t>(StatusCode::kUnauthenticated)) {
    return DataLossError("a malformed verdict");
  }
  StatusCode said = static_cast<StatusCode>(code);
  if (said == StatusCode::kOk) return OkStatus();
  if (said == StatusCode::kCancelled || said == StatusCode::kNotFound) {
    said = StatusCode::kUnavailable;
  }
  return MakeStatus(said, "the receiver: ", text);
}

// When the next piece may go, so that the rate holds on average; a pause is made up for in part.
class Pacer final {
 public:
  Pacer(uint64_t bytes_per_second, MonoTime now) : rate_(bytes_per_second), next_(now) {}

  bool limits() const { return rate_ != 0; }
  MonoTime next() const { return next_; }
  void Sent(size_t bytes, MonoTime now) {
    static_assert(kSnapshotPieceBytes < UINT64_MAX / 1'000'000'000);
    const uint64_t ns = bytes * uint64_t{1'000'000'000} / rate_;
    next_ = std::max(next_, now - kMadeUpFor) + Nanoseconds(static_cast<int64_t>(ns));
  }
  size_t piece_bytes() const {
    if (!limits()) return kSnapshotPieceBytes;
    const uint64_t share = rate_ / kPiecesPerSecond / kPieceBytesMin * kPieceBytesMin;
    return static_cast<size_t>(
        std::clamp<uint64_t>(share, kPieceBytesMin, uint64_t{kSnapshotPieceBytes}));
  }

 private:
  static constexpr Duration kMadeUpFor = Milliseconds(100);
  const uint64_t rate_;
  MonoTime next_;
};

struct CloseOnStop : io::StopCallback {
  explicit CloseOnStop(net::PeerStream& to_close) : stream(to_close) {
    stopped = [](io::StopCallback& self) { static_cast<CloseOnStop&>(self).stream.Close(); };
  }
  net::PeerStream& stream;
};

// One transfer at the sender. While it sends, it listens: the receiver may give up.
class Sender final {
 public:
  Sender(io::Runtime& runtime, net::PeerStream& stream, engine::SnapshotReader& reader)
      : runtime_(runtime), stream_(stream), reader_(reader) {}

  io::Task<Status> Run(const PeerMessage& message, uint64_t bytes_per_second_max) {
    const StatusOr<uint64_t> offset = co_await Offer(message);
    MS_CO_RETURN_IF_ERROR(offset.status());
    offset_ = *offset;
    io::Gate gate(runtime_.scheduler());
    gate.Spawn("snapshot.verdict", io::ReadyClass::kBackground, Listen());
    const Status sent = co_await SendRest(Pacer(bytes_per_second_max, runtime_.Now()));
    if (!sent.ok()) End(sent);
    co_await gate.Close();
    co_return end_;
  }

 private:
  // Returns where to begin.
  io::Task<StatusOr<uint64_t>> Offer(const PeerMessage& message) {
    std::string body;
    PutU8(body, kOfferVersion);
    PutU64(body, reader_.facts().stream_bytes);
    PutU64(body, reader_.facts().stream_hash);
    EncodePeerMessage(message.group, message.message, body);
    const Status sent = co_await stream_.Send(kOffer, body);
    MS_CO_RETURN_IF_ERROR(sent);
    const StatusOr<net::PeerFrame> frame = co_await stream_.Receive();
    MS_CO_RETURN_IF_ERROR(frame.status());
    Reader in(frame->body);
    const Status verdict = ReadVerdict(in);
    MS_CO_RETURN_IF_ERROR(verdict);
    const uint64_t offset = in.U64();
    if (frame->type != kResume || !in.done() || offset > reader_.facts().stream_bytes) {
      co_return DataLossError("a malformed answer to the offer");
    }
    co_return offset;
  }

  // Until the transfer has ended; what ends it first is its result.
  io::Task<void> Listen() {
    while (!ended_) {
      const StatusOr<net::PeerFrame> frame = co_await stream_.Receive();
      if (!frame.ok()) {
        End(frame.status());
      } else if (frame->type == kEnd) {
        Reader in(frame->body);
        const Status verdict = ReadVerdict(in);
        const bool early = verdict.ok() && offset_ < reader_.facts().stream_bytes;
        End(early ? DataLossError("an end before all was sent") : verdict);
      } else if (frame->type != kProgress) {
        End(DataLossError("an unexpected frame of type ", frame->type));
      }
    }
  }

  void End(Status why) {
    if (ended_) return;
    ended_ = true;
    end_ = std::move(why);
    stream_.Close();
    ended_signal_.NotifyAll();
  }

  io::Task<Status> SendRest(Pacer pacer) {
    while (!ended_ && offset_ < reader_.facts().stream_bytes) {
      while (!ended_ && pacer.limits() && runtime_.Now() < pacer.next()) {
        co_await ended_signal_.Wait({.timers = &runtime_, .deadline = pacer.next()});
      }
      const StatusOr<std::string_view> piece = co_await reader_.Read(offset_, pacer.piece_bytes());
      MS_CO_RETURN_IF_ERROR(piece.status());
      if (ended_) break;
      offset_ += piece->size();  // before the receiver can have it
      const Status sent = co_await stream_.Send(kData, *piece);
      MS_CO_RETURN_IF_ERROR(sent);
      if (pacer.limits()) pacer.Sent(piece->size(), runtime_.Now());
    }
    co_return OkStatus();
  }

  io::Runtime& runtime_;
  net::PeerStream& stream_;
  engine::SnapshotReader& reader_;
  uint64_t offset_ = 0;  // sent, or being sent
  bool ended_ = false;
  Status end_;
  io::Signal ended_signal_;
};

}  // namespace

io::Task<Status> SendSnapshot(io::Runtime& runtime, net::PeerStream& stream,
                              engine::SnapshotStore& store, const PeerMessage& message,
                              SnapshotSendOptions options, io::StopToken stop) {
  CHECK(message.message.snapshot != nullptr);
  const LogIndex index = message.message.snapshot->last.index;
  StatusOr<std::unique_ptr<engine::SnapshotReader>> reader = co_await store.OpenReader(index);
  MS_CO_RETURN_IF_ERROR(reader.status());
  CloseOnStop on_stop(stream);
  if (!stop.Register(on_stop)) co_return CancelledError("stopping");
  Sender sender(runtime, stream, **reader);
  const Status sent = co_await sender.Run(message, options.bytes_per_second_max);
  if (stop.stopped()) co_return CancelledError("stopping");
  if (sent.code() != StatusCode::kDataLoss) co_return sent;
  // Here, on the way or there?
  const Status own = co_await store.Verify(index, stop);
  if (own.code() == StatusCode::kDataLoss || stop.stopped()) co_return own;
  co_return UnavailableError(StdView(sent.message()));
}

SnapshotIntake::SnapshotIntake(io::Runtime& runtime, engine::SnapshotStore& store)
    : runtime_(runtime), store_(store) {}

SnapshotIntake::~SnapshotIntake() { CHECK(!busy_); }

StatusOr<SnapshotIntake::Offer> SnapshotIntake::DecodeOffer(const net::PeerStream& stream,
                                                            const net::PeerFrame& frame) {
  Reader in(frame.body);
  const uint8_t version = in.U8();
  if (frame.type != kOffer || !in.ok()) return DataLossError("no offer of a snapshot");
  if (version != kOfferVersion) {
    return UnimplementedError("an offer of a snapshot of version ", int{version});
  }
  Offer offer;
  offer.facts.stream_bytes = in.U64();
  offer.facts.stream_hash = in.U64();
  if (!in.ok()) return DataLossError("a malformed offer of a snapshot");
  StatusOr<PeerMessage> message = DecodePeerMessage(in.rest());
  MS_RETURN_IF_ERROR(message.status());
  offer.message = *std::move(message);
  const raft::Message& raft = offer.message.message;
  if (raft.type != raft::MessageType::kSnapshot || raft.snapshot == nullptr) {
    return DataLossError("an offer without a snapshot");
  }
  if (raft.from != stream.hello().from || raft.to != stream.hello().to) {
    return DataLossError("an offer of other members than its stream's");
  }
  offer.facts.applied_index = raft.snapshot->last.index;
  offer.facts.term = raft.snapshot->last.term;
  return offer;
}

io::Task<StatusOr<PeerMessage>> SnapshotIntake::Receive(net::PeerStream& stream) {
  const StatusOr<net::PeerFrame> frame = co_await stream.Receive();
  MS_CO_RETURN_IF_ERROR(frame.status());
  StatusOr<Offer> offer = DecodeOffer(stream, *frame);
  Status taken = offer.status();
  if (taken.ok() && busy_) taken = UnavailableError("another snapshot is being received");
  if (taken.ok()) {
    busy_ = true;
    taken = co_await Take(stream, *offer);
    busy_ = false;
  } else {
    std::string verdict;
    PutVerdict(verdict, taken);
    const Status told = co_await stream.Send(kResume, verdict);
    static_cast<void>(told);  // it may have gone meanwhile
  }
  MS_CO_RETURN_IF_ERROR(taken);
  co_return std::move(offer->message);
}

// The transfer from the answer to the offer on.
io::Task<Status> SnapshotIntake::Take(net::PeerStream& stream, const Offer& offer) {
  const Status prepared = co_await Prepare(offer);
  const bool here = prepared.code() == StatusCode::kAlreadyExists;
  std::string answer;
  PutVerdict(answer, here ? OkStatus() : prepared);
  if (here) PutU64(answer, offer.facts.stream_bytes);
  if (prepared.ok()) PutU64(answer, partial_->received_bytes());
  const Status answered = co_await stream.Send(kResume, answer);
  if (!prepared.ok() && !here) co_return prepared;
  if (prepared.ok()) {
    runtime_.log().Info("receiving snapshot", {{"index", offer.facts.applied_index.value()},
                                               {"bytes", offer.facts.stream_bytes},
                                               {"from-offset", partial_->received_bytes()}});
  }
  Status taken = answered;
  if (prepared.ok() && answered.ok()) taken = co_await ReceiveRest(stream);
  // An interrupted transfer waits for the next offer; there is nobody to hear a verdict.
  if (partial_ != nullptr) co_return taken;
  answer.clear();
  PutVerdict(answer, taken);
  const Status told = co_await stream.Send(kEnd, answer);
  // What is under way is read: closing before would reset the stream, and could lose the verdict.
  uint64_t rest = taken.ok() || !told.ok() ? 0 : offer.facts.stream_bytes;
  while (rest > 0) {
    const StatusOr<net::PeerFrame> frame = co_await stream.Receive();
    if (!frame.ok() || frame->body.empty()) break;
    rest -= std::min<uint64_t>(rest, frame->body.size());
  }
  co_return here ? OkStatus() : taken;
}

// Makes partial_ the transfer that is offered. Errors: as SnapshotStore::StartReceive
io::Task<Status> SnapshotIntake::Prepare(const Offer& offer) {
  if (partial_ != nullptr) {
    const engine::SnapshotFile& has = partial_->facts();
    const engine::SnapshotFile& is = offer.facts;
    const bool same = has.applied_index == is.applied_index && has.term == is.term &&
                      has.stream_bytes == is.stream_bytes && has.stream_hash == is.stream_hash;
    if (same) co_return OkStatus();
    co_await partial_->Abandon();
    partial_.reset();
  }
  StatusOr<std::unique_ptr<engine::SnapshotReceiver>> receiver =
      co_await store_.StartReceive(offer.facts);
  MS_CO_RETURN_IF_ERROR(receiver.status());
  partial_ = *std::move(receiver);
  co_return OkStatus();
}

// Until the file is valid, and partial_ is none. An error of the stream leaves partial_ as it is,
// one of the file ends it.
io::Task<Status> SnapshotIntake::ReceiveRest(net::PeerStream& stream) {
  while (partial_->received_bytes() < partial_->facts().stream_bytes) {
    const StatusOr<net::PeerFrame> frame = co_await stream.Receive();
    MS_CO_RETURN_IF_ERROR(frame.status());
    const Status stored = co_await StorePiece(*frame);
    if (!stored.ok()) {
      const Status ended = co_await Abandon(stored);
      co_return ended;
    }
    const Status alive = co_await stream.Send(kProgress, {});
    MS_CO_RETURN_IF_ERROR(alive);
  }
  const StatusOr<engine::SnapshotFile> file = co_await partial_->Finish();
  if (!file.ok()) {
    const Status ended = co_await Abandon(file.status());
    co_return ended;
  }
  partial_.reset();
  co_return OkStatus();
}

io::Task<Status> SnapshotIntake::StorePiece(const net::PeerFrame& frame) {
  if (frame.type != kData || frame.body.empty() || frame.body.size() > kSnapshotPieceBytes) {
    co_return DataLossError("no piece of a snapshot, but a frame of type ", frame.type, " with ",
                            frame.body.size(), " bytes");
  }
  const Status added = co_await partial_->Add(frame.body);
  co_return added;
}

io::Task<Status> SnapshotIntake::Abandon(Status why) {
  co_await partial_->Abandon();
  partial_.reset();
  co_return why;
}

}  // namespace metastore::server
