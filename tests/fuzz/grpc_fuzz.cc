// Aim: no request bytes crash gRPC's decoders or a whole simulated server; every cut of a body
// gives the same messages; what is encoded decodes to the same. Method: the first byte chooses:
// pure codecs, the message assembler twice with different cuts, or a ClientServer on SimWorld that
// is sent HEADERS made of the input's first lines and its rest as DATA.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/check.h"
#include "io/sim/sim_world.h"
#include "net/grpc_codec.h"
#include "net/grpc_head.h"
#include "net/http2_frame.h"
#include "net/server.h"

namespace {

using metastore::MonoTime;
using metastore::Seconds;
using metastore::Status;
using metastore::StatusOr;
namespace io = metastore::io;
namespace net = metastore::net;
namespace sim = metastore::sim;

constexpr size_t kMessageMax = 5000;

void FuzzCodecs(std::string_view text) {
  const StatusOr<metastore::Duration> timeout = net::ParseTimeout(text);
  if (timeout.ok()) CHECK(timeout->ns >= 0 && *timeout <= net::kTimeoutMax);
  (void)net::SplitMethodPath(text);
  std::string encoded;
  net::AppendPercentEncoded(encoded, text);
  for (const char c : encoded) CHECK(c >= 0x20 && c <= 0x7e);
  if (text.size() * 3 <= metastore::net_limits::kStatusMessageBytesMax)
    CHECK(net::PercentDecoded(encoded) == text);
  (void)net::PercentDecoded(text);
  (void)net::DecodeBase64(text);
  const StatusOr<std::string> back = net::DecodeBase64(net::EncodeBase64(text));
  CHECK(back.ok() && *back == text);
  std::vector<net::Http2Header> headers;
  while (!text.empty() && headers.size() < 100) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const std::string_view name = line.substr(0, line.find('='));
    headers.push_back({name, line.substr(std::min(line.size(), name.size() + 1))});
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  net::Metadata metadata;
  const net::RequestHead head = net::ParseRequestHead(headers, metadata);
  CHECK(head.status.ok() || head.http_status >= 200);
}

struct Assembled {
  std::vector<std::string> messages;
  Status status;
};

Assembled Assemble(std::string_view bytes, size_t piece) {
  Assembled result;
  net::MessageAssembler assembler;
  while (!bytes.empty() && result.status.ok()) {
    std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    while (!part.empty() && result.status.ok()) {
      result.status = assembler.Take(part, kMessageMax);
      if (!result.status.ok() || !assembler.complete()) continue;
      result.messages.push_back(assembler.message());
      assembler.Next();
    }
  }
  return result;
}

void FuzzAssembler(std::string_view bytes) {
  const Assembled whole = Assemble(bytes, bytes.size());
  for (const size_t piece : {1u, 3u, 7u}) {
    const Assembled cut = Assemble(bytes, piece);
    CHECK(cut.messages == whole.messages);
    CHECK(cut.status == whole.status);
  }
}

class Handlers final : public net::GrpcHandler, public net::HttpHandler {
 public:
  net::MethodMatch Find(std::string_view path) const override {
    if (path == "/u") return {.kind = net::MethodKind::kUnary, .id = net::MethodId(1)};
    if (path == "/s") return {.kind = net::MethodKind::kStream, .id = net::MethodId(2)};
    return {};
  }
  io::Task<net::GrpcReply> Unary(net::MethodId, net::GrpcRequest& request) override {
    net::GrpcReply reply;
    reply.message = std::move(request.message);
    co_return reply;
  }
  io::Task<Status> Stream(net::MethodId, net::GrpcStream& stream) override {
    while (true) {
      StatusOr<std::optional<std::string>> message = co_await stream.Read();
      if (!message.ok()) co_return message.status();
      if (!message->has_value()) co_return metastore::OkStatus();
      const Status written = co_await stream.Write(std::move(**message));
      if (!written.ok()) co_return written;
    }
  }
  io::Task<net::HttpResponse> Handle(net::HttpRequest&) override { co_return net::HttpError(404); }
};

void AppendLiteral(std::string& block, std::string_view name, std::string_view value) {
  block.push_back(0x10);
  block.push_back(static_cast<char>(name.size()));
  block.append(name);
  block.push_back(static_cast<char>(value.size()));
  block.append(value);
}

// HEADERS with the lines of `text` ("name=value") behind the usual ones, then DATA; ends the
// stream.
std::string Request(std::string_view text, uint32_t id, bool stream) {
  std::string block;
  AppendLiteral(block, ":method", "POST");
  AppendLiteral(block, ":scheme", "http");
  AppendLiteral(block, ":path", stream ? "/s" : "/u");
  AppendLiteral(block, "content-type", "application/grpc");
  const size_t body_at = std::min(text.size(), text.find("\n\n"));
  std::string_view lines = text.substr(0, body_at);
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, std::min<size_t>(100, lines.find('\n')));
    const std::string_view name = line.substr(0, line.find('='));
    AppendLiteral(block, name, line.substr(std::min(line.size(), name.size() + 1)));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
  }
  const std::string_view body = text.substr(std::min(text.size(), body_at + 2)).substr(0, 10'000);
  std::string bytes;
  net::AppendFrameHeader(
      bytes, {.length = block.size(), .type = net::FrameType::kHeaders, .flags = 4, .stream = id});
  bytes += block;
  net::AppendFrameHeader(
      bytes, {.length = body.size(), .type = net::FrameType::kData, .flags = 1, .stream = id});
  return bytes.append(body);
}

io::Task<void> SendAndReceive(io::Runtime& runtime, io::Address address, std::string bytes) {
  StatusOr<std::unique_ptr<io::Socket>> socket =
      co_await runtime.Connect(address, runtime.Now() + Seconds(10));
  CHECK(socket.ok());
  const Status sent = co_await (*socket)->Send(bytes);
  (*socket)->ShutdownSend();
  while (sent.ok()) {
    const StatusOr<io::ReceivedBytes> received = co_await (*socket)->Receive();
    if (!received.ok() || received->end_of_stream()) break;
  }
  (*socket)->Close();
}

void FuzzServer(std::string_view text, uint8_t steer) {
  sim::SimWorld world(steer);
  sim::SimMachine& machine = world.AddMachine("one");
  io::Runtime& runtime = *machine.StartProcess()[0];
  Handlers handlers;
  net::ServerOptions options;
  options.message_bytes_max = kMessageMax;
  {
    net::ClientServer server(runtime, handlers, handlers, options);
    const StatusOr<io::Address> address =
        server.Listen(io::Address{.ip = machine.ip(), .port = 0}, net::PortUse::kGrpcAndHttp);
    CHECK(address.ok());
    std::string bytes(net::kHttp2Preface);
    net::AppendFrameHeader(bytes, {.type = net::FrameType::kSettings});
    bytes += Request(text, 1, (steer & 4) != 0) + Request(text, 3, (steer & 8) != 0);
    world.Await(runtime, SendAndReceive(runtime, *address, std::move(bytes)), Seconds(1000));
    world.Await(runtime, server.Shutdown(runtime.Now()));
    CHECK_EQ(server.stats().calls_open, uint64_t{0});
  }
  machine.EndProcess();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 3) {
    case 0:
      FuzzCodecs(input);
      break;
    case 1:
      FuzzAssembler(input);
      break;
    default:
      FuzzServer(input, data[0]);
      break;
  }
  return 0;
}
