// Leaseholders: clients on a machine of their own, each with a few leases and keys attached to
// them, which keep some alive and others not, and write down what they are told (lease_truth.h).
//
// A client turns to any member, and to another after an error. It grants ids of its own again once
// they are gone, at times while its revoke of one is under way, and comes at times just as one
// ends. Once Calm, it keeps some leases alive to the end, often or just in time, and leaves the
// others alone, with a long one that it grants for this.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "io/gate.h"
#include "tests/sim/cluster_harness.h"
#include "tests/sim/lease_client.h"
#include "tests/sim/lease_truth.h"

namespace metastore::sim_test {

struct LeaseholderOptions {
  int holders = 4;
  int64_t ttl_seconds_max = 5;
  Duration pause_max = Milliseconds(40);
};

class Leaseholders final {
 public:
  // The cluster's client machine runs them; both outlive it.
  Leaseholders(ClusterHarness& cluster, Prng prng, LeaseholderOptions options);
  // Stops.
  ~Leaseholders();

  void Start();
  void Calm() { calm_ = true; }
  // From when on no call is under way that renews what is not kept.
  bool calm() const { return calm_holders_ == options_.holders; }
  // Runs the world until the last has gone.
  void Stop();

  const std::vector<LeaseTold>& told() const { return told_; }
  // Once Calm: those that are kept alive to the end.
  const std::set<int64_t>& kept() const { return kept_; }
  uint64_t unanswered() const { return unanswered_; }

 private:
  // A lease that its holder takes for its own.
  struct Held {
    int64_t ttl_seconds = 0;
    MonoTime next;   // kept alive then,
    MonoTime until;  // and no more from then on
    Duration every;
  };
  struct Holder {
    explicit Holder(LeaseClient lease_client) : client(std::move(lease_client)) {}

    LeaseClient client;
    int number = 0;
    std::map<int64_t, Held> held;
    int64_t last = 0;  // the lease that was dropped last
    bool calm = false;
  };

  io::Task<void> RunHolder(int number);
  io::Task<void> AnyAction(Holder& holder);
  io::Task<void> Grant(Holder& holder, int64_t lease);
  io::Task<void> GrantFor(Holder& holder, int64_t lease, int64_t ttl_seconds);
  io::Task<void> KeepAlive(Holder& holder, std::vector<int64_t> leases);
  io::Task<void> Look(Holder& holder, int64_t lease);
  io::Task<void> Attach(Holder& holder, int64_t lease);
  io::Task<void> Revoke(Holder& holder, int64_t lease);
  io::Task<void> RevokeBeside(int64_t lease);
  io::Task<void> MoveOn(Holder& holder);
  void NoteRevoke(const Status& status, int64_t lease, MonoTime sent);
  void Hold(Holder& holder, int64_t lease, int64_t ttl_seconds);
  void Drop(Holder& holder, int64_t lease);
  io::Task<void> BecomeCalm(Holder& holder);
  std::vector<int64_t> Due(Holder& holder);
  void Note(LeaseTold::Kind kind, int64_t lease, MonoTime sent, int64_t seconds = 0);
  int64_t AnyId(const Holder& holder);
  int64_t AnyHeld(const Holder& holder);
  io::Address AnyServer();
  MonoTime Now() { return cluster_.world().Now(); }
  MonoTime Deadline();
  io::Runtime& runtime() { return cluster_.client().runtime(); }
  io::SignalWait Sleep(int64_t us) {
    return io::SleepUntil(runtime(), runtime().Now() + Microseconds(us));
  }

  ClusterHarness& cluster_;
  Prng prng_;
  const LeaseholderOptions options_;
  std::vector<LeaseTold> told_;
  std::set<int64_t> kept_;
  uint64_t unanswered_ = 0;
  uint64_t values_ = 0;
  bool on_ = true;
  bool calm_ = false;
  int calm_holders_ = 0;
  io::Gate gate_;
};

}  // namespace metastore::sim_test
