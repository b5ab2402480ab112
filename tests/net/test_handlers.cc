#include "tests/net/test_handlers.h"

#include <charconv>

#include "io/gate.h"

namespace metastore::net_test {
namespace {

constexpr net::MethodId kUnary{1};
constexpr net::MethodId kSleep{2};
constexpr net::MethodId kEcho{3};
constexpr net::MethodId kFlood{4};
constexpr net::MethodId kCollect{5};
constexpr net::MethodId kBoth{6};

size_t Number(std::string_view text) {
  size_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

net::MethodMatch EchoService::Find(std::string_view path) const {
  constexpr std::string_view kService = "/test.Echo/";
  if (!path.starts_with(kService)) return {};
  const std::string_view method = path.substr(kService.size());
  if (method == "Unary") return {.kind = net::MethodKind::kUnary, .id = kUnary};
  if (method == "Sleep") return {.kind = net::MethodKind::kUnary, .id = kSleep};
  if (method == "Echo") return {.kind = net::MethodKind::kStream, .id = kEcho};
  if (method == "Flood") return {.kind = net::MethodKind::kStream, .id = kFlood};
  if (method == "Collect") return {.kind = net::MethodKind::kStream, .id = kCollect};
  if (method == "Both") return {.kind = net::MethodKind::kStream, .id = kBoth};
  return {.kind = net::MethodKind::kUnknownMethod, .id = {}};
}

void EchoService::ReleaseSleepers() {
  released_ = true;
  release_.NotifyAll();
}

io::Task<bool> EchoService::SleepUntilReleased(io::StopToken stop) {
  while (!released_) {
    const io::WaitResult result = co_await release_.Wait(io::WaitLimit{.stop = stop});
    if (result == io::WaitResult::kStopped) co_return false;
  }
  co_return true;
}

io::Task<net::GrpcReply> EchoService::Answer(net::GrpcRequest& request) {
  net::GrpcReply reply;
  const auto code = request.metadata.Find("want-code");
  const auto bytes = request.metadata.Find("want-bytes");
  const auto trailer = request.metadata.Find("want-trailer");
  if (trailer.has_value()) reply.trailers.Add("trailer-back", *trailer);
  if (code.has_value()) {
    reply.status = MakeStatus(static_cast<StatusCode>(Number(*code)),
                              request.metadata.Find("want-message").value_or(""));
  } else if (bytes.has_value()) {
    reply.message.assign(Number(*bytes), 'x');
  } else {
    reply.message = std::move(request.message);
  }
  co_return reply;
}

io::Task<net::GrpcReply> EchoService::Unary(net::MethodId method, net::GrpcRequest& request) {
  ++begun;
  ++running;
  last_deadline = request.deadline;
  last_metadata.clear();
  for (size_t i = 0; i < request.metadata.size(); ++i) {
    last_metadata.emplace(request.metadata.key(i), request.metadata.value(i));
  }
  bool go_on = true;
  if (method == kSleep) go_on = co_await SleepUntilReleased(request.cancelled);
  net::GrpcReply reply;
  if (go_on) {
    reply = co_await Answer(request);
  } else {
    ++cancelled;
    reply.status = CancelledError("stopped");
  }
  --running;
  co_return reply;
}

io::Task<Status> EchoService::Stream(net::MethodId method, net::GrpcStream& stream) {
  ++begun;
  ++running;
  Status status;
  if (method == kEcho) status = co_await Echo(stream);
  if (method == kFlood) status = co_await Flood(stream);
  if (method == kCollect) status = co_await Collect(stream);
  if (method == kBoth) status = co_await Both(stream);
  if (status.code() == StatusCode::kCancelled) ++cancelled;
  --running;
  co_return status;
}

io::Task<Status> EchoService::Echo(net::GrpcStream& stream) {
  while (true) {
    StatusOr<std::optional<std::string>> message = co_await stream.Read();
    if (!message.ok()) co_return message.status();
    if (!message->has_value()) co_return OkStatus();
    const Status written_now = co_await stream.Write(std::move(**message));
    if (!written_now.ok()) co_return written_now;
  }
}

io::Task<Status> EchoService::Flood(net::GrpcStream& stream) {
  StatusOr<std::optional<std::string>> message = co_await stream.Read();
  if (!message.ok()) co_return message.status();
  if (!message->has_value()) co_return InvalidArgumentError("a number is needed");
  const size_t count = Number(**message);
  for (size_t i = 0; i < count; ++i) {
    const Status status = co_await stream.Write(std::string(1000, 'f'));
    if (!status.ok()) co_return status;
    ++written;
  }
  co_return OkStatus();
}

io::Task<Status> EchoService::Collect(net::GrpcStream& stream) {
  const bool go_on = co_await SleepUntilReleased(stream.request().cancelled);
  if (!go_on) co_return CancelledError("stopped");
  size_t messages = 0;
  size_t bytes = 0;
  while (true) {
    StatusOr<std::optional<std::string>> message = co_await stream.Read();
    if (!message.ok()) co_return message.status();
    if (!message->has_value()) break;
    ++messages;
    bytes += (*message)->size();
  }
  const Status status = co_await stream.Write(Concat(messages, " messages, ", bytes, " bytes"));
  co_return status;
}

io::Task<void> EchoService::ReadOn(net::GrpcStream& stream, Status& ended) {
  while (ended.ok()) {
    StatusOr<std::optional<std::string>> message = co_await stream.Read();
    ended =
        message.ok() && !message->has_value() ? OutOfRangeError("half-closed") : message.status();
  }
}

io::Task<void> EchoService::WriteOn(net::GrpcStream& stream, Status& ended) {
  while (ended.ok()) {
    ended = co_await stream.Write(std::string(1000, 'b'));
    if (ended.ok()) ++written;
  }
}

io::Task<Status> EchoService::Both(net::GrpcStream& stream) {
  Status read;
  Status wrote;
  io::Gate gate(runtime_.scheduler());
  gate.Spawn("read", io::ReadyClass::kClient, ReadOn(stream, read));
  gate.Spawn("write", io::ReadyClass::kClient, WriteOn(stream, wrote));
  const bool released = co_await SleepUntilReleased(stream.request().cancelled);
  if (released) stream.Interrupt();
  co_await gate.Close();
  const StatusOr<std::optional<std::string>> read_again = co_await stream.Read();
  const Status wrote_again = co_await stream.Write("more");
  const auto code = [](const Status& status) { return static_cast<int>(status.code()); };
  co_return AbortedError("read ", code(read), " write ", code(wrote), ", then ",
                         code(read_again.status()), " ", code(wrote_again));
}

io::Task<net::HttpResponse> HelloPages::Handle(net::HttpRequest& request) {
  handled.push_back(Concat(request.method, " ", request.target));
  if (request.path == "/slow") {
    co_await io::SleepUntil(runtime_, runtime_.Now() + Seconds(1), request.cancelled);
  }
  net::HttpResponse response;
  if (request.path == "/hello" || request.path == "/slow") {
    if (request.method != "GET" && request.method != "HEAD") co_return net::HttpError(405);
    response.body = "hello";
  } else if (request.path == "/echo") {
    response.body = std::move(request.body);
  } else {
    co_return net::HttpError(404);
  }
  co_return response;
}

}  // namespace metastore::net_test
