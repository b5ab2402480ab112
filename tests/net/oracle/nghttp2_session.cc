#include "tests/net/oracle/nghttp2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "io/base/check.h"
#include "net/http2_frame.h"
#include "net/http2_guard.h"
#include "tests/net/oracle/nghttp2_stream.h"

namespace metastore::net {
namespace {

using Stream = Nghttp2Stream;

constexpr size_t kFreeStreamsMax = 64;    // stream objects kept for reuse a connection
constexpr size_t kBlockBytesKept = 4096;  // scratch memory for a header block kept between requests
constexpr size_t kHeaderOverheadBytes = 32;  // RFC 9113 6.5.2
constexpr std::array<uint8_t, 8> kKeepalivePing = {'k', 'e', 'e', 'p', 'a', 'l', 'i', 'v'};
constexpr std::array<uint8_t, 8> kDrainPing = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};

uint8_t* Bytes(std::string_view text) {
  // nghttp2_nv has no const; nghttp2 copies and never writes.
  return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));
}

nghttp2_nv MakeNv(std::string_view name, std::string_view value) {
  return nghttp2_nv{Bytes(name), Bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

class Nghttp2Session final : public Http2Session {
 public:
  Nghttp2Session(Http2Listener& listener, const Http2Options& options, MonoTime now);
  ~Nghttp2Session() override;
  Nghttp2Session(const Nghttp2Session&) = delete;
  Nghttp2Session& operator=(const Nghttp2Session&) = delete;

  Status Feed(MonoTime now, std::string_view bytes) override;
  void SubmitHeaders(Http2Stream& stream, std::span<const Http2Header> headers, bool end) override;
  void SendData(Http2Stream& stream, std::string_view head, std::string body) override;
  size_t Respond(Http2Stream& stream, Http2Answer answer) override;
  void SubmitTrailers(Http2Stream& stream, std::span<const Http2Header> trailers) override;
  void Reset(Http2Stream& stream, Http2Code code) override;
  void Consumed(Http2Stream& stream, size_t bytes) override;
  void Pump(MonoTime now) override;
  std::string& Output() override { return output_; }
  bool wants_pump() const override;
  void Shutdown() override;
  bool finished() const override;
  Status Tick(MonoTime now) override;
  MonoTime next_tick() const override;
  Http2Fault fault() const override { return fault_; }
  bool settings_received() const override { return settings_received_; }
  size_t streams_open() const override { return streams_open_; }

 private:
  struct Callbacks;  // nghttp2's, as static functions

  void SubmitSettings(const Http2Options& options);
  void FrameQueued();
  bool output_full() const { return output_.size() >= net_limits::kOutputBytesHigh; }

  // Ends the connection: frames a GOAWAY of our own, since nghttp2 may be inside a callback.
  // Returns what a callback returns to stop nghttp2.
  int Fail(Http2Fault fault, Http2Code code, std::string_view text);
  Status FaultStatus() const;

  // Ends the connection if the guard says so.
  int Judge(Http2Fault verdict);
  int OnBadStream();

  int BeginFrame(const nghttp2_frame_hd& header);
  int AddHeader(std::string_view name, std::string_view value);
  int FrameReceived(const nghttp2_frame& frame);
  int RequestReceived(const nghttp2_frame& frame);
  int PingReceived(const nghttp2_frame& frame);
  int EndReceived(int32_t stream_id, bool end);
  int DataReceived(int32_t stream_id, std::string_view bytes);
  void StreamClosed(int32_t stream_id, uint32_t code);
  void FrameSent(const nghttp2_frame& frame);
  ssize_t OfferData(Stream& stream, size_t length, uint32_t& flags);
  int WriteData(Stream& stream, const uint8_t* frame_header, size_t length, size_t padding);

  Stream* Find(int32_t stream_id);
  Stream& MakeStream(int32_t stream_id);
  void Release(Stream& stream);

  Http2Listener& listener_;
  Http2Guard guard_;
  nghttp2_session* session_ = nullptr;
  std::string output_;
  MonoTime now_;
  Http2Fault fault_ = Http2Fault::kNone;

  io::ListHead streams_;
  size_t streams_open_ = 0;
  std::vector<Stream*> free_streams_;
  size_t connection_unconsumed_ = 0;
  bool closing_streams_ = false;
  bool settings_received_ = false;

  HeaderBlock block_;
  std::vector<Http2Header> headers_;  // scratch: block_ as the listener sees it
};

struct Nghttp2Session::Callbacks {
  static Nghttp2Session& Self(void* user) { return *static_cast<Nghttp2Session*>(user); }
  static std::string_view View(const uint8_t* data, size_t size) {
    return {reinterpret_cast<const char*>(data), size};
  }
  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd* header, void* user) {
    return Self(user).BeginFrame(*header);
  }
  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame*, void* user) {
    Self(user).block_.Clear();
    return 0;
  }
  static int OnHeader(nghttp2_session*, const nghttp2_frame*, const uint8_t* name,
                      size_t name_bytes, const uint8_t* value, size_t value_bytes, uint8_t,
                      void* user) {
    return Self(user).AddHeader(View(name, name_bytes), View(value, value_bytes));
  }
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    return Self(user).FrameReceived(*frame);
  }
  static int OnInvalidFrame(nghttp2_session*, const nghttp2_frame*, int, void* user) {
    return Self(user).OnBadStream();
  }
  static int OnData(nghttp2_session*, uint8_t, int32_t stream_id, const uint8_t* data, size_t size,
                    void* user) {
    return Self(user).DataReceived(stream_id, View(data, size));
  }
  static int OnClose(nghttp2_session*, int32_t stream_id, uint32_t code, void* user) {
    Self(user).StreamClosed(stream_id, code);
    return 0;
  }
  static int OnSent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Self(user).FrameSent(*frame);
    return 0;
  }
  static ssize_t Send(nghttp2_session*, const uint8_t* data, size_t size, int, void* user) {
    Nghttp2Session& self = Self(user);
    if (self.output_full()) return NGHTTP2_ERR_WOULDBLOCK;
    self.output_.append(View(data, size));
    return static_cast<ssize_t>(size);
  }
  static ssize_t ReadData(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                          nghttp2_data_source* source, void* user) {
    return Self(user).OfferData(*static_cast<Stream*>(source->ptr), length, *flags);
  }
  static int SendData(nghttp2_session*, nghttp2_frame* frame, const uint8_t* header, size_t length,
                      nghttp2_data_source* source, void* user) {
    return Self(user).WriteData(*static_cast<Stream*>(source->ptr), header, length,
                                frame->data.padlen);
  }
  static void Install(nghttp2_session_callbacks* callbacks);
};

