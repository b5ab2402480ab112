#include "net/peer_stream.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "io/base/coding.h"

namespace metastore::net {
namespace {

// Contents of the stream's own frames, little-endian:
//   hello    u16 format version (2) | u8 kind | u64 cluster | u64 from | u64 to | u64 incarnation |
//            u8 rules
//   welcome  u16 format version (2)
//   refusal  u8 status code | text
//   alive    nothing
// Every later version keeps hello's version in its place, so that this one can name it.
constexpr uint16_t kHelloType = kPeerReservedTypes;
constexpr uint16_t kWelcomeType = kPeerReservedTypes + 1;
constexpr uint16_t kRefusalType = kPeerReservedTypes + 2;
constexpr uint16_t kAliveType = kPeerReservedTypes + 3;
constexpr uint16_t kFormatVersion = 3;
// What a stranger can make this side hold.
constexpr size_t kHandshakeBytesMax = limits::kKiB;
constexpr size_t kRefusalTextMax = 512;
// An unanswered attempt to connect cannot be called off: a Stop waits for it.
constexpr Duration kConnectMax = Seconds(1);
// The system takes so much of a frame at a time, so that a slow line is told from a stuck one.
constexpr size_t kSendBytes = 512 * limits::kKiB;
constexpr size_t kKeptBytes = limits::kMiB;  // of the buffer between frames

std::string EncodeHello(const PeerHello& hello) {
  std::string body;
  PutU16(body, kFormatVersion);
  PutU8(body, static_cast<uint8_t>(hello.kind));
  PutU64(body, hello.cluster.value());
  PutU64(body, hello.from.value());
  PutU64(body, hello.to.value());
  PutU64(body, hello.incarnation);
  PutU8(body, hello.rules);
  PutBytes(body, hello.reached_at.size() > kPeerReachedAtMax ? "" : hello.reached_at);
  return body;
}

Status CheckVersion(uint16_t version) {
  if (version == kFormatVersion) return OkStatus();
  return UnimplementedError("one member speaks version ", version, " of the peer protocol, ",
                            "the other version ", kFormatVersion, ": upgrade the older one");
}

bool KnownKind(uint8_t kind) {
  return kind >= static_cast<uint8_t>(PeerStreamKind::kMessages) &&
         kind <= static_cast<uint8_t>(PeerStreamKind::kMembers);
}

StatusOr<PeerHello> DecodeHello(std::string_view body) {
  Reader in(body);
  const uint16_t version = in.U16();
  if (!in.ok()) return DataLossError("a malformed hello");
  MS_RETURN_IF_ERROR(CheckVersion(version));
  PeerHello hello;
  const uint8_t kind = in.U8();
  hello.cluster = ClusterId(in.U64());
  hello.from = NodeId(in.U64());
  hello.to = NodeId(in.U64());
  hello.incarnation = in.U64();
  hello.rules = in.U8();
  hello.reached_at = in.LengthPrefixed();
  if (!in.done() || hello.reached_at.size() > kPeerReachedAtMax)
    return DataLossError("a malformed hello");
  if (!KnownKind(kind))
    return UnimplementedError("a peer stream of kind ", int{kind}, ", unknown to this member");
  hello.kind = static_cast<PeerStreamKind>(kind);
  return hello;
}

std::string EncodeRefusal(const Status& verdict) {
  std::string body;
  PutU8(body, static_cast<uint8_t>(verdict.code()));
  body.append(StdView(verdict.message()).substr(0, kRefusalTextMax));
  return body;
}

// The other side's verdict as this side's status. kCancelled and kOk are never another's to say.
Status DecodeRefusal(std::string_view body) {
  Reader in(body);
  const uint8_t code = in.U8();
  const bool known = in.ok() && code <= static_cast<uint8_t>(StatusCode::kUnauthenticated) &&
                     code > static_cast<uint8_t>(StatusCode::kCancelled);
  return MakeStatus(known ? static_cast<StatusCode>(code) : StatusCode::kUnavailable, in.rest());
}

Status DecodeAnswer(const PeerFrame& frame) {
  if (frame.type == kRefusalType) return DecodeRefusal(frame.body);
  Reader in(frame.body);
  const uint16_t version = in.U16();
  if (frame.type != kWelcomeType || !in.done())
    return DataLossError("no answer to the hello, but a frame of type ", frame.type);
  return CheckVersion(version);
}

}  // namespace

PeerStream::PeerStream(io::Runtime& runtime, std::unique_ptr<io::Socket> socket, bool dialled,
                       PeerStreamOptions options)
    : runtime_(runtime),
      socket_(std::move(socket)),
      address_(socket_->peer()),
      dialled_(dialled),
      options_(options),
      encoder_(options.compression, &runtime) {
  decoder_.set_body_bytes_max(kHandshakeBytesMax);
  handshake_.owner = watch_.owner = close_on_stop_.owner = this;
  handshake_.fired = [](io::Timer& timer) {
    PeerStream& self = *static_cast<Alarm&>(timer).owner;
    self.EndBecause(DeadlineExceededError("no ", self.dialled_ ? "introduction" : "answer",
                                          " within ", self.options_.handshake_timeout.ms(), " ms"));
  };
  watch_.fired = [](io::Timer& timer) { static_cast<Alarm&>(timer).owner->OnWatch(); };
  close_on_stop_.stopped = [](io::StopCallback& callback) {
    static_cast<CloseOnStop&>(callback).owner->Close();
  };
  if (!options_.stop.Register(close_on_stop_)) Close();
}

PeerStream::~PeerStream() {
  runtime_.Cancel(handshake_);
  runtime_.Cancel(watch_);
  Close();
}

void PeerStream::Close() {
  closed_ = true;
  socket_->Close();
}

void PeerStream::EndBecause(Status why) {
  if (ended_.ok()) ended_ = std::move(why);
  Close();
}

// The reason behind a failed operation, with the other side's address.
Status PeerStream::Explain(const Status& failure) const {
  return Annotate(ended_.ok() ? failure : ended_, address_.ToString());
}

// --- introduction --------------------------------------------------------------------------------

io::Task<StatusOr<std::unique_ptr<PeerStream>>> PeerStream::Dial(io::Runtime& runtime,
                                                                 io::Address address,
                                                                 PeerHello hello,
                                                                 PeerStreamOptions options) {
  const MonoTime begin = runtime.Now();
  StatusOr<std::unique_ptr<io::Socket>> socket =
      co_await runtime.Connect(address, begin + std::min(options.handshake_timeout, kConnectMax));
  if (!socket.ok()) co_return socket.status();
  std::unique_ptr<PeerStream> stream(
      new PeerStream(runtime, std::move(*socket), /*dialled=*/false, options));
  stream->hello_ = hello;
  runtime.Arm(stream->handshake_, begin + options.handshake_timeout);
  const Status introduced = co_await stream->Introduce();
  if (!introduced.ok()) co_return introduced;
  co_return stream;
}

io::Task<Status> PeerStream::Introduce() {
  const Status sent = co_await SendBytes(Encode(kHelloType, EncodeHello(hello_)));
  if (!sent.ok()) co_return sent;
  const StatusOr<PeerFrame> answer = co_await ReceiveAny();
  if (!answer.ok()) co_return Explain(answer.status());
  const Status verdict = DecodeAnswer(*answer);
  if (!verdict.ok()) co_return Explain(verdict);
  runtime_.Cancel(handshake_);
  introduced_ = true;
  decoder_.set_body_bytes_max(kPeerFrameBytesMax);
  co_return OkStatus();
}

io::Task<StatusOr<std::unique_ptr<PeerStream>>> PeerStream::Accept(
    io::Runtime& runtime, std::unique_ptr<io::Socket> socket, PeerStreamOptions options) {
  std::unique_ptr<PeerStream> stream(
      new PeerStream(runtime, std::move(socket), /*dialled=*/true, options));
  runtime.Arm(stream->handshake_, runtime.Now() + options.handshake_timeout);
  const Status heard = co_await stream->AwaitHello();
  if (heard.ok()) co_return stream;
  if (heard.code() == StatusCode::kUnimplemented) {
    const Status told = co_await stream->Refuse(heard);
    static_cast<void>(told);  // it may have gone meanwhile
  }
  co_return stream->Explain(heard);
}

io::Task<Status> PeerStream::AwaitHello() {
  const StatusOr<PeerFrame> frame = co_await ReceiveAny();
  if (!frame.ok()) co_return frame.status();
  if (frame->type != kHelloType) co_return DataLossError("no hello, but type ", frame->type);
  const StatusOr<PeerHello> hello = DecodeHello(frame->body);
  if (!hello.ok()) co_return hello.status();
  hello_ = *hello;
  co_return OkStatus();
}

io::Task<Status> PeerStream::Answer(Status verdict) {
  CHECK(dialled_);
  CHECK(!introduced_);
  if (!verdict.ok()) {
    const Status told = co_await Refuse(std::move(verdict));
    co_return told;
  }
  std::string body;
  PutU16(body, kFormatVersion);
  const Status sent = co_await SendBytes(Encode(kWelcomeType, body));
  runtime_.Cancel(handshake_);
  introduced_ = sent.ok();
  decoder_.set_body_bytes_max(kPeerFrameBytesMax);
  co_return sent;
}

io::Task<Status> PeerStream::Refuse(Status verdict) {
  const Status sent = co_await SendBytes(Encode(kRefusalType, EncodeRefusal(verdict)));
  runtime_.Cancel(handshake_);
  Close();
  co_return sent;
}

// --- frames --------------------------------------------------------------------------------------

void PeerStream::CheckMaySend(uint16_t type) const {
  CHECK(introduced_);
  CHECK_LT(type, kPeerReservedTypes);
  CHECK(!dialled_ || hello_.kind != PeerStreamKind::kMessages);
}

// The frame, which lies in out_.
std::string_view PeerStream::Encode(uint16_t type, std::string_view body) {
  CHECK(!sending_);
  if (out_.capacity() > kKeptBytes) std::string().swap(out_);
  out_.clear();
  encoder_.Encode(type, body, out_);
  return out_;
}

io::Task<Status> PeerStream::Send(uint16_t type, std::string_view body) {
  CheckMaySend(type);
  return SendBytes(Encode(type, body));
}

io::Task<Status> PeerStream::SendInPlace(uint16_t type, std::string& frame) {
  CheckMaySend(type);
  CHECK(!sending_);
  return SendBytes(encoder_.EncodeInPlace(type, frame, out_));
}

io::Task<Status> PeerStream::SendAlive() {
  CHECK(introduced_);
  CHECK(hello_.kind == PeerStreamKind::kMessages);
  return SendBytes(Encode(kAliveType, {}));
}

io::Task<Status> PeerStream::SendBytes(std::string_view bytes) {
  CHECK(!sending_);
  sending_ = true;
  Status sent;
  while (sent.ok() && !bytes.empty()) {
    WatchFrom(sending_since_);
    sent = co_await socket_->Send(bytes.substr(0, kSendBytes));
    bytes.remove_prefix(std::min(bytes.size(), kSendBytes));
  }
  sending_since_ = {};
  sending_ = false;
  co_return sent.ok() ? sent : Explain(sent);
}

io::Task<StatusOr<PeerFrame>> PeerStream::Receive() {
  CHECK(introduced_);
  while (true) {
    const StatusOr<PeerFrame> frame = co_await ReceiveAny();
    if (!frame.ok()) co_return Explain(frame.status());
    if (frame->type < kPeerReservedTypes) co_return *frame;
    const bool alive = frame->type == kAliveType && hello_.kind == PeerStreamKind::kMessages;
    if (!alive) co_return Explain(DataLossError("an unexpected frame of type ", frame->type));
  }
}

io::Task<StatusOr<PeerFrame>> PeerStream::ReceiveAny() {
  PeerFrame frame;
  while (true) {
    // What had come before is not given out any more either.
    if (closed_) co_return CancelledError("closed here");
    const StatusOr<bool> whole = decoder_.Next(frame);
    if (!whole.ok()) co_return whole.status();
    if (*whole) co_return frame;
    const Status received = co_await ReceiveBytes();
    if (!received.ok()) co_return received;
  }
}

// Some more bytes for the decoder. The system's buffer is given back before anything else waits.
io::Task<Status> PeerStream::ReceiveBytes() {
  WatchFrom(receiving_since_);
  {
    const StatusOr<io::ReceivedBytes> received = co_await socket_->Receive();
    receiving_since_ = {};
    if (!received.ok()) co_return received.status();
    if (received->end_of_stream()) co_return UnavailableError("closed by the other side");
    decoder_.Add(received->view());
  }
  if (!introduced_ || !dialled_ || hello_.kind != PeerStreamKind::kMessages) co_return OkStatus();
  const MonoTime now = runtime_.Now();
  if (now < alive_at_ + kPeerAliveEvery) co_return OkStatus();
  alive_at_ = now;
  const Status answered = co_await SendAlive();
  static_cast<void>(answered);  // what ails the connection the next Receive tells
  co_return OkStatus();
}

// --- silence -------------------------------------------------------------------------------------

// Notes that a wait begins. The alarm is not moved each time: when it fires it looks how long the
// waits of that moment have lasted.
void PeerStream::WatchFrom(MonoTime& since) {
  if (options_.silence_max == Duration{}) return;
  since = runtime_.Now();
  if (!watch_.armed()) runtime_.Arm(watch_, since + options_.silence_max);
}

void PeerStream::OnWatch() {
  MonoTime earliest = MonoTime::Max();
  for (const MonoTime since : {receiving_since_, sending_since_}) {
    if (since != MonoTime{}) earliest = std::min(earliest, since);
  }
  if (earliest == MonoTime::Max()) return;
  if (runtime_.Now() < earliest + options_.silence_max) {
    runtime_.Arm(watch_, earliest + options_.silence_max);
    return;
  }
  EndBecause(UnavailableError(earliest == receiving_since_ ? "nothing heard" : "takes nothing",
                              " for ", options_.silence_max.ms(), " ms"));
}

}  // namespace metastore::net
