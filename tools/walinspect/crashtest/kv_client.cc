#include "tools/walinspect/crashtest/kv_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "bench/load/header_checker.h"
#include "bench/load/wire.h"
#include "io/base/check.h"
#include "tools/walinspect/crashtest/node_process.h"

namespace metastore::crashtest {
namespace {

using bench::FieldReader;

constexpr uint32_t kWindow = 0x7fffffff;
// A call fits the smallest window that a connection begins with.
constexpr size_t kCallBytesMax = 40 * 1024;
constexpr uint16_t kNoPush = 2;
constexpr uint16_t kInitialWindow = 4;

Status Lost(std::string_view how) { return UnavailableError("the node's connection: ", how); }

void AppendLiteral(std::string& to, std::string_view name, std::string_view value) {
  to.push_back('\0');  // RFC 7541 6.2.2, a new name
  to.push_back(static_cast<char>(name.size()));
  to += name;
  to.push_back(static_cast<char>(value.size()));
  to += value;
}

void AppendSetting(std::string& to, uint16_t id, uint32_t value) {
  to.push_back(static_cast<char>(id >> 8));
  to.push_back(static_cast<char>(id & 0xff));
  bench::AppendUint32(&to, value);
}

// The field of that number in `message`, or empty.
std::string_view BytesOf(std::string_view message, uint32_t field) {
  FieldReader reader(message);
  while (reader.Next()) {
    if (reader.field() == field) return reader.bytes();
  }
  return {};
}

uint64_t NumberOf(std::string_view message, uint32_t field) {
  FieldReader reader(message);
  while (reader.Next()) {
    if (reader.field() == field) return static_cast<uint64_t>(reader.number());
  }
  return 0;
}

constexpr uint32_t kHeaderField = 1;    // of every response: ResponseHeader
constexpr uint32_t kRevisionField = 3;  // of ResponseHeader
constexpr uint32_t kKvsField = 2;       // of RangeResponse
constexpr uint32_t kKeyField = 1;       // of KeyValue
constexpr uint32_t kModRevisionField = 3;
constexpr uint32_t kValueField = 5;

uint64_t RevisionOf(std::string_view response) {
  return NumberOf(BytesOf(response, kHeaderField), kRevisionField);
}

}  // namespace

struct KvClient::Decoder {
  bench::HeaderChecker headers;
};

struct KvClient::Frame {
  bench::FrameHeader header;
  std::string payload;
};

KvClient::KvClient(int fd) : fd_(fd), decoder_(std::make_unique<Decoder>()) {}

KvClient::~KvClient() { close(fd_); }

StatusOr<std::unique_ptr<KvClient>> KvClient::Connect(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Lost(std::strerror(errno));
  std::unique_ptr<KvClient> client(new KvClient(fd));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return Lost(std::strerror(errno));
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  std::string hello(bench::kPreface);
  bench::AppendFrameHeader(&hello, {.length = 12, .type = bench::kSettings});
  AppendSetting(hello, kNoPush, 0);
  AppendSetting(hello, kInitialWindow, kWindow);
  bench::AppendFrameHeader(&hello, {.length = 4, .type = bench::kWindowUpdate});
  bench::AppendUint32(&hello, kWindow - static_cast<uint32_t>(bench::kDefaultWindowBytes));
  MS_RETURN_IF_ERROR(client->SendAll(hello));
  return client;
}

Status KvClient::SendAll(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return Lost(std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return OkStatus();
}

Status KvClient::StartPut(uint64_t tag, std::string_view key, std::string_view value) {
  std::string message;
  bench::AppendBytesField(&message, 1, key);
  bench::AppendBytesField(&message, 2, value);
  return Start(tag, "Put", message);
}

Status KvClient::StartDelete(uint64_t tag, std::string_view key) {
  std::string message;
  bench::AppendBytesField(&message, 1, key);
  return Start(tag, "DeleteRange", message);
}

Status KvClient::Start(uint64_t tag, std::string_view method, std::string_view message) {
  CHECK_LE(message.size(), kCallBytesMax);
  const uint32_t stream = std::exchange(next_stream_, next_stream_ + 2);
  calls_[stream] = {.tag = tag, .body = {}};
  AppendCall(stream, method, bench::GrpcMessage(message));
  return SendWaiting();
}

void KvClient::AppendCall(uint32_t stream, std::string_view method, std::string_view body) {
  std::string block;
  block.append("\x83\x86", 2);  // RFC 7541 appendix A: :method POST, :scheme http
  AppendLiteral(block, ":path", Concat("/etcdserverpb.KV/", method));
  AppendLiteral(block, ":authority", "127.0.0.1");
  AppendLiteral(block, "content-type", "application/grpc");
  AppendLiteral(block, "te", "trailers");
  Waiting& call = waiting_.emplace_back();
  call.data_bytes = static_cast<int64_t>(body.size());
  bench::AppendFrameHeader(&call.frames, {.length = static_cast<uint32_t>(block.size()),
                                          .type = bench::kHeaders,
                                          .flags = bench::kFlagEndHeaders,
                                          .stream_id = stream});
  call.frames += block;
  while (!body.empty()) {
    const std::string_view piece = body.substr(0, bench::kMaxFrameBytes);
    body.remove_prefix(piece.size());
    bench::AppendFrameHeader(&call.frames,
                             {.length = static_cast<uint32_t>(piece.size()),
                              .type = bench::kData,
                              .flags = body.empty() ? bench::kFlagEndStream : uint8_t{0},
                              .stream_id = stream});
    call.frames += piece;
  }
}

Status KvClient::SendWaiting() {
  while (!waiting_.empty() && waiting_.front().data_bytes <= window_) {
    window_ -= waiting_.front().data_bytes;
    const std::string frames = std::move(waiting_.front().frames);
    waiting_.pop_front();
    MS_RETURN_IF_ERROR(SendAll(frames));
  }
  return OkStatus();
}

Status KvClient::Receive(MonoTime deadline) {
  const Duration left = deadline - MonotonicNow();
  pollfd wait = {.fd = fd_, .events = POLLIN, .revents = 0};
  const int ready = left.ns <= 0 ? 0 : poll(&wait, 1, static_cast<int>(left.ms()) + 1);
  if (ready < 0 && errno != EINTR) return Lost(std::strerror(errno));
  if (ready == 0) return DeadlineExceededError("the node does not answer");
  char bytes[64 * 1024];
  const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
  if (got < 0 && errno == EINTR) return OkStatus();
  if (got <= 0) return Lost(got == 0 ? "closed" : std::strerror(errno));
  input_.append(bytes, static_cast<size_t>(got));
  return OkStatus();
}

bool KvClient::TakeFrame(Frame& frame) {
  if (input_.size() < bench::kFrameHeaderBytes) return false;
  frame.header = bench::LoadFrameHeader(reinterpret_cast<const uint8_t*>(input_.data()));
  const size_t whole = bench::kFrameHeaderBytes + frame.header.length;
  if (input_.size() < whole) return false;
  frame.payload = input_.substr(bench::kFrameHeaderBytes, frame.header.length);
  input_.erase(0, whole);
  return true;
}

StatusOr<bool> KvClient::Handle(const Frame& frame) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(frame.payload.data());
  const auto call = calls_.find(frame.header.stream_id);
  switch (frame.header.type) {
    case bench::kData:
      if (call != calls_.end()) call->second.body += frame.payload;
      return false;
    case bench::kHeaders: {
      const bench::HeaderVerdict& verdict = decoder_->headers.Check({bytes, frame.payload.size()});
      if (!verdict.decoded) return InternalError("an answer's headers cannot be read");
      if ((frame.header.flags & bench::kFlagEndStream) == 0) return false;
      if (verdict.grpc_status == 0) return call != calls_.end();
      return InternalError("a call was refused: ", verdict.grpc_message, " (status ",
                           verdict.grpc_status, ")");
    }
    case bench::kWindowUpdate:
      if (frame.header.stream_id == 0 && frame.payload.size() == 4) {
        window_ += bench::Load32(bytes) & kWindow;
        MS_RETURN_IF_ERROR(SendWaiting());
      }
      return false;
    case bench::kSettings:
    case bench::kPing:
      if ((frame.header.flags & bench::kFlagAck) == 0) {
        const bool ping = frame.header.type == bench::kPing;
        std::string ack;
        bench::AppendFrameHeader(&ack, {.length = ping ? frame.header.length : 0,
                                        .type = frame.header.type,
                                        .flags = bench::kFlagAck});
        if (ping) ack += frame.payload;
        MS_RETURN_IF_ERROR(SendAll(ack));
      }
      return false;
    case bench::kRstStream:
      return InternalError("a call was reset");
    case bench::kGoAway:
      return Lost("the node says that it goes away");
    default:
      return false;
  }
}

StatusOr<std::pair<uint32_t, KvClient::Call>> KvClient::AwaitCall() {
  const MonoTime deadline = MonotonicNow() + kAnswerMax;
  while (true) {
    Frame frame;
    while (TakeFrame(frame)) {
      const StatusOr<bool> ended = Handle(frame);
      if (!ended.ok()) return ended.status();
      if (!*ended) continue;
      auto call = calls_.extract(frame.header.stream_id);
      if (call.mapped().body.size() < bench::kGrpcPrefixBytes) {
        return InternalError("an answer without a message");
      }
      call.mapped().body.erase(0, bench::kGrpcPrefixBytes);
      return std::pair(call.key(), std::move(call.mapped()));
    }
    MS_RETURN_IF_ERROR(Receive(deadline));
  }
}

StatusOr<KvClient::Answer> KvClient::Await() {
  const auto call = AwaitCall();
  if (!call.ok()) return call.status();
  const uint64_t revision = RevisionOf(call->second.body);
  if (revision == 0) return InternalError("an answer without a revision");
  return Answer{.tag = call->second.tag, .revision = revision};
}

StatusOr<StoreState> KvClient::ReadAll() {
  CHECK(calls_.empty());
  std::string message;
  bench::AppendBytesField(&message, 1, std::string_view("\0", 1));
  bench::AppendBytesField(&message, 2, std::string_view("\0", 1));
  MS_RETURN_IF_ERROR(Start(0, "Range", message));
  const auto call = AwaitCall();
  if (!call.ok()) return call.status();
  const std::string& body = call->second.body;
  StoreState state{.revision = RevisionOf(body), .keys = {}};
  FieldReader reader(body);
  while (reader.Next()) {
    if (reader.field() != kKvsField) continue;
    const std::string_view kv = reader.bytes();
    state.keys[std::string(BytesOf(kv, kKeyField))] = {
        .value = std::string(BytesOf(kv, kValueField)),
        .revision = NumberOf(kv, kModRevisionField)};
  }
  if (!reader.ok() || state.revision == 0) return InternalError("a range's answer is malformed");
  return state;
}

}  // namespace metastore::crashtest