void Nghttp2Session::Callbacks::Install(nghttp2_session_callbacks* callbacks) {
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, OnBeginFrame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, OnInvalidFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, OnSent);
  nghttp2_session_callbacks_set_send_callback(callbacks, Send);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, SendData);
}

Nghttp2Session::Nghttp2Session(Http2Listener& listener, const Http2Options& options, MonoTime now)
    : listener_(listener), guard_(options.keepalive, now), now_(now) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  CHECK_EQ(nghttp2_session_callbacks_new(&callbacks), 0);
  CHECK_EQ(nghttp2_option_new(&option), 0);
  Callbacks::Install(callbacks);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_max_outbound_ack(option, net_limits::kControlFramesQueuedMax);
  nghttp2_option_set_max_continuations(option, net_limits::kContinuationsMax);
  // nghttp2's own reset limit reads the system's clock: ours (Http2Guard) runs on the runtime's.
  nghttp2_option_set_stream_reset_rate_limit(option, uint64_t{1} << 62, 0);
  CHECK_EQ(nghttp2_session_server_new3(&session_, callbacks, this, option, nullptr), 0);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  SubmitSettings(options);
}

void Nghttp2Session::SubmitSettings(const Http2Options& options) {
  const std::array<nghttp2_settings_entry, 4> entries = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.streams_max},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, uint32_t{net_limits::kStreamWindowBytes}},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, uint32_t{net_limits::kHeaderListBytesMax}},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  CHECK_EQ(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size()), 0);
  CHECK_EQ(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                                 net_limits::kConnectionWindowBytes),
           0);
}

