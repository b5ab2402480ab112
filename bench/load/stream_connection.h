// One HTTP/2 connection whose calls carry any number of messages both ways: watch and lease
// streams, and unary calls with bodies of the caller's making. One thread; the owner calls
// OnReadable and OnWritable as epoll says.
//
// Invariants: the peer's flow-control windows and frame size are kept; every whole message of an
// answer is given to StreamSink::OnMessage once, in order; every call ends in exactly one OnEnd,
// unless the connection dies, which alive() and failure() tell.
// Limits: what waits to be sent is bounded by the owner, who asks unsent_bytes().
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bench/load/header_checker.h"
#include "bench/load/wire.h"

namespace metastore::bench {

// Where the answers go. `tag` is what the call was begun with.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  virtual void OnMessage(uint64_t tag, std::string_view message) = 0;
  // `grpc_status` 0: fine; -1: none came (RST_STREAM, malformed answer).
  virtual void OnEnd(uint64_t tag, int grpc_status, std::string_view why) = 0;
};

class StreamConnection final {
 public:
  // `sink` outlives the connection. Windows are what the peer may send ahead, per stream.
  StreamConnection(StreamSink& sink, uint32_t stream_window_bytes)
      : sink_(sink), stream_window_bytes_(stream_window_bytes), input_(kInputBytes) {}
  ~StreamConnection() {
    if (fd_ >= 0) close(fd_);
  }
  StreamConnection(const StreamConnection&) = delete;
  StreamConnection& operator=(const StreamConnection&) = delete;

