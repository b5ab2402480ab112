#include "tests/net/grpc_client.h"

#include <algorithm>

namespace metastore::net_test {

GrpcClientStream::~GrpcClientStream() {
  if (!stream_.closed) Cancel();
  client_.http2_.Forget(stream_);
}

void GrpcClientStream::Write(std::string_view message) {
  client_.http2_.Send(stream_, GrpcFrame(message), false);
  client_.wake_.NotifyAll();
}

void GrpcClientStream::CloseSend() {
  client_.http2_.Send(stream_, "", true);
  client_.wake_.NotifyAll();
}

void GrpcClientStream::Cancel() {
  client_.http2_.Cancel(stream_);
  client_.wake_.NotifyAll();
}

io::Task<StatusOr<std::optional<std::string>>> GrpcClientStream::Read(MonoTime deadline) {
  while (true) {
    std::optional<std::string> message = TakeGrpcMessage(stream_.body);
    if (message.has_value()) co_return message;
    if (stream_.closed) {
      const Status status = GrpcStatusOf(stream_);
      if (!status.ok()) co_return status;
      co_return std::optional<std::string>();
    }
    if (!client_.connected_) co_return UnavailableError("the connection is lost");
    const io::WaitResult result = co_await client_.changed_.Wait(
        io::WaitLimit{.timers = &client_.runtime_, .deadline = deadline});
    if (result == io::WaitResult::kTimedOut) co_return DeadlineExceededError("no message in time");
  }
}

GrpcClient::GrpcClient(io::Runtime& runtime, Http2ClientOptions options)
    : runtime_(runtime), http2_(options), gate_(runtime.scheduler()) {
  http2_.OnChange([this](ClientStream&) { changed_.NotifyAll(); });
}

GrpcClient::~GrpcClient() { CHECK(!connected_); }

io::Task<Status> GrpcClient::Connect(io::Address address, MonoTime deadline) {
  CHECK(socket_ == nullptr);
  StatusOr<std::unique_ptr<io::Socket>> socket =
      co_await runtime_.Connect(std::move(address), deadline);
  if (!socket.ok()) co_return socket.status();
  socket_ = std::move(*socket);
  connected_ = true;
  CHECK(gate_.Spawn("client.read", io::ReadyClass::kClient, ReadLoop()));
  CHECK(gate_.Spawn("client.write", io::ReadyClass::kClient, WriteLoop()));
  co_return OkStatus();
}

void GrpcClient::Release() {
  held_ = false;
  released_.NotifyAll();
}

io::Task<void> GrpcClient::ReadLoop() {
  while (connected_) {
    if (held_) {
      co_await released_.Wait();
      continue;
    }
    StatusOr<io::ReceivedBytes> received = co_await socket_->Receive();
    if (!received.ok() || received->end_of_stream()) break;
    const bool alive = http2_.Feed(received->view());
    wake_.NotifyAll();
    if (!alive) break;
  }
  Lost();
}

io::Task<void> GrpcClient::WriteLoop() {
  std::string sending;
  while (connected_) {
    sending.swap(http2_.Output());
    if (sending.empty()) {
      co_await wake_.Wait();
      continue;
    }
    const Status sent = co_await socket_->Send(sending);
    sending.clear();
    if (!sent.ok()) break;
  }
  Lost();
}

void GrpcClient::Lost() {
  connected_ = false;
  socket_->Close();
  Release();
  wake_.NotifyAll();
  changed_.NotifyAll();
}

io::Task<void> GrpcClient::Close() {
  if (socket_ != nullptr) Lost();
  co_await gate_.Close();
  socket_.reset();
}

HeaderList GrpcClient::Headers(std::string_view path, const Metadata& metadata,
                               std::optional<Duration> timeout) {
  HeaderList headers = GrpcHeaders(path);
  if (timeout.has_value()) {
    const int64_t ms = std::clamp<int64_t>(timeout->ms(), 1, 99'999'999);
    headers.emplace_back("grpc-timeout", Concat(ms, "m"));
  }
  headers.insert(headers.end(), metadata.begin(), metadata.end());
  return headers;
}

io::Task<StatusOr<std::string>> GrpcClient::Call(std::string path, Metadata metadata,
                                                 std::string message, MonoTime deadline) {
  if (!connected_ || http2_.goaway())
    co_return UnavailableError("there is no connection available");
  std::optional<Duration> timeout;
  if (deadline != MonoTime::Max()) timeout = deadline - runtime_.Now();
  ClientStream& stream = http2_.Open(Headers(path, metadata, timeout), GrpcFrame(message), true);
  wake_.NotifyAll();
  while (!stream.closed && connected_) {
    const io::WaitResult result =
        co_await changed_.Wait(io::WaitLimit{.timers = &runtime_, .deadline = deadline});
    if (result == io::WaitResult::kTimedOut) break;
  }
  StatusOr<std::string> answer = std::string();
  last_trailers_ = stream.trailers;
  std::optional<std::string> reply = TakeGrpcMessage(stream.body);
  if (stream.closed) {
    const Status status = GrpcStatusOf(stream);
    if (!status.ok()) {
      answer = status;
    } else if (reply.has_value()) {
      answer = std::move(*reply);
    } else {
      answer = InternalError("OK without a message");
    }
  } else if (!connected_) {
    answer = UnavailableError("the connection is lost");
  } else {
    http2_.Cancel(stream);
    wake_.NotifyAll();
    answer = DeadlineExceededError("context deadline exceeded");
  }
  http2_.Forget(stream);
  co_return answer;
}

StatusOr<std::unique_ptr<GrpcClientStream>> GrpcClient::OpenStream(std::string_view path,
                                                                   const Metadata& metadata) {
  if (!connected_ || http2_.goaway()) return UnavailableError("there is no connection available");
  ClientStream& stream = http2_.Open(Headers(path, metadata, std::nullopt), "", false);
  wake_.NotifyAll();
  return std::unique_ptr<GrpcClientStream>(new GrpcClientStream(*this, stream));
}

}  // namespace metastore::net_test
