#include "tests/sim/lease_client.h"

#include "rpc.pb.h"

namespace metastore::sim_test {

void LeaseClient::EndStream() {
  if (stream_ != nullptr) stream_->Cancel();
  stream_.reset();
}

ServiceClient& LeaseClient::Ready() {
  if (!client_.connected()) EndStream();
  return client_;
}

io::Task<void> LeaseClient::Reset() {
  EndStream();
  co_await client_.Reset();
}

io::Task<StatusOr<int64_t>> LeaseClient::Grant(int64_t lease, int64_t ttl, MonoTime deadline) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_id(lease);
  request.set_ttl(ttl);
  auto granted = co_await Ready().Call<etcdserverpb::LeaseGrantResponse>(
      "/etcdserverpb.Lease/LeaseGrant", std::move(request), deadline);
  if (!granted.ok()) co_return granted.status();
  co_return granted->id();
}

io::Task<Status> LeaseClient::Revoke(int64_t lease, MonoTime deadline) {
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(lease);
  auto revoked = co_await Ready().Call<etcdserverpb::LeaseRevokeResponse>(
      "/etcdserverpb.Lease/LeaseRevoke", std::move(request), deadline);
  co_return revoked.status();
}

io::Task<StatusOr<LeaseTimes>> LeaseClient::TimeToLive(int64_t lease, MonoTime deadline) {
  etcdserverpb::LeaseTimeToLiveRequest request;
  request.set_id(lease);
  request.set_keys(true);
  auto answer = co_await Ready().Call<etcdserverpb::LeaseTimeToLiveResponse>(
      "/etcdserverpb.Lease/LeaseTimeToLive", std::move(request), deadline);
  if (!answer.ok()) co_return answer.status();
  LeaseTimes times{.ttl = answer->ttl(), .granted = answer->grantedttl()};
  times.keys.assign(answer->keys().begin(), answer->keys().end());
  co_return times;
}

io::Task<StatusOr<std::vector<int64_t>>> LeaseClient::Leases(MonoTime deadline) {
  auto answer = co_await Ready().Call<etcdserverpb::LeaseLeasesResponse>(
      "/etcdserverpb.Lease/LeaseLeases", etcdserverpb::LeaseLeasesRequest(), deadline);
  if (!answer.ok()) co_return answer.status();
  std::vector<int64_t> leases;
  for (const etcdserverpb::LeaseStatus& lease : answer->leases()) leases.push_back(lease.id());
  co_return leases;
}

io::Task<Status> LeaseClient::Put(std::string key, int64_t lease, MonoTime deadline,
                                  std::string value) {
  etcdserverpb::PutRequest request;
  request.set_key(std::move(key));
  request.set_lease(lease);
  request.set_value(std::move(value));
  auto put = co_await Ready().Call<etcdserverpb::PutResponse>("/etcdserverpb.KV/Put",
                                                              std::move(request), deadline);
  co_return put.status();
}

io::Task<StatusOr<int64_t>> LeaseClient::KeepAlive(int64_t lease, MonoTime deadline) {
  StatusOr<std::vector<int64_t>> ttls =
      co_await KeepAliveAll(std::vector<int64_t>(1, lease), deadline);
  if (!ttls.ok()) co_return ttls.status();
  co_return ttls->front();
}

io::Task<StatusOr<std::vector<int64_t>>> LeaseClient::KeepAliveAll(std::vector<int64_t> leases,
                                                                   MonoTime deadline) {
  const bool connected = co_await Ready().Connect(deadline);
  if (!connected) co_return UnavailableError("no connection");
  if (stream_ == nullptr) {
    auto stream = client_.Open("/etcdserverpb.Lease/LeaseKeepAlive");
    if (!stream.ok()) co_return stream.status();
    stream_ = *std::move(stream);
  }
  for (const int64_t lease : leases) {
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(lease);
    stream_->Write(request.SerializeAsString());
  }
  std::vector<int64_t> ttls;
  for (const int64_t lease : leases) {
    StatusOr<std::optional<std::string>> message = co_await stream_->Read(deadline);
    if (!message.ok() || !message->has_value()) {
      EndStream();
      co_return message.ok() ? UnavailableError("the stream has ended") : message.status();
    }
    etcdserverpb::LeaseKeepAliveResponse response;
    CHECK(response.ParseFromString(**message));
    CHECK_EQ(response.id(), lease);
    ttls.push_back(response.ttl());
  }
  co_return ttls;
}

}  // namespace metastore::sim_test