  // Connects to 127.0.0.1:`port` and sends the preface. False: failure() says why.
  bool Open(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      return Fail(std::string("connect: ") + std::strerror(errno));
    }
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    authority_ = "127.0.0.1:" + std::to_string(port);
    output_.assign(kPreface);
    AppendFrameHeader(&output_, {.length = 12, .type = kSettings});
    AppendSetting(2, 0);  // no push
    AppendSetting(4, stream_window_bytes_);
    AppendFrameHeader(&output_, {.length = 4, .type = kWindowUpdate});
    AppendUint32(&output_, kConnectionWindowBytes - static_cast<uint32_t>(kDefaultWindowBytes));
    return Flush();
  }

  int fd() const { return fd_; }
  bool alive() const { return alive_; }
  bool wants_read() const { return reading_; }
  bool wants_write() const { return output_sent_ < output_.size(); }
  const std::string& failure() const { return failure_; }
  size_t unsent_bytes() const { return output_.size() - output_sent_ + outbox_bytes_; }

  // From now on nothing is read any more.
  void StopReading() { reading_ = false; }

  // Begins a call of `path`; gives its stream.
  uint32_t Begin(std::string_view path, uint64_t tag) {
    const uint32_t id = next_stream_id_;
    next_stream_id_ += 2;
    const std::string block = HeaderBlock(path);
    AppendFrameHeader(&output_, {.length = static_cast<uint32_t>(block.size()),
                                 .type = kHeaders,
                                 .flags = kFlagEndHeaders,
                                 .stream_id = id});
    output_.append(block);
    streams_.emplace(id, Stream{.tag = tag, .send_window = initial_window_});
    return id;
  }

  // Queues one message of a stream that has not ended; Flush sends. `last`: the client's side ends.
  void Send(uint32_t id, std::string_view message, bool last) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    Stream& stream = found->second;
    const size_t before = stream.outbox.size();
    stream.outbox.push_back('\0');
    AppendUint32(&stream.outbox, static_cast<uint32_t>(message.size()));
    stream.outbox.append(message);
    stream.last = last;
    outbox_bytes_ += stream.outbox.size() - before;
    if (!stream.queued) sending_.push_back(id);
    stream.queued = true;
  }

  // Sends what may go now.
  bool Flush() {
    Pack();
    while (output_sent_ < output_.size()) {
      const ssize_t sent = send(fd_, output_.data() + output_sent_, output_.size() - output_sent_,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return true;
        return Fail(std::string("send: ") + std::strerror(errno));
      }
      output_sent_ += static_cast<size_t>(sent);
    }
    output_.clear();
    output_sent_ = 0;
    return true;
  }

  void OnWritable(uint64_t) { Flush(); }

  // Reads once, handles what came, sends what may go now.
  void OnReadable(uint64_t) {
    if (!reading_) return;
    const ssize_t got =
        recv(fd_, input_.data() + input_used_, input_.size() - input_used_, MSG_DONTWAIT);
    if (got == 0) {
      Fail("closed by the server");
      return;
    }
    if (got < 0) {
      if (errno != EAGAIN && errno != EINTR) Fail(std::string("recv: ") + std::strerror(errno));
      return;
    }
    input_used_ += static_cast<size_t>(got);
    ParseInput();
    if (alive_) Flush();
  }

 private:
  struct Stream {
    uint64_t tag = 0;
    int64_t send_window = 0;
    uint32_t received = 0;  // bytes not granted anew yet
    bool headers_seen = false;
    bool queued = false;  // in sending_
    bool last = false;    // the outbox holds the client's last message
    std::string outbox{};
    std::string inbox{};  // the beginning of a message whose rest has not come
  };
  static constexpr size_t kInputBytes = 256 * 1024;
  static constexpr uint32_t kConnectionWindowBytes = 64 * 1024 * 1024;
  static constexpr size_t kOutputHighBytes = 1024 * 1024;

  bool Fail(std::string why) {
    if (failure_.empty()) failure_ = std::move(why);
    alive_ = false;
    return false;
  }

  void AppendSetting(uint16_t id, uint32_t value) {
    output_.push_back(static_cast<char>(id >> 8));
    output_.push_back(static_cast<char>(id & 0xff));
    AppendUint32(&output_, value);
  }

  // Literals without indexing (RFC 7541, 6.2.2): streams are few.
  std::string HeaderBlock(std::string_view path) const {
    std::string block("\x83\x86\x04", 3);  // :method POST, :scheme http, :path
    const auto text = [&block](std::string_view value) {
      block.push_back(static_cast<char>(value.size()));  // all of ours are shorter than 127
      block.append(value);
    };
    text(path);
    block.push_back('\x01');  // :authority
    text(authority_);
    block.append("\x0f\x10", 2);  // content-type
    text("application/grpc");
    block.push_back('\0');
    text("te");
    text("trailers");
    return block;
  }

  // Moves from the outboxes to the output what the windows allow.
  void Pack() {
    for (size_t left = sending_.size(); left > 0 && send_window_ > 0; left--) {
      if (output_.size() - output_sent_ > kOutputHighBytes) return;
      const uint32_t id = sending_.front();
      sending_.pop_front();
      const auto found = streams_.find(id);
      if (found == streams_.end()) continue;
      Stream& stream = found->second;
      PackStream(id, stream);
      stream.queued = !stream.outbox.empty();
      if (stream.queued) sending_.push_back(id);
    }
  }

  void PackStream(uint32_t id, Stream& stream) {
    size_t sent = 0;
    while (sent < stream.outbox.size()) {
      const int64_t window = std::min(stream.send_window, send_window_);
      if (window <= 0) break;
      const size_t left = stream.outbox.size() - sent;
      const size_t piece = std::min({left, static_cast<size_t>(window), kMaxFrameBytes});
      const bool end = stream.last && piece == left;
      AppendFrameHeader(&output_, {.length = static_cast<uint32_t>(piece),
                                   .type = kData,
                                   .flags = end ? kFlagEndStream : uint8_t{0},
                                   .stream_id = id});
      output_.append(stream.outbox, sent, piece);
      sent += piece;
      stream.send_window -= static_cast<int64_t>(piece);
      send_window_ -= static_cast<int64_t>(piece);
    }
    stream.outbox.erase(0, sent);
    outbox_bytes_ -= sent;
  }

  void ParseInput() {
    size_t at = 0;
    while (alive_ && input_used_ - at >= kFrameHeaderBytes) {
      const FrameHeader frame = LoadFrameHeader(input_.data() + at);
      if (frame.length > kMaxFrameBytes) {
        Fail("a frame above 16384 bytes");
        return;
      }
      if (input_used_ - at < kFrameHeaderBytes + frame.length) break;
      OnFrame(frame, {input_.data() + at + kFrameHeaderBytes, frame.length});
      at += kFrameHeaderBytes + frame.length;
    }
    if (at == 0) return;
    std::memmove(input_.data(), input_.data() + at, input_used_ - at);
    input_used_ -= at;
    if (received_ >= kConnectionWindowBytes / 2) Grant(0, &received_);
  }

  void Grant(uint32_t stream_id, uint32_t* received) {
    AppendFrameHeader(&output_, {.length = 4, .type = kWindowUpdate, .stream_id = stream_id});
    AppendUint32(&output_, *received);
    *received = 0;
  }

  void OnFrame(const FrameHeader& frame, std::span<const uint8_t> payload) {
    switch (frame.type) {
      case kData:
        return OnData(frame, payload);
      case kHeaders:
        return OnHeaders(frame, payload);
      case kSettings:
        return OnSettings(frame, payload);
      case kRstStream:
        return OnReset(frame, payload);
      case kWindowUpdate:
        return OnWindowUpdate(frame, payload);
      case kGoAway:
        Fail("GOAWAY of the server");
        return;
      case kPing:
        if ((frame.flags & kFlagAck) != 0) return;
        AppendFrameHeader(&output_, {.length = frame.length, .type = kPing, .flags = kFlagAck});
        output_.append(reinterpret_cast<const char*>(payload.data()), payload.size());
        return;
      default:
        return;  // PRIORITY and unknown frames are ignored
    }
  }

  void OnData(const FrameHeader& frame, std::span<const uint8_t> payload) {
    received_ += frame.length;
    const auto found = streams_.find(frame.stream_id);
    if (found == streams_.end() || !found->second.headers_seen ||
        (frame.flags & kFlagPadded) != 0) {
      Fail("DATA on a stream without an open call, or padded");
      return;
    }
    Stream& stream = found->second;
    stream.received += frame.length;
    TakeMessages(stream, {reinterpret_cast<const char*>(payload.data()), payload.size()});
    if ((frame.flags & kFlagEndStream) != 0) {
      return Finish(frame.stream_id, -1, "stream ended without trailers");
    }
    if (stream.received >= stream_window_bytes_ / 2) Grant(frame.stream_id, &stream.received);
  }

  // Gives out the whole messages of what came, keeps the beginning of the next.
  void TakeMessages(Stream& stream, std::string_view bytes) {
    if (!stream.inbox.empty()) {
      stream.inbox.append(bytes);
      bytes = stream.inbox;
      if (!HoldsMessage(bytes)) return;
    }
    while (HoldsMessage(bytes)) {
      const size_t size = MessageBytes(bytes);
      sink_.OnMessage(stream.tag, bytes.substr(kGrpcPrefixBytes, size));
      bytes.remove_prefix(kGrpcPrefixBytes + size);
    }
    if (bytes.empty()) {
      stream.inbox.clear();
    } else {
      stream.inbox = std::string(bytes);
    }
  }

  static size_t MessageBytes(std::string_view bytes) {
    return Load32(reinterpret_cast<const uint8_t*>(bytes.data()) + 1);
  }
  static bool HoldsMessage(std::string_view bytes) {
    return bytes.size() >= kGrpcPrefixBytes &&
           bytes.size() - kGrpcPrefixBytes >= MessageBytes(bytes);
  }

  void OnHeaders(const FrameHeader& frame, std::span<const uint8_t> payload) {
    const auto found = streams_.find(frame.stream_id);
    const bool plain =
        (frame.flags & (kFlagPadded | kFlagPriority)) == 0 && (frame.flags & kFlagEndHeaders) != 0;
    const HeaderVerdict& verdict = checker_.Check(payload);
    if (!plain || !verdict.decoded || found == streams_.end()) {
      Fail("HEADERS that are malformed, padded, in pieces, or of no call");
      return;
    }
    if (!found->second.headers_seen && verdict.http_status != 200) {
      return Finish(frame.stream_id, -1, "the HTTP status is not 200");
    }
    found->second.headers_seen = true;
    if ((frame.flags & kFlagEndStream) != 0) {
      Finish(frame.stream_id, verdict.grpc_status, verdict.grpc_message);
    }
  }

  void Finish(uint32_t id, int grpc_status, std::string_view why) {
    const auto found = streams_.find(id);
    const uint64_t tag = found->second.tag;
    outbox_bytes_ -= found->second.outbox.size();
    streams_.erase(found);
    sink_.OnEnd(tag, grpc_status, why);
  }

  void OnReset(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if (!streams_.contains(frame.stream_id) || payload.size() != 4) return;
    Finish(frame.stream_id, -1, "RST_STREAM, error code " + std::to_string(Load32(payload.data())));
  }

  void OnSettings(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if ((frame.flags & kFlagAck) != 0) return;
    for (size_t at = 0; at + 6 <= payload.size(); at += 6) {
      const auto id = static_cast<uint16_t>(payload[at] << 8 | payload[at + 1]);
      if (id != 4) continue;
      const uint32_t value = Load32(payload.data() + at + 2);
      for (auto& [stream_id, stream] : streams_) {
        stream.send_window += static_cast<int64_t>(value) - initial_window_;
      }
      initial_window_ = value;
    }
    AppendFrameHeader(&output_, {.type = kSettings, .flags = kFlagAck});
  }

  void OnWindowUpdate(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if (payload.size() != 4) return;
    const uint32_t more = Load32(payload.data()) & 0x7fffffffU;
    if (frame.stream_id == 0) {
      send_window_ += more;
    } else if (const auto found = streams_.find(frame.stream_id); found != streams_.end()) {
      found->second.send_window += more;
    }
  }

  StreamSink& sink_;
  const uint32_t stream_window_bytes_;
  int fd_ = -1;
  bool alive_ = true;
  bool reading_ = true;
  std::string failure_;
  std::string authority_;

  std::unordered_map<uint32_t, Stream> streams_;
  std::deque<uint32_t> sending_;  // streams with an outbox
  size_t outbox_bytes_ = 0;
  uint32_t next_stream_id_ = 1;
  std::string output_;
  size_t output_sent_ = 0;
  int64_t send_window_ = kDefaultWindowBytes;
  int64_t initial_window_ = kDefaultWindowBytes;

  std::vector<uint8_t> input_;
  size_t input_used_ = 0;
  uint32_t received_ = 0;
  HeaderChecker checker_;
};

}  // namespace metastore::bench
