// Http2ServerSession, bytes out: answers go straight into the output where nothing waits, else they
// are queued, and the streams that have something to send take turns of one frame of data.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "io/base/check.h"
#include "net/http2_server_session.h"

namespace metastore::net {
namespace {

constexpr size_t kFixedBlockMax = 64;  // of an encoded list that is framed on the stack

}  // namespace

// --- answers -----------------------------------------------------------------

// Nothing of the stream can be sent any more.
bool Http2ServerSession::Over(const ServerStream& stream) const {
  return fault_ != Http2Fault::kNone || closing_ || stream.gone;
}

void Http2ServerSession::SubmitHeaders(Http2Stream& handle, std::span<const Http2Header> headers,
                                       bool end) {
  auto& stream = static_cast<ServerStream&>(handle);
  if (Over(stream)) return;
  CHECK(!std::exchange(stream.answering, true));
  CHECK_LE(headers.size(), kHeadersMax);
  stream.ending = end;
  QueuedAnswer& queue = stream.Queue();
  queue.headers_wait = true;
  queue.ends_with_headers = end;
  HpackEncoder::AppendLiterals(queue.headers, headers);
  MakeReady(stream);
}

void Http2ServerSession::SendData(Http2Stream& handle, std::string_view head, std::string body) {
  auto& stream = static_cast<ServerStream&>(handle);
  if (Over(stream)) return;
  CHECK(stream.answering && !stream.ending);
  QueueData(stream, head, std::move(body));
  MakeReady(stream);
}

void Http2ServerSession::QueueData(ServerStream& stream, std::string_view head, std::string body) {
  CHECK_LE(head.size(), kHeadBytesMax);
  QueuedAnswer& queue = stream.Queue();
  BodyChunk& chunk = queue.chunks.Push(BodyChunk());
  std::copy(head.begin(), head.end(), chunk.head.begin());
  chunk.head_bytes = head.size();
  chunk.body = std::move(body);
  queue.unsent += chunk.left();
}

void Http2ServerSession::SubmitTrailers(Http2Stream& handle,
                                        std::span<const Http2Header> trailers) {
  auto& stream = static_cast<ServerStream&>(handle);
  if (Over(stream)) return;
  CHECK(stream.answering && !std::exchange(stream.ending, true));
  CHECK_LE(trailers.size(), kHeadersMax);
  QueuedAnswer& queue = stream.Queue();
  queue.trailers_wait = true;
  HpackEncoder::AppendLiterals(queue.trailers, trailers);
  MakeReady(stream);
}

size_t Http2ServerSession::Respond(Http2Stream& handle, Http2Answer answer) {
  auto& stream = static_cast<ServerStream&>(handle);
  if (Over(stream)) return 0;
  CHECK(!std::exchange(stream.answering, true));
  CHECK_LE(answer.head.size(), kHeadBytesMax);
  stream.ending = true;
  const size_t bytes = answer.head.size() + answer.body.size();
  if (FitsNow(stream, bytes)) {
    SendNow(stream, answer);
    return 0;
  }
  QueuedAnswer& queue = stream.Queue();
  queue.headers_wait = queue.trailers_wait = true;
  queue.fixed_headers = &answer.headers;
  queue.fixed_trailers = &answer.trailers;
  QueueData(stream, answer.head, std::move(answer.body));
  MakeReady(stream);
  return bytes;
}

// In one frame, and ahead of nobody that waits.
bool Http2ServerSession::FitsNow(const ServerStream& stream, size_t bytes) const {
  return bytes <= kFramePayloadMax && bytes <= send_window_.available() &&
         bytes <= stream.send_window.available() && ready_.empty() && starved_.empty() &&
         control_.empty() && !output_full();
}

void Http2ServerSession::SendNow(ServerStream& stream, const Http2Answer& answer) {
  const size_t bytes = answer.head.size() + answer.body.size();
  SendBlock(stream.id, encoder_.EncodeFixed(answer.headers), false);
  std::array<char, kFrameHeaderBytes + kHeadBytesMax> data;
  char* end =
      WriteFrameHeader(data.data(), FrameHeader{.length = bytes,
                                                .type = FrameType::kData,
                                                .stream = static_cast<uint32_t>(stream.id)});
  end = std::copy(answer.head.begin(), answer.head.end(), end);
  output_.append(data.data(), static_cast<size_t>(end - data.data()));
  output_.append(answer.body);
  send_window_.Use(bytes);
  stream.send_window.Use(bytes);
  SendBlock(stream.id, encoder_.EncodeFixed(answer.trailers), true);
  Complete(stream);
}

// HEADERS, and CONTINUATION where the block is longer than a frame.
void Http2ServerSession::SendBlock(int32_t stream, std::string_view block, bool end) {
  const std::string update = encoder_.TakeTableUpdate();
  std::string joined;
  if (!update.empty()) {
    joined.append(update).append(block);
    block = joined;
  }
  FrameHeader header{.type = FrameType::kHeaders,
                     .flags = end ? kFlagEndStream : uint8_t{0},
                     .stream = static_cast<uint32_t>(stream)};
  do {
    header.length = std::min(block.size(), kFramePayloadMax);
    if (header.length == block.size()) header.flags |= kFlagEndHeaders;
    std::array<char, kFrameHeaderBytes + kFixedBlockMax> frame;
    char* at = WriteFrameHeader(frame.data(), header);
    if (header.length <= kFixedBlockMax) {
      std::memcpy(at, block.data(), header.length);
      output_.append(frame.data(), kFrameHeaderBytes + header.length);
    } else {
      output_.append(frame.data(), kFrameHeaderBytes).append(block.substr(0, header.length));
    }
    block.remove_prefix(header.length);
    header.type = FrameType::kContinuation;
    header.flags = 0;
  } while (!block.empty());
  guard_.OnSent();
}

// The answer has gone. RFC 9113 8.1: before the request's end that asks the client, without error,
// to stop sending.
void Http2ServerSession::Complete(ServerStream& stream) {
  if (!stream.remote_ended) SendReset(stream.id, Http2Code::kNoError);
  Abandon(stream, Http2Code::kNoError);
}

// --- turns -------------------------------------------------------------------

void Http2ServerSession::MakeReady(ServerStream& stream) {
  if (!stream.linked()) ready_.PushBack(stream);
}

// Those that the connection's window has held up come first: they have waited longest.
void Http2ServerSession::SendReady() {
  while (!output_full() && fault_ == Http2Fault::kNone) {
    io::ListHead& next = HeldUpMaySend() ? starved_ : ready_;
    if (next.empty()) return;
    auto& stream = *static_cast<ServerStream*>(next.front());
    stream.Unlink();
    SendTurn(stream);
  }
}

void Http2ServerSession::SendTurn(ServerStream& stream) {
  QueuedAnswer& queue = *stream.queue;
  if (queue.headers_wait) SendQueuedHeaders(stream);
  if (stream.gone) return;
  if (queue.unsent > 0) {
    const size_t room = std::min(stream.send_window.available(), kFramePayloadMax);
    const size_t bytes = std::min({queue.unsent, room, send_window_.available()});
    if (bytes == 0) {
      // Of the stream's own window: its update makes the stream ready again.
      if (room > 0) starved_.PushBack(stream);
      return;
    }
    SendQueuedData(stream, bytes);
    if (stream.gone) return;
  }
  if (queue.unsent > 0) return MakeReady(stream);
  queue.chunks.Clear();  // what is left of them is empty
  if (queue.trailers_wait) SendQueuedTrailers(stream);
}

void Http2ServerSession::SendQueuedHeaders(ServerStream& stream) {
  QueuedAnswer& queue = *stream.queue;
  queue.headers_wait = false;
  SendBlock(stream.id,
            queue.fixed_headers != nullptr ? encoder_.EncodeFixed(*queue.fixed_headers)
                                           : std::string_view(queue.headers),
            queue.ends_with_headers);
  if (queue.ends_with_headers) Complete(stream);
}

void Http2ServerSession::SendQueuedTrailers(ServerStream& stream) {
  QueuedAnswer& queue = *stream.queue;
  queue.trailers_wait = false;
  SendBlock(stream.id,
            queue.fixed_trailers != nullptr ? encoder_.EncodeFixed(*queue.fixed_trailers)
                                            : std::string_view(queue.trailers),
            true);
  Complete(stream);
}

void Http2ServerSession::SendQueuedData(ServerStream& stream, size_t bytes) {
  QueuedAnswer& queue = *stream.queue;
  AppendFrameHeader(output_, FrameHeader{.length = bytes,
                                         .type = FrameType::kData,
                                         .stream = static_cast<uint32_t>(stream.id)});
  for (size_t left = bytes; left > 0;) {
    BodyChunk& chunk = queue.chunks.front();
    const std::string_view part = chunk.Take(left);
    output_.append(part);
    left -= part.size();
    if (chunk.left() == 0) queue.chunks.Pop();
  }
  queue.unsent -= bytes;
  send_window_.Use(bytes);
  stream.send_window.Use(bytes);
  guard_.OnSent();
  listener_.OnSent(stream, bytes);
}

// --- frames of our own -------------------------------------------------------

void Http2ServerSession::SendControl(std::string_view frame) {
  if (control_.empty() && !output_full()) {
    output_.append(frame);
    return;
  }
  if (++control_frames_ > net_limits::kControlFramesQueuedMax) {
    return Fail(Http2Fault::kPingFlood, Http2Code::kEnhanceYourCalm, "too many unread answers");
  }
  control_.append(frame);
}

void Http2ServerSession::SendQueuedControl() {
  size_t sent = 0;
  while (sent < control_.size() && !output_full()) {
    const std::string_view frames = std::string_view(control_).substr(sent);
    const size_t bytes = kFrameHeaderBytes + ReadFrameHeader(frames).length;
    output_.append(frames.substr(0, bytes));
    sent += bytes;
    --control_frames_;
  }
  control_.erase(0, sent);
}

void Http2ServerSession::SendReset(int32_t stream, Http2Code code) {
  std::array<char, kFrameHeaderBytes + 4> frame;
  char* at = WriteFrameHeader(frame.data(), FrameHeader{.length = 4,
                                                        .type = FrameType::kRstStream,
                                                        .stream = static_cast<uint32_t>(stream)});
  for (int shift = 24; shift >= 0; shift -= 8)
    *at++ = static_cast<char>(static_cast<uint32_t>(code) >> shift & 0xff);
  SendControl(std::string_view(frame.data(), frame.size()));
}

void Http2ServerSession::SendWindowUpdate(uint32_t stream, uint32_t bytes) {
  std::string frame;
  AppendFrameHeader(frame,
                    FrameHeader{.length = 4, .type = FrameType::kWindowUpdate, .stream = stream});
  AppendBigEndian32(frame, bytes);
  SendControl(frame);
}

void Http2ServerSession::Consumed(Http2Stream& handle, size_t bytes) {
  auto& stream = static_cast<ServerStream&>(handle);
  if (Over(stream)) return;
  stream.receive_window.Consume(bytes);
  if (stream.remote_ended || !stream.receive_window.update_due()) return;
  if (output_full()) {
    updates_due_ = true;  // not queued: they would be without bound
    return;
  }
  SendWindowUpdate(static_cast<uint32_t>(stream.id), stream.receive_window.TakeUpdate());
}

void Http2ServerSession::SendDueUpdates() {
  updates_due_ = false;
  for (ServerStream* stream : streams_.All()) Consumed(*stream, 0);
}

// Framed at once where that is possible: streams that come and are reset while a send is under way
// fill the output then, and so stop the reader.
void Http2ServerSession::Reset(Http2Stream& handle, Http2Code code) {
  auto& stream = static_cast<ServerStream&>(handle);
  if (Over(stream)) return;
  Abandon(stream, code);
  stream.reset_due = !control_.empty() || output_full();
  if (!stream.reset_due) SendReset(stream.id, code);
}

// --- pumping -----------------------------------------------------------------

bool Http2ServerSession::HeldUpMaySend() const {
  return send_window_.available() > 0 && !starved_.empty();
}

bool Http2ServerSession::wants_pump() const {
  if (fault_ != Http2Fault::kNone) return false;
  return !gone_.empty() || !ready_.empty() || !control_.empty() || updates_due_ || HeldUpMaySend();
}

void Http2ServerSession::Pump(MonoTime now) {
  now_ = std::max(now_, now);
  if (fault_ != Http2Fault::kNone) return;
  SendQueuedControl();
  CloseGone();
  if (updates_due_ && !output_full()) SendDueUpdates();
  SendReady();
  CloseGone();
}

void Http2ServerSession::CloseGone() {
  while (!gone_.empty() && fault_ == Http2Fault::kNone) {
    auto& stream = *static_cast<ServerStream*>(gone_.front());
    if (stream.reset_due) {
      if (output_full()) return;
      SendReset(stream.id, stream.close_code);
    }
    CloseNow(stream);
  }
}

void Http2ServerSession::CloseNow(ServerStream& stream) {
  stream.Unlink();
  listener_.OnClosed(stream, stream.close_code);
  streams_.Free(stream);
}

}  // namespace metastore::net
