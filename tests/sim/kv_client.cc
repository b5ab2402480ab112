#include "tests/sim/kv_client.h"

#include <utility>

#include "rpc.pb.h"

namespace metastore::sim_test {
namespace {

ReadAck ReadAckOf(const etcdserverpb::RangeResponse& response, int64_t header_revision) {
  ReadAck ack{.header_revision = header_revision};
  if (response.kvs_size() == 0) return ack;
  const mvccpb::KeyValue& kv = response.kvs(0);
  ack.found = true;
  ack.value = kv.value();
  ack.mod_revision = kv.mod_revision();
  ack.create_revision = kv.create_revision();
  ack.version = kv.version();
  return ack;
}

}  // namespace

io::Task<bool> KvClient::Connect(MonoTime deadline) {
  if (client_ != nullptr && client_->connected()) co_return true;
  if (client_ != nullptr) {
    co_await Reset();
  }
  client_ = std::make_unique<net_test::GrpcClient>(runtime_);
  Status connected = co_await client_->Connect(server_, deadline);
  if (!connected.ok()) client_.reset();
  co_return connected.ok();
}

io::Task<void> KvClient::Reset() {
  if (client_ == nullptr) co_return;
  co_await client_->Close();
  client_.reset();
}

io::Task<StatusOr<std::string>> KvClient::Call(std::string method, std::string message,
                                               MonoTime deadline) {
  const bool connected = co_await Connect(deadline);
  if (!connected) co_return UnavailableError("no connection");
  StatusOr<std::string> reply =
      co_await client_->Call("/etcdserverpb.KV/" + method, {}, std::move(message), deadline);
  co_return reply;
}

io::Task<StatusOr<PutAck>> KvClient::Put(std::string key, std::string value, MonoTime deadline) {
  etcdserverpb::PutRequest request;
  request.set_key(std::move(key));
  request.set_value(std::move(value));
  StatusOr<std::string> reply = co_await Call("Put", request.SerializeAsString(), deadline);
  if (!reply.ok()) co_return reply.status();
  etcdserverpb::PutResponse response;
  CHECK(response.ParseFromString(*reply));
  co_return PutAck{.revision = response.header().revision()};
}

io::Task<StatusOr<PutAck>> KvClient::Delete(std::string key, MonoTime deadline) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(std::move(key));
  StatusOr<std::string> reply = co_await Call("DeleteRange", request.SerializeAsString(), deadline);
  if (!reply.ok()) co_return reply.status();
  etcdserverpb::DeleteRangeResponse response;
  CHECK(response.ParseFromString(*reply));
  // A delete of nothing makes no revision.
  co_return PutAck{.revision = response.deleted() > 0 ? response.header().revision() : 0};
}

io::Task<StatusOr<ReadAck>> KvClient::Get(std::string key, int64_t revision, MonoTime deadline,
                                          Freshness freshness) {
  etcdserverpb::RangeRequest request;
  request.set_key(std::move(key));
  request.set_revision(revision);
  request.set_serializable(freshness == Freshness::kSerializable);
  StatusOr<std::string> reply = co_await Call("Range", request.SerializeAsString(), deadline);
  if (!reply.ok()) co_return reply.status();
  etcdserverpb::RangeResponse response;
  CHECK(response.ParseFromString(*reply));
  co_return ReadAckOf(response, response.header().revision());
}

io::Task<StatusOr<TxnAck>> KvClient::Txn(std::string message, MonoTime deadline) {
  StatusOr<std::string> reply = co_await Call("Txn", std::move(message), deadline);
  if (!reply.ok()) co_return reply.status();
  etcdserverpb::TxnResponse response;
  CHECK(response.ParseFromString(*reply));
  TxnAck ack{.succeeded = response.succeeded(), .revision = response.header().revision()};
  for (const etcdserverpb::ResponseOp& op : response.responses()) {
    if (op.has_response_range()) ack.reads.push_back(ReadAckOf(op.response_range(), ack.revision));
  }
  co_return ack;
}

io::Task<StatusOr<TxnAck>> KvClient::GetAll(std::vector<std::string> keys, MonoTime deadline) {
  etcdserverpb::TxnRequest request;
  for (std::string& key : keys) {
    request.add_success()->mutable_request_range()->set_key(std::move(key));
  }
  StatusOr<TxnAck> ack = co_await Txn(request.SerializeAsString(), deadline);
  co_return ack;
}

io::Task<StatusOr<TxnAck>> KvClient::PutAll(std::vector<std::pair<std::string, std::string>> pairs,
                                            MonoTime deadline) {
  etcdserverpb::TxnRequest request;
  for (auto& [key, value] : pairs) {
    etcdserverpb::RequestOp& op = *request.add_success();
    if (value.empty()) {
      op.mutable_request_delete_range()->set_key(std::move(key));
      continue;
    }
    op.mutable_request_put()->set_key(std::move(key));
    op.mutable_request_put()->set_value(std::move(value));
  }
  StatusOr<TxnAck> ack = co_await Txn(request.SerializeAsString(), deadline);
  co_return ack;
}

io::Task<StatusOr<TxnAck>> KvClient::CompareAndSwap(std::string key, int64_t expected,
                                                    std::string value, MonoTime deadline) {
  etcdserverpb::TxnRequest request;
  etcdserverpb::Compare& compare = *request.add_compare();
  compare.set_target(etcdserverpb::Compare_CompareTarget_MOD);
  compare.set_result(etcdserverpb::Compare_CompareResult_EQUAL);
  compare.set_key(key);
  compare.set_mod_revision(expected);
  request.add_failure()->mutable_request_range()->set_key(key);
  etcdserverpb::PutRequest& put = *request.add_success()->mutable_request_put();
  put.set_key(std::move(key));
  put.set_value(std::move(value));
  StatusOr<TxnAck> ack = co_await Txn(request.SerializeAsString(), deadline);
  co_return ack;
}

io::Task<StatusOr<PutAck>> KvClient::Compact(int64_t revision, MonoTime deadline) {
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  StatusOr<std::string> reply = co_await Call("Compact", request.SerializeAsString(), deadline);
  if (!reply.ok()) co_return reply.status();
  co_return PutAck{};
}

}  // namespace metastore::sim_test