Nghttp2Session::~Nghttp2Session() {
  closing_streams_ = true;
  while (!streams_.empty()) {
    auto& stream = *static_cast<Stream*>(streams_.front());
    listener_.OnClosed(stream, Http2Code::kCancel);
    Release(stream);
  }
  nghttp2_session_del(session_);
  for (Stream* stream : free_streams_) delete stream;
}

// --- receiving ---------------------------------------------------------------

Status Nghttp2Session::Feed(MonoTime now, std::string_view bytes) {
  if (fault_ != Http2Fault::kNone) return FailedPreconditionError("fed after a fault");
  now_ = now;
  guard_.OnReceived(now);
  const size_t queued_before = nghttp2_session_get_outbound_queue_size(session_);
  const ssize_t taken = nghttp2_session_mem_recv(session_, Bytes(bytes), bytes.size());
  if (taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
    Fail(Http2Fault::kPreface, Http2Code::kProtocolError, "bad client preface");
  } else if (taken == NGHTTP2_ERR_FLOODED) {
    Fail(Http2Fault::kPingFlood, Http2Code::kEnhanceYourCalm, "too many unread answers");
  } else if (taken == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS) {
    Fail(Http2Fault::kHeaderFlood, Http2Code::kEnhanceYourCalm, "too many CONTINUATION frames");
  } else if (taken < 0) {
    Fail(Http2Fault::kMemory, Http2Code::kInternalError, "");
  }
  if (fault_ != Http2Fault::kNone) return FaultStatus();
  if (connection_unconsumed_ > 0) {
    CHECK_EQ(nghttp2_session_consume_connection(session_, std::exchange(connection_unconsumed_, 0)),
             0);
  }
  // nghttp2 queues the GOAWAY of a fault it has found; framing it is how we learn of it. Requests
  // queue nothing.
  if (nghttp2_session_get_outbound_queue_size(session_) > queued_before) FrameQueued();
  return FaultStatus();
}

Status Nghttp2Session::FaultStatus() const {
  if (fault_ == Http2Fault::kNone) return OkStatus();
  return InvalidArgumentError("HTTP/2 connection fault: ", FaultName(fault_));
}

int Nghttp2Session::Fail(Http2Fault fault, Http2Code code, std::string_view text) {
  if (fault_ != Http2Fault::kNone) return NGHTTP2_ERR_CALLBACK_FAILURE;
  fault_ = fault;
  const auto last_stream = static_cast<uint32_t>(nghttp2_session_get_last_proc_stream_id(session_));
  AppendGoaway(output_, last_stream, static_cast<uint32_t>(code), text);
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

int Nghttp2Session::BeginFrame(const nghttp2_frame_hd& header) {
  // Frames of unknown types never get here: nghttp2 skips them, which costs no more than their
  // bytes.
  return header.type == NGHTTP2_PRIORITY ? Judge(guard_.OnEmptyFrame(now_)) : 0;
}

int Nghttp2Session::AddHeader(std::string_view name, std::string_view value) {
  block_.list_bytes += name.size() + value.size() + kHeaderOverheadBytes;
  if (block_.list_bytes <= net_limits::kHeaderListBytesMax) {
    block_.bytes.append(name).append(value);
    block_.sizes.emplace_back(name.size(), value.size());
    return 0;
  }
  // Somewhat too large is one stream's problem; many times too large is a compression bomb.
  if (block_.list_bytes <= 4 * net_limits::kHeaderListBytesMax) return 0;
  return Fail(Http2Fault::kHeaderFlood, Http2Code::kEnhanceYourCalm, "header list too large");
}

int Nghttp2Session::FrameReceived(const nghttp2_frame& frame) {
  const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_DATA: {
      const bool empty = frame.hd.length == frame.data.padlen;
      if (empty && !end) return Judge(guard_.OnEmptyFrame(now_));
      return EndReceived(frame.hd.stream_id, end);
    }
    case NGHTTP2_HEADERS:
      if (frame.headers.cat == NGHTTP2_HCAT_REQUEST) return RequestReceived(frame);
      return EndReceived(frame.hd.stream_id, end);  // trailers: gRPC clients send none that matter
    case NGHTTP2_RST_STREAM:
      return Judge(guard_.OnReset(now_));
    case NGHTTP2_SETTINGS:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) return 0;
      settings_received_ = true;
      return Judge(guard_.OnSettings(now_));
    case NGHTTP2_PING:
      return PingReceived(frame);
    default:
      return 0;
  }
}

