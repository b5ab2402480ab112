// KvClient: an etcd client on a simulated machine: typed KV calls over one gRPC connection, real
// bytes all the way. Reconnects by itself after Reset, to another member if told; one per task.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/runtime.h"
#include "tests/net/grpc_client.h"

namespace metastore::sim_test {

struct PutAck {
  int64_t revision = 0;
};

struct ReadAck {
  int64_t header_revision = 0;
  bool found = false;
  std::string value;
  int64_t mod_revision = 0;
  int64_t create_revision = 0;
  int64_t version = 0;
};

struct TxnAck {
  bool succeeded = false;
  int64_t revision = 0;        // of the header
  std::vector<ReadAck> reads;  // of GetAll; of a swap that did not succeed, what it found
};

// Where a read may be answered.
enum class Freshness : uint8_t { kLinearizable, kSerializable };

class KvClient final {
 public:
  KvClient(io::Runtime& runtime, io::Address server)
      : runtime_(runtime), server_(std::move(server)) {}

  // Connects if need be; false if that fails by `deadline`.
  io::Task<bool> Connect(MonoTime deadline);
  // Ends the connection. Needed before destruction and after a failed call.
  io::Task<void> Reset();
  // The member to connect to from the next Reset on.
  void MoveTo(io::Address server) { server_ = std::move(server); }

  io::Task<StatusOr<PutAck>> Put(std::string key, std::string value, MonoTime deadline);
  io::Task<StatusOr<PutAck>> Delete(std::string key, MonoTime deadline);
  // At `revision` (0: latest).
  io::Task<StatusOr<ReadAck>> Get(std::string key, int64_t revision, MonoTime deadline,
                                  Freshness freshness = Freshness::kLinearizable);
  // All keys at one revision.
  io::Task<StatusOr<TxnAck>> GetAll(std::vector<std::string> keys, MonoTime deadline);
  // All at one revision; an empty value deletes.
  io::Task<StatusOr<TxnAck>> PutAll(std::vector<std::pair<std::string, std::string>> pairs,
                                    MonoTime deadline);
  // Puts `value` if the key's mod revision is `expected` (0: it does not exist), else reads it.
  io::Task<StatusOr<TxnAck>> CompareAndSwap(std::string key, int64_t expected, std::string value,
                                            MonoTime deadline);
  io::Task<StatusOr<PutAck>> Compact(int64_t revision, MonoTime deadline);

 private:
  io::Task<StatusOr<std::string>> Call(std::string method, std::string message, MonoTime deadline);
  io::Task<StatusOr<TxnAck>> Txn(std::string message, MonoTime deadline);

  io::Runtime& runtime_;
  io::Address server_;
  std::unique_ptr<net_test::GrpcClient> client_;
};

}  // namespace metastore::sim_test
