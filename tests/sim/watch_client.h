// WatchClient: a client of the Watch service on a simulated machine: one stream at a time, over one
// connection, which may come to stop reading. One per task.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "rpc.pb.h"
#include "tests/sim/service_client.h"

namespace metastore::sim_test {

class WatchClient final {
 public:
  // `window`: what the server may send that was not yet received.
  WatchClient(io::Runtime& runtime, io::Address server, uint32_t window)
      : client_(runtime, std::move(server), {.stream_window = window}) {}

  // Ends the stream there is, and opens another, to `server`.
  // Errors: kUnavailable  no connection by `deadline`
  io::Task<Status> Open(io::Address server, MonoTime deadline);
  void Create(const etcdserverpb::WatchCreateRequest& create);
  void Cancel(int64_t id);
  void AskProgress();
  // The next answer. Errors: those of GrpcClientStream::Read; kUnavailable  the stream has ended
  io::Task<StatusOr<etcdserverpb::WatchResponse>> Next(MonoTime deadline);
  // Receives nothing until it is released.
  void Hold() { client_.grpc().Hold(); }
  void Release() { client_.grpc().Release(); }
  // Ends stream and connection. Needed before destruction.
  io::Task<void> Reset();

 private:
  ServiceClient client_;
  std::unique_ptr<net_test::GrpcClientStream> stream_;
};

}  // namespace metastore::sim_test