int Nghttp2Session::RequestReceived(const nghttp2_frame& frame) {
  const int32_t stream_id = frame.hd.stream_id;
  if (block_.list_bytes > net_limits::kHeaderListBytesMax) {
    CHECK_EQ(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream_id,
                                       NGHTTP2_ENHANCE_YOUR_CALM),
             0);
    return OnBadStream();
  }
  headers_.clear();
  const std::string_view block = block_.bytes;
  size_t at = 0;
  for (const auto& [name_bytes, value_bytes] : block_.sizes) {
    headers_.push_back(Http2Header{.name = block.substr(at, name_bytes),
                                   .value = block.substr(at + name_bytes, value_bytes)});
    at += name_bytes + value_bytes;
  }
  Stream& stream = MakeStream(stream_id);
  CHECK_EQ(nghttp2_session_set_stream_user_data(session_, stream_id, &stream), 0);
  const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  listener_.OnRequest(stream, headers_, end);
  if (end && !stream.reset) listener_.OnEnd(stream);
  if (block_.bytes.capacity() > kBlockBytesKept) std::string().swap(block_.bytes);
  return 0;
}

int Nghttp2Session::EndReceived(int32_t stream_id, bool end) {
  Stream* stream = end ? Find(stream_id) : nullptr;
  if (stream != nullptr && !stream->reset) listener_.OnEnd(*stream);
  return 0;
}

int Nghttp2Session::DataReceived(int32_t stream_id, std::string_view bytes) {
  connection_unconsumed_ += bytes.size();
  Stream* stream = Find(stream_id);
  if (stream != nullptr && !stream->reset) listener_.OnData(*stream, bytes);
  return 0;
}

void Nghttp2Session::Consumed(Http2Stream& stream, size_t bytes) {
  // The stream may have ended meanwhile: then there is no window left to open.
  if (fault_ != Http2Fault::kNone || closing_streams_) return;
  nghttp2_session_consume_stream(session_, stream.id, bytes);
}

// --- floods and keepalive ----------------------------------------------------

int Nghttp2Session::Judge(Http2Fault verdict) {
  if (verdict == Http2Fault::kNone) return 0;
  // "too_many_pings" is what grpc clients look for: they then ping less often.
  const std::string_view text =
      verdict == Http2Fault::kPingFlood ? "too_many_pings" : FaultName(verdict);
  return Fail(verdict, Http2Code::kEnhanceYourCalm, text);
}

int Nghttp2Session::OnBadStream() { return Judge(guard_.OnBadStream(now_)); }

int Nghttp2Session::PingReceived(const nghttp2_frame& frame) {
  if ((frame.hd.flags & NGHTTP2_FLAG_ACK) == 0) return Judge(guard_.OnPing(now_, streams_open_));
  const uint8_t* opaque = frame.ping.opaque_data;
  if (!std::equal(kDrainPing.begin(), kDrainPing.end(), opaque)) return 0;
  // The peer has seen the shutdown notice: what it had opened before is known, so now the real last
  // stream is named.
  const int32_t last = nghttp2_session_get_last_proc_stream_id(session_);
  CHECK_EQ(nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0),
           0);
  return 0;
}

