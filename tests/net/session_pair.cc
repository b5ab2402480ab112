#include "tests/net/session_pair.h"

#include <algorithm>
#include <array>

#include "io/base/check.h"
#include "net/grpc_codec.h"

namespace metastore::net_test {
namespace {

void AppendLiteral(std::string& block, std::string_view name, std::string_view value) {
  CHECK(name.size() < 127 && value.size() < 127);
  block.push_back(0x10);  // RFC 7541 6.2.3: literal, never indexed, new name
  block.push_back(static_cast<char>(name.size()));
  block.append(name);
  block.push_back(static_cast<char>(value.size()));
  block.append(value);
}

}  // namespace

void RecordingListener::OnRequest(net::Http2Stream& stream,
                                  std::span<const net::Http2Header> headers, bool /*end*/) {
  Request& request = requests[stream.id];
  CHECK(request.stream == nullptr && request.headers.empty());
  request.stream = &stream;
  for (const net::Http2Header& header : headers)
    request.headers.emplace_back(header.name, header.value);
  open_max = std::max(open_max, requests.size() - closed);
}

void RecordingListener::OnData(net::Http2Stream& stream, std::string_view bytes) {
  Request& request = requests.at(stream.id);
  CHECK(request.stream == &stream && !request.ended);
  request.body.append(bytes);
}

void RecordingListener::OnEnd(net::Http2Stream& stream) {
  Request& request = requests.at(stream.id);
  CHECK(request.stream == &stream && !request.ended);
  request.ended = true;
}

void RecordingListener::OnSent(net::Http2Stream& stream, size_t bytes) {
  requests.at(stream.id).sent += bytes;
}

void RecordingListener::OnClosed(net::Http2Stream& stream, net::Http2Code code) {
  Request& request = requests.at(stream.id);
  CHECK(request.stream == &stream);
  request.stream = nullptr;
  request.close_code = code;
  ++closed;
}

SessionPair::SessionPair(Implementation implementation, net::Http2Options options,
                         Http2ClientOptions client_options)
    : server(implementation.make(listener, options, now)), client(client_options) {}

bool SessionPair::ToServer() {
  std::string bytes;
  bytes.swap(client.Output());
  if (bytes.empty()) return server->fault() == net::Http2Fault::kNone;
  return server->Feed(now, bytes).ok();
}

void SessionPair::ToClient() {
  server->Pump(now);
  std::string bytes;
  bytes.swap(server->Output());
  if (!bytes.empty()) client.Feed(bytes);
}

bool SessionPair::Exchange() {
  for (int round = 0; round < 10'000; ++round) {
    const bool alive = ToServer();
    server->Pump(now);
    if (!alive || (server->Output().empty() && client.Output().empty())) {
      ToClient();
      return alive;
    }
    ToClient();
  }
  return false;
}

void SessionPair::Answer(int32_t id, std::string body) {
  net::Http2Stream& stream = *listener.at(id).stream;
  const std::array<net::Http2Header, 2> head = {
      {{":status", "200"}, {"content-type", "application/grpc"}}};
  const std::array<net::Http2Header, 1> trailers = {{{"grpc-status", "0"}}};
  const auto prefix = net::MessagePrefix(body.size());
  server->SubmitHeaders(stream, head, false);
  server->SendData(stream, std::string_view(prefix.data(), prefix.size()), std::move(body));
  server->SubmitTrailers(stream, trailers);
}

RawPeer::RawPeer(Implementation implementation, net::Http2Options options, bool greet)
    : server(implementation.make(listener, options, now)) {
  if (!greet) return;
  CHECK(Feed(RawGreeting()).ok());
  server->Pump(now);
  server->Output().clear();
  CHECK(Feed(Raw(net::FrameType::kSettings, kAck, 0, ""))
            .ok());  // the larger windows hold from now on
}

Status RawPeer::Feed(std::string_view bytes) { return server->Feed(now, bytes); }

size_t RawPeer::FeedUntilFault(std::string_view frame, size_t limit) {
  for (size_t fed = 1; fed <= limit; ++fed) {
    if (!Feed(frame).ok()) return fed;
    server->Pump(now);
    server->Output().clear();
  }
  return limit;
}

std::optional<uint32_t> RawPeer::GoawayCode() {
  server->Pump(now);
  for (const RawFrame& frame : ParseFrames(server->Output())) {
    if (frame.type != net::FrameType::kGoaway) continue;
    uint32_t code = 0;
    for (size_t i = 4; i < 8; ++i) code = code << 8 | static_cast<uint8_t>(frame.payload[i]);
    return code;
  }
  return std::nullopt;
}

std::string RawPeer::GoawayText() {
  for (const RawFrame& frame : ParseFrames(server->Output())) {
    if (frame.type == net::FrameType::kGoaway) return frame.payload.substr(8);
  }
  return "";
}

std::string Raw(net::FrameType type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  net::AppendFrameHeader(
      frame, {.length = payload.size(), .type = type, .flags = flags, .stream = stream});
  return frame.append(payload);
}

std::string RawGreeting() {
  return std::string(net::kHttp2Preface) + Raw(net::FrameType::kSettings, 0, 0, "");
}

std::string RawHeaderBlock(std::string_view path) {
  std::string block;
  AppendLiteral(block, ":method", "POST");
  AppendLiteral(block, ":scheme", "http");
  AppendLiteral(block, ":path", path);
  AppendLiteral(block, ":authority", "test");
  AppendLiteral(block, "content-type", "application/grpc");
  return block;
}

std::string RawRequest(uint32_t stream, std::string_view path, bool end) {
  return Raw(net::FrameType::kHeaders, kEndHeaders | (end ? kEndStream : 0), stream,
             RawHeaderBlock(path));
}

std::string RawReset(uint32_t stream) {
  return Raw(net::FrameType::kRstStream, 0, stream, std::string_view("\0\0\0\x8", 4));
}

std::vector<RawFrame> ParseFrames(std::string_view bytes) {
  std::vector<RawFrame> frames;
  while (bytes.size() >= net::kFrameHeaderBytes) {
    const auto byte = [&bytes](size_t i) { return static_cast<uint8_t>(bytes[i]); };
    const size_t length = size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2);
    if (bytes.size() < net::kFrameHeaderBytes + length) break;
    RawFrame frame;
    frame.type = static_cast<net::FrameType>(byte(3));
    frame.flags = byte(4);
    for (size_t i = 5; i < 9; ++i) frame.stream = frame.stream << 8 | byte(i);
    frame.payload = bytes.substr(net::kFrameHeaderBytes, length);
    frames.push_back(std::move(frame));
    bytes.remove_prefix(net::kFrameHeaderBytes + length);
  }
  return frames;
}

}  // namespace metastore::net_test
