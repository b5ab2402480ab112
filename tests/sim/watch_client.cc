#include "tests/sim/watch_client.h"

namespace metastore::sim_test {

io::Task<Status> WatchClient::Open(io::Address server, MonoTime deadline) {
  co_await Reset();
  client_.MoveTo(std::move(server));
  const bool connected = co_await client_.Connect(deadline);
  if (!connected) co_return UnavailableError("no connection");
  auto stream = client_.Open("/etcdserverpb.Watch/Watch");
  if (stream.ok()) stream_ = *std::move(stream);
  co_return stream.status();
}

void WatchClient::Create(const etcdserverpb::WatchCreateRequest& create) {
  etcdserverpb::WatchRequest request;
  *request.mutable_create_request() = create;
  stream_->Write(request.SerializeAsString());
}

void WatchClient::Cancel(int64_t id) {
  etcdserverpb::WatchRequest request;
  request.mutable_cancel_request()->set_watch_id(id);
  stream_->Write(request.SerializeAsString());
}

void WatchClient::AskProgress() {
  etcdserverpb::WatchRequest request;
  request.mutable_progress_request();
  stream_->Write(request.SerializeAsString());
}

io::Task<StatusOr<etcdserverpb::WatchResponse>> WatchClient::Next(MonoTime deadline) {
  StatusOr<std::optional<std::string>> message = co_await stream_->Read(deadline);
  if (!message.ok()) co_return message.status();
  if (!message->has_value()) co_return UnavailableError("the stream has ended");
  etcdserverpb::WatchResponse response;
  CHECK(response.ParseFromString(**message));
  co_return response;
}

io::Task<void> WatchClient::Reset() {
  if (stream_ != nullptr) stream_->Cancel();
  stream_.reset();
  co_await client_.Reset();
}

}  // namespace metastore::sim_test