Status Nghttp2Session::Tick(MonoTime now) {
  if (fault_ != Http2Fault::kNone) return OkStatus();
  now_ = now;
  switch (guard_.Tick(now)) {
    case Http2Guard::Action::kNothing:
      return OkStatus();
    case Http2Guard::Action::kSendPing:
      CHECK_EQ(nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kKeepalivePing.data()), 0);
      return OkStatus();
    case Http2Guard::Action::kPeerIsGone:
      Fail(Http2Fault::kKeepaliveTimeout, Http2Code::kNoError, "keepalive ping timed out");
      return UnavailableError("the peer did not answer a ping in ", guard_.options().timeout.ms(),
                              " ms");
  }
  CHECK_UNREACHABLE();
}

MonoTime Nghttp2Session::next_tick() const {
  return fault_ == Http2Fault::kNone ? guard_.next() : MonoTime::Max();
}

void Nghttp2Session::Shutdown() {
  if (fault_ != Http2Fault::kNone) return;
  CHECK_EQ(nghttp2_submit_shutdown_notice(session_), 0);
  CHECK_EQ(nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kDrainPing.data()), 0);
}

bool Nghttp2Session::finished() const {
  if (fault_ != Http2Fault::kNone) return true;
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

// --- sending -----------------------------------------------------------------

void Nghttp2Session::SubmitHeaders(Http2Stream& handle, std::span<const Http2Header> headers,
                                   bool end) {
  auto& stream = static_cast<Stream&>(handle);
  if (fault_ != Http2Fault::kNone || stream.reset) return;
  CHECK_LE(headers.size(), kHeadersMax);
  std::array<nghttp2_nv, kHeadersMax> nva;
  for (size_t i = 0; i < headers.size(); ++i) nva[i] = MakeNv(headers[i].name, headers[i].value);
  nghttp2_data_provider provider{.source = {.ptr = &stream}, .read_callback = Callbacks::ReadData};
  const int result = nghttp2_submit_response(session_, stream.id, nva.data(), headers.size(),
                                             end ? nullptr : &provider);
  CHECK_EQ(result, 0);
}

void Nghttp2Session::SendData(Http2Stream& handle, std::string_view head, std::string body) {
  auto& stream = static_cast<Stream&>(handle);
  if (fault_ != Http2Fault::kNone || stream.reset) return;
  CHECK(!stream.ending);
  CHECK_LE(head.size(), kHeadBytesMax);
  BodyChunk& chunk = stream.chunks.Push(BodyChunk());
  std::copy(head.begin(), head.end(), chunk.head.begin());
  chunk.head_bytes = head.size();
  chunk.body = std::move(body);
  stream.unsent += chunk.left();
  if (std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
}

size_t Nghttp2Session::Respond(Http2Stream& stream, Http2Answer answer) {
  if (fault_ != Http2Fault::kNone || static_cast<Stream&>(stream).reset) return 0;
  const size_t bytes = answer.head.size() + answer.body.size();
  SubmitHeaders(stream, answer.headers.list, false);
  SendData(stream, answer.head, std::move(answer.body));
  SubmitTrailers(stream, answer.trailers.list);
  return bytes;
}

void Nghttp2Session::SubmitTrailers(Http2Stream& handle, std::span<const Http2Header> trailers) {
  auto& stream = static_cast<Stream&>(handle);
  if (fault_ != Http2Fault::kNone || stream.reset) return;
  CHECK(!stream.ending);
  CHECK_LE(trailers.size(), kHeadersMax);
  for (const Http2Header& trailer : trailers) {
    stream.trailer_bytes.append(trailer.name).append(trailer.value);
    stream.trailer_sizes.emplace_back(trailer.name.size(), trailer.value.size());
  }
  stream.ending = true;
  if (std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
}

void Nghttp2Session::Reset(Http2Stream& handle, Http2Code code) {
  auto& stream = static_cast<Stream&>(handle);
  if (fault_ != Http2Fault::kNone || std::exchange(stream.reset, true)) return;
  CHECK_EQ(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id,
                                     static_cast<uint32_t>(code)),
           0);
}

bool Nghttp2Session::wants_pump() const {
  return fault_ == Http2Fault::kNone && nghttp2_session_want_write(session_) != 0;
}

void Nghttp2Session::Pump(MonoTime now) {
  now_ = std::max(now_, now);
  if (fault_ == Http2Fault::kNone) FrameQueued();
}

void Nghttp2Session::FrameQueued() {
  const int result = nghttp2_session_send(session_);
  if (result != 0) Fail(Http2Fault::kMemory, Http2Code::kInternalError, "");
}

ssize_t Nghttp2Session::OfferData(Stream& stream, size_t length, uint32_t& flags) {
  if (stream.unsent == 0 && !stream.ending) {
    stream.deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  const size_t offered = std::min(length, stream.unsent);
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (!stream.ending || offered < stream.unsent) return static_cast<ssize_t>(offered);
  flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
  std::array<nghttp2_nv, Http2Session::kHeadersMax> nva;
  size_t count = 0;
  const std::string_view bytes = stream.trailer_bytes;
  size_t at = 0;
  for (const auto& [name_bytes, value_bytes] : stream.trailer_sizes) {
    nva[count++] =
        (MakeNv(bytes.substr(at, name_bytes), bytes.substr(at + name_bytes, value_bytes)));
    at += name_bytes + value_bytes;
  }
  CHECK_EQ(nghttp2_submit_trailer(session_, stream.id, nva.data(), count), 0);
  return static_cast<ssize_t>(offered);
}

int Nghttp2Session::WriteData(Stream& stream, const uint8_t* frame_header, size_t length,
                              size_t padding) {
  if (output_full()) return NGHTTP2_ERR_WOULDBLOCK;
  CHECK_EQ(padding, size_t{0});  // we install no padding callback
  output_.append(Callbacks::View(frame_header, kFrameHeaderBytes));
  guard_.OnSent();
  for (size_t left = length; left > 0;) {
    BodyChunk& chunk = stream.chunks.front();
    const std::string_view part = chunk.Take(left);
    output_.append(part);
    left -= part.size();
    if (chunk.left() == 0) stream.chunks.Pop();
  }
  stream.unsent -= length;
  listener_.OnSent(stream, length);
  return 0;
}

void Nghttp2Session::FrameSent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY && fault_ == Http2Fault::kNone) {
    fault_ = FaultOf(frame.goaway.error_code);
    return;
  }
  if (frame.hd.type != NGHTTP2_HEADERS) return;
  guard_.OnSent();
  const int32_t stream_id = frame.hd.stream_id;
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  // RFC 9113 8.1: a complete response before the request's end asks the client, without error, to
  // stop sending.
  if (nghttp2_session_get_stream_remote_close(session_, stream_id) == 0) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR);
  }
}

