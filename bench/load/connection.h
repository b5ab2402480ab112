// One HTTP/2 connection of the load generator, with up to `streams` gRPC calls in flight. Closed
// loop: an answered call makes room for the next. One thread; the owner calls OnReadable and
// OnWritable as epoll says.
//
// Invariants: the peer's flow-control windows, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE and
// HEADER_TABLE_SIZE are kept; every call ends in exactly one CallSource::Done or, when the
// connection dies, one CallSource::Lost.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/header_checker.h"
#include "bench/load/wire.h"
#include "bench/load/workload.h"

namespace metastore::bench {

// How a call ended.
struct Outcome {
  int grpc_status = 0;         // 0: fine; -1: no grpc-status (RST_STREAM, malformed answer)
  std::string_view message{};  // why not, or empty
};

// Where the calls come from and where their answers go.
class CallSource {
 public:
  virtual ~CallSource() = default;
  // Fills key, op and value id of the next call; false when there is none now.
  virtual bool Next(Request* request) = 0;
  virtual void Done(const Request& request, const Answer& answer, const Outcome& outcome) = 0;
  // The connection died before the answer came: the call may or may not have happened.
  virtual void Lost(const Request& request) = 0;
};

class Connection final {
 public:
  // `workload` and `source` outlive the connection.
  Connection(const Workload& workload, CallSource& source, uint32_t streams)
      : workload_(workload), source_(source), streams_(streams) {
    slots_.resize(std::bit_ceil(std::max<size_t>(64, size_t{streams} * 8)));
    input_.resize(kInputBytes);
    for (size_t op = 0; op < kOps; op++) bodies_[op] = workload.Body(static_cast<Op>(op));
  }
  ~Connection() {
    if (fd_ >= 0) close(fd_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

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
    AppendSetting(4, kStreamWindowBytes);
    AppendFrameHeader(&output_, {.length = 4, .type = kWindowUpdate});
    AppendUint32(&output_, kConnectionWindowBytes - static_cast<uint32_t>(kDefaultWindowBytes));
    return Flush();
  }

  int fd() const { return fd_; }
  bool alive() const { return alive_; }
  uint32_t in_flight() const { return in_flight_; }
  bool wants_write() const { return output_sent_ < output_.size(); }
  const std::string& failure() const { return failure_; }
  uint64_t inflated_blocks() const { return checker_.inflated_blocks(); }

  // Reads once, handles what came, sends what may go now. `now` stamps the new calls.
  void OnReadable(uint64_t now) {
    const ssize_t got =
        recv(fd_, input_.data() + input_used_, input_.size() - input_used_, MSG_DONTWAIT);
    if (got == 0) return Die("closed by the server");
    if (got < 0) {
      if (errno != EAGAIN && errno != EINTR) Die(std::string("recv: ") + std::strerror(errno));
      return;
    }
    input_used_ += static_cast<size_t>(got);
    ParseInput();
    Pump(now);
  }

  void OnWritable(uint64_t now) { Pump(now); }

  // Begins as many calls as may be in flight, then sends.
  void Pump(uint64_t now) {
    if (!alive_) return;
    SendPartial();
    Request request;
    while (MayBegin()) {
      request.start_ns = now;
      if (!source_.Next(&request)) break;
      Begin(request);
    }
    Flush();
  }

 private:
  struct Slot {
    uint32_t stream_id = 0;  // 0: free
    bool headers_seen = false;
    Request request;
    Answer answer;
    std::string body;  // only of messages that came in pieces
  };
  // A call whose body did not fit the windows; no other begins before it is out.
  struct Partial {
    uint32_t stream_id = 0;  // 0: none
    int64_t window = 0;
    std::string body;
    size_t sent = 0;
  };
  static constexpr size_t kInputBytes = 256 * 1024;
  static constexpr uint32_t kStreamWindowBytes = 1024 * 1024;
  static constexpr uint32_t kConnectionWindowBytes = 64 * 1024 * 1024;
  static constexpr size_t kOutputHighBytes = 4 * 1024 * 1024;
  static constexpr uint32_t kStreamIdMax = 0x7ffffff0;

  bool Fail(std::string why) {
    if (failure_.empty()) failure_ = std::move(why);
    alive_ = false;
    return false;
  }

  void Die(std::string why) {
    if (!alive_) return;
    Fail(std::move(why));
    for (Slot& slot : slots_) {
      if (slot.stream_id == 0) continue;
      slot.stream_id = 0;
      source_.Lost(slot.request);
    }
    in_flight_ = 0;
  }

  void AppendSetting(uint16_t id, uint32_t value) {
    output_.push_back(static_cast<char>(id >> 8));
    output_.push_back(static_cast<char>(id & 0xff));
    AppendUint32(&output_, value);
  }

  bool Flush() {
    while (output_sent_ < output_.size()) {
      const ssize_t sent = send(fd_, output_.data() + output_sent_, output_.size() - output_sent_,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return true;
        Die(std::string("send: ") + std::strerror(errno));
        return false;
      }
      output_sent_ += static_cast<size_t>(sent);
    }
    output_.clear();
    output_sent_ = 0;
    return true;
  }

  Slot& SlotOf(uint32_t stream_id) { return slots_[(stream_id >> 1) & (slots_.size() - 1)]; }

  bool MayBegin() const {
    return settings_seen_ && !going_away_ && partial_.stream_id == 0 &&
           in_flight_ < std::min(streams_, streams_max_) && output_.size() < kOutputHighBytes &&
           next_stream_id_ < kStreamIdMax;
  }

  // HEADERS of a call: all indexed after the first of each kind, as gRPC clients' encoders do it
  // (RFC 7541, 6.1, 6.2.1). A server that allows no full dynamic table gets literals that need
  // none.
  std::string HeaderBlock(Op op) {
    const std::string_view path =
        op == Op::kPut ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range";
    std::string block;
    const bool indexing = table_bytes_ >= 4096;
    if (!indexing && !table_cleared_) block.push_back('\x20');
    table_cleared_ = table_cleared_ || !indexing;
    block.append("\x83\x86", 2);  // :method POST, :scheme http
    AppendHeader(&block, kPathIndex, path, {});
    AppendHeader(&block, 1, authority_, {});
    AppendHeader(&block, 31, "application/grpc", {});
    AppendHeader(&block, 58, "metastore-loadgen/1", {});
    AppendHeader(&block, 0, "trailers", "te");
    return block;
  }

  static constexpr uint32_t kPathIndex = 4;

  // `name_index` in the static table, or 0 and `name`.
  void AppendHeader(std::string* block, uint32_t name_index, std::string_view value,
                    std::string_view name) {
    const std::string entry = std::to_string(name_index) + std::string(name) + std::string(value);
    const auto at = std::find(table_.begin(), table_.end(), entry);
    if (at != table_.end()) {
      block->push_back(static_cast<char>(0x80 | (62 + (table_.end() - at - 1))));
      return;
    }
    const bool indexing = table_bytes_ >= 4096;
    if (indexing) {
      table_.push_back(entry);
      block->push_back(static_cast<char>(0x40 | name_index));
    } else if (name_index < 15) {
      block->push_back(static_cast<char>(name_index));
    } else {
      block->push_back('\x0f');
      block->push_back(static_cast<char>(name_index - 15));
    }
    if (name_index == 0) AppendText(block, name);
    AppendText(block, value);
  }

  static void AppendText(std::string* block, std::string_view text) {
    block->push_back(static_cast<char>(text.size()));  // all of ours are shorter than 127
    block->append(text);
  }

  // HEADERS, DATA header and body of one call, with stream ids and key to be filled in. Remade
  // while the dynamic table still grows.
  const std::string& Frames(Op op) {
    const auto index = static_cast<size_t>(op);
    std::string& frames = frames_[index];
    if (frames_table_[index] == table_.size() + 1) return frames;
    const size_t entries = table_.size();
    const bool cleared = table_cleared_;
    const std::string block = HeaderBlock(op);
    frames.clear();
    AppendFrameHeader(&frames, {.length = static_cast<uint32_t>(block.size()),
                                .type = kHeaders,
                                .flags = kFlagEndHeaders});
    frames.append(block);
    headers_bytes_[index] = frames.size();
    AppendFrameHeader(&frames, {.length = static_cast<uint32_t>(bodies_[index].size()),
                                .type = kData,
                                .flags = kFlagEndStream});
    frames.append(bodies_[index]);
    // A block that changed the table may be sent once only: the next call gets another.
    const bool repeatable = entries == table_.size() && cleared == table_cleared_;
    frames_table_[index] = repeatable ? entries + 1 : 0;
    return frames;
  }

  uint32_t TakeStreamId() {
    while (SlotOf(next_stream_id_).stream_id != 0) next_stream_id_ += 2;
    const uint32_t id = next_stream_id_;
    next_stream_id_ += 2;
    return id;
  }

  void Begin(const Request& request) {
    const uint32_t id = TakeStreamId();
    Slot& slot = SlotOf(id);
    slot.stream_id = id;
    slot.headers_seen = false;
    slot.request = request;
    slot.answer = {};
    slot.body.clear();
    in_flight_++;

    const auto index = static_cast<size_t>(request.op);
    const std::string& frames = Frames(request.op);
    const size_t body_bytes = bodies_[index].size();
    const size_t at = output_.size();
    const auto needed = static_cast<int64_t>(body_bytes);
    if (needed > send_window_ || needed > initial_window_ || body_bytes > kMaxFrameBytes) {
      output_.append(frames, 0, headers_bytes_[index]);
      Store32(output_.data() + at + 5, id);
      partial_ = {.stream_id = id, .window = initial_window_, .body = bodies_[index], .sent = 0};
      workload_.Patch(request, partial_.body.data());
      SendPartial();
      return;
    }
    output_.append(frames);
    char* out = output_.data() + at;
    Store32(out + 5, id);
    Store32(out + headers_bytes_[index] + 5, id);
    workload_.Patch(request, out + headers_bytes_[index] + kFrameHeaderBytes);
    send_window_ -= needed;
  }

  void SendPartial() {
    while (partial_.stream_id != 0) {
      const int64_t window = std::min(partial_.window, send_window_);
      if (window <= 0) return;
      const size_t left = partial_.body.size() - partial_.sent;
      const size_t piece = std::min({left, static_cast<size_t>(window), kMaxFrameBytes});
      AppendFrameHeader(&output_, {.length = static_cast<uint32_t>(piece),
                                   .type = kData,
                                   .flags = piece == left ? kFlagEndStream : uint8_t{0},
                                   .stream_id = partial_.stream_id});
      output_.append(partial_.body, partial_.sent, piece);
      partial_.sent += piece;
      partial_.window -= static_cast<int64_t>(piece);
      send_window_ -= static_cast<int64_t>(piece);
      if (piece == left) partial_.stream_id = 0;
    }
  }

  void ParseInput() {
    size_t at = 0;
    while (alive_ && input_used_ - at >= kFrameHeaderBytes) {
      const FrameHeader frame = LoadFrameHeader(input_.data() + at);
      if (frame.length > kMaxFrameBytes) return Die("a frame above 16384 bytes");
      if (input_used_ - at < kFrameHeaderBytes + frame.length) break;
      OnFrame(frame, {input_.data() + at + kFrameHeaderBytes, frame.length});
      at += kFrameHeaderBytes + frame.length;
    }
    if (at == 0) return;
    std::memmove(input_.data(), input_.data() + at, input_used_ - at);
    input_used_ -= at;
    if (received_ >= kConnectionWindowBytes / 2) {
      AppendFrameHeader(&output_, {.length = 4, .type = kWindowUpdate});
      AppendUint32(&output_, received_);
      received_ = 0;
    }
  }

  void OnFrame(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if (continuing_ != 0 && frame.type != kContinuation) return Die("a header block broken off");
    switch (frame.type) {
      case kData:
        return OnData(frame, payload);
      case kHeaders:
        return OnHeaders(frame, payload);
      case kContinuation:
        return OnContinuation(frame, payload);
      case kSettings:
        return OnSettings(frame, payload);
      case kRstStream:
        return OnReset(frame, payload);
      case kWindowUpdate:
        return OnWindowUpdate(frame, payload);
      case kGoAway:
        going_away_ = true;
        return;
      case kPing:
        if (frame.length != 8) return Die("a PING that is not 8 bytes");
        if ((frame.flags & kFlagAck) != 0) return;
        AppendFrameHeader(&output_, {.length = 8, .type = kPing, .flags = kFlagAck});
        output_.append(reinterpret_cast<const char*>(payload.data()), payload.size());
        return;
      case kPushPromise:
        return Die("PUSH_PROMISE although push is off");
      default:
        return;  // PRIORITY and unknown frames are ignored
    }
  }

  // Takes padding (and, of HEADERS, the priority fields) off. False: the frame is malformed.
  static bool Unpad(const FrameHeader& frame, std::span<const uint8_t>* payload) {
    size_t padding = 0;
    if ((frame.flags & kFlagPadded) != 0) {
      if (payload->empty()) return false;
      padding = payload->front();
      *payload = payload->subspan(1);
    }
    if (frame.type == kHeaders && (frame.flags & kFlagPriority) != 0) {
      if (payload->size() < 5) return false;
      *payload = payload->subspan(5);
    }
    if (padding > payload->size()) return false;
    *payload = payload->first(payload->size() - padding);
    return true;
  }

  void OnData(const FrameHeader& frame, std::span<const uint8_t> payload) {
    received_ += frame.length;
    Slot& slot = SlotOf(frame.stream_id);
    if (slot.stream_id != frame.stream_id || !slot.headers_seen) {
      return Die("DATA on a stream without an open call");
    }
    if (!Unpad(frame, &payload)) return Die("malformed padding");
    std::string_view message(reinterpret_cast<const char*>(payload.data()), payload.size());
    if (!slot.body.empty() || !IsWhole(message)) {
      slot.body.append(message);
      message = slot.body;
    }
    if (!slot.answer.parsed && IsWhole(message)) {
      slot.answer = workload_.Parse(slot.request, message.substr(kGrpcPrefixBytes));
      if (!slot.answer.parsed) return Die("an answer that is no valid message");
    }
    if ((frame.flags & kFlagEndStream) != 0) {
      Finish(slot, {.grpc_status = -1, .message = "stream ended without trailers"});
    }
  }

  // One uncompressed gRPC message and nothing else.
  static bool IsWhole(std::string_view message) {
    return message.size() >= kGrpcPrefixBytes && message.front() == 0 &&
           Load32(reinterpret_cast<const uint8_t*>(message.data()) + 1) ==
               message.size() - kGrpcPrefixBytes;
  }

  void OnHeaders(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if (!Unpad(frame, &payload)) return Die("malformed padding");
    if ((frame.flags & kFlagEndHeaders) != 0) return OnBlock(frame.stream_id, frame.flags, payload);
    continuing_ = frame.stream_id;
    block_flags_ = frame.flags;
    block_.assign(payload.begin(), payload.end());
  }

  void OnContinuation(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if (continuing_ == 0 || continuing_ != frame.stream_id) return Die("a stray CONTINUATION");
    block_.insert(block_.end(), payload.begin(), payload.end());
    if ((frame.flags & kFlagEndHeaders) == 0) return;
    continuing_ = 0;
    OnBlock(frame.stream_id, block_flags_, block_);
  }

  void OnBlock(uint32_t stream_id, uint8_t flags, std::span<const uint8_t> block) {
    const HeaderVerdict& verdict = checker_.Check(block);
    if (!verdict.decoded) return Die("a header block that does not decode");
    Slot& slot = SlotOf(stream_id);
    if (slot.stream_id != stream_id) return Die("HEADERS on a stream without an open call");
    if (!slot.headers_seen && verdict.http_status != 200) {
      return Finish(slot, {.grpc_status = -1, .message = "the HTTP status is not 200"});
    }
    slot.headers_seen = true;
    if ((flags & kFlagEndStream) == 0) return;
    if (verdict.grpc_status == 0 && !slot.answer.parsed) {
      return Finish(slot, {.grpc_status = -1, .message = "success without a message"});
    }
    Finish(slot, {.grpc_status = verdict.grpc_status, .message = verdict.grpc_message});
  }

  void Finish(Slot& slot, const Outcome& outcome) {
    if (partial_.stream_id == slot.stream_id) partial_.stream_id = 0;
    slot.stream_id = 0;
    in_flight_--;
    source_.Done(slot.request, slot.answer, outcome);
  }

  void OnReset(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if (payload.size() != 4) return Die("an RST_STREAM that is not 4 bytes");
    Slot& slot = SlotOf(frame.stream_id);
    if (slot.stream_id != frame.stream_id) return;
    const std::string why = "RST_STREAM, error code " + std::to_string(Load32(payload.data()));
    Finish(slot, {.grpc_status = -1, .message = why});
  }

  void OnSettings(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if ((frame.flags & kFlagAck) != 0) return;
    if (payload.size() % 6 != 0) return Die("SETTINGS of a wrong size");
    for (size_t at = 0; at < payload.size(); at += 6) {
      const auto id = static_cast<uint16_t>(payload[at] << 8 | payload[at + 1]);
      const uint32_t value = Load32(payload.data() + at + 2);
      if (id == 1 && !settings_seen_) table_bytes_ = value;
      if (id == 3) streams_max_ = value;
      if (id == 4) {
        partial_.window += static_cast<int64_t>(value) - initial_window_;
        initial_window_ = value;
      }
    }
    settings_seen_ = true;
    AppendFrameHeader(&output_, {.type = kSettings, .flags = kFlagAck});
  }

  void OnWindowUpdate(const FrameHeader& frame, std::span<const uint8_t> payload) {
    if (payload.size() != 4) return Die("a WINDOW_UPDATE that is not 4 bytes");
    const uint32_t more = Load32(payload.data()) & 0x7fffffffU;
    if (frame.stream_id == 0) send_window_ += more;
    if (frame.stream_id != 0 && frame.stream_id == partial_.stream_id) partial_.window += more;
  }

  const Workload& workload_;
  CallSource& source_;
  const uint32_t streams_;
  int fd_ = -1;
  bool alive_ = true;
  bool settings_seen_ = false;
  bool going_away_ = false;
  std::string failure_;
  std::string authority_;

  std::vector<Slot> slots_;
  uint32_t in_flight_ = 0;
  uint32_t next_stream_id_ = 1;
  uint32_t streams_max_ = UINT32_MAX;
  Partial partial_;

  std::array<std::string, kOps> bodies_;
  std::array<std::string, kOps> frames_;
  std::array<size_t, kOps>
      frames_table_{};  // entries of table_ plus 1 the frames are good for; 0: not
  std::array<size_t, kOps> headers_bytes_{};
  std::vector<std::string> table_;  // our encoder's dynamic table, oldest first
  uint32_t table_bytes_ = 4096;
  bool table_cleared_ = false;

  std::string output_;
  size_t output_sent_ = 0;
  int64_t send_window_ = kDefaultWindowBytes;
  int64_t initial_window_ = kDefaultWindowBytes;

  std::vector<uint8_t> input_;
  size_t input_used_ = 0;
  uint32_t received_ = 0;
  uint32_t continuing_ = 0;
  uint8_t block_flags_ = 0;
  std::vector<uint8_t> block_;
  HeaderChecker checker_;
};

}  // namespace metastore::bench
