// LeaseClient: a client of the Lease service on a simulated machine: leases, what is attached to
// them, and keepalives over a stream that stays open. Over one connection, which is made anew after
// an error, to another member if told; one per task.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/runtime.h"
#include "tests/sim/service_client.h"

namespace metastore::sim_test {

struct LeaseTimes {
  int64_t ttl = 0;      // left; -1: there is no such lease
  int64_t granted = 0;  // at first
  std::vector<std::string> keys;
};

// Errors of all calls: net_test::GrpcClient's; kUnavailable also where nobody listens.
class LeaseClient final {
 public:
  LeaseClient(io::Runtime& runtime, io::Address server) : client_(runtime, std::move(server)) {}

  io::Task<StatusOr<int64_t>> Grant(int64_t lease, int64_t ttl, MonoTime deadline);
  io::Task<Status> Revoke(int64_t lease, MonoTime deadline);
  io::Task<StatusOr<LeaseTimes>> TimeToLive(int64_t lease, MonoTime deadline);
  io::Task<StatusOr<std::vector<int64_t>>> Leases(MonoTime deadline);
  io::Task<Status> Put(std::string key, int64_t lease, MonoTime deadline, std::string value = {});
  // The TTL that is answered; 0: there is no such lease. After an error the stream is made anew.
  io::Task<StatusOr<int64_t>> KeepAlive(int64_t lease, MonoTime deadline);
  // The same of several, written at once: what is answered, in order.
  io::Task<StatusOr<std::vector<int64_t>>> KeepAliveAll(std::vector<int64_t> leases,
                                                        MonoTime deadline);

  // Ends the connection. Needed before destruction.
  io::Task<void> Reset();
  // Another member from the next Reset on.
  void MoveTo(io::Address server) { client_.MoveTo(std::move(server)); }

 private:
  // With no stream of a connection that is lost, which the next call replaces.
  ServiceClient& Ready();
  void EndStream();

  ServiceClient client_;
  std::unique_ptr<net_test::GrpcClientStream> stream_;
};

}  // namespace metastore::sim_test