// --- streams -----------------------------------------------------------------

Stream* Nghttp2Session::Find(int32_t stream_id) {
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session_, stream_id));
}

Stream& Nghttp2Session::MakeStream(int32_t stream_id) {
  Stream* stream = nullptr;
  if (free_streams_.empty()) {
    stream = new Stream;
  } else {
    stream = free_streams_.back();
    free_streams_.pop_back();
  }
  stream->id = stream_id;
  streams_.PushBack(*stream);
  ++streams_open_;
  return *stream;
}

void Nghttp2Session::Release(Stream& stream) {
  stream.Unlink();
  --streams_open_;
  stream.Clear();
  if (free_streams_.size() == kFreeStreamsMax) {
    delete &stream;
    return;
  }
  free_streams_.push_back(&stream);
}

void Nghttp2Session::StreamClosed(int32_t stream_id, uint32_t code) {
  Stream* stream = Find(stream_id);
  if (stream == nullptr) return;  // refused before it became a request
  listener_.OnClosed(*stream, static_cast<Http2Code>(code));
  Release(*stream);
}

}  // namespace

std::unique_ptr<Http2Session> MakeNghttp2Session(Http2Listener& listener,
                                                 const Http2Options& options, MonoTime now) {
  return std::make_unique<Nghttp2Session>(listener, options, now);
}

}  // namespace metastore::net
