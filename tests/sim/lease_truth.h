// What became of leases, by the cluster's log alone (log_watch.h), and whether clients were told
// so: an engine of its own kind, of leases and of keys under kLeaseKeys.
//
//  1. Whoever is told that a lease has a TTL (granted or kept alive) at the end of a call, has it
//     for that long from the beginning of the call: its time does not end before. Nor does
//     time-to-live tell of less; nor of more than the TTL and what a new leader adds.
//  2. Whoever is told that a lease is gone, or is there, is told what was so at some moment of the
//     call.
//  3. Keys go with their lease, in one revision, and not otherwise.
//
// Times are true ones. Where the clocks of members drift, an end may come sooner by that.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/command.h"
#include "tests/sim/history.h"
#include "tests/sim/log_watch.h"

namespace metastore::sim_test {

// Of all keys that clients attach to leases; written by plain puts alone.
inline constexpr std::string_view kLeaseKeys = "lease/";

// A lease from its grant to its end; its id may come again.
struct LeaseLife {
  int64_t lease = 0;
  int64_t ttl_seconds = 0;
  int64_t remaining_seconds = 0;  // as a checkpoint has it; 0: none
  LogIndex granted_at;
  // As CommittedEntry's; Max: it lives.
  MonoTime granted_after;
  MonoTime granted_by;
  MonoTime gone_after = MonoTime::Max();
  MonoTime gone_by = MonoTime::Max();
  bool expired = false;  // gone since a leader took its time for over; else a client has revoked it
  std::set<std::string> keys;

  bool lives() const { return gone_by == MonoTime::Max(); }
};

// What one call has told of a lease.
struct LeaseTold {
  enum class Kind : uint8_t {
    kGranted,
    kRenewed,
    kLooked,  // it is there, with `seconds` left
    kThere,   // something was done that needs it
    kGone,
  };
  Kind kind = Kind::kGone;
  int64_t lease = 0;
  MonoTime sent;
  MonoTime answered;
  int64_t seconds = 0;  // kGranted, kRenewed: the TTL
};

class LeaseTruth final {
 public:
  void Take(const CommittedEntry& entry);

  const std::deque<LeaseLife>& lives() const { return lives_; }
  const std::map<int64_t, LeaseLife*>& living() const { return living_; }
  uint64_t checkpoints() const { return checkpoints_; }
  uint64_t expired() const { return expired_; }

  // Problems. `told` by when it was told; `drift_per_million`: how much faster than true time a
  // clock may be; `election`: the timeout, by which a new leader makes leases last longer.
  std::vector<std::string> CheckTold(const std::vector<LeaseTold>& told, int64_t drift_per_million,
                                     Duration election) const;
  std::vector<std::string> CheckKeys(const StoreHistory& store) const;

 private:
  struct KeyChange {
    std::string value;
    bool deleted = false;
    LogIndex cause;
  };

  void Do(const CommittedEntry& entry, const engine::Command& command);
  void Grant(const CommittedEntry& entry, const engine::LeaseGrantOp& grant);
  void Revoke(const CommittedEntry& entry, const engine::Command& command, LeaseId lease);
  LeaseLife* Find(LeaseId lease, LogIndex until);
  void Put(const CommittedEntry& entry, const engine::PutOp& put);
  std::vector<const LeaseLife*> Candidates(const LeaseTold& told) const;
  std::string CheckOne(const LeaseTold& told, int64_t drift_per_million) const;
  std::string CheckLook(const LeaseTold& look, const std::vector<const LeaseTold*>& promises,
                        int64_t drift_per_million) const;
  std::string CheckMost(const LeaseTold& look, Duration election) const;
  bool GoneWithin(const LeaseTold& told) const;

  std::deque<LeaseLife> lives_;
  std::map<int64_t, LeaseLife*> living_;
  std::map<int64_t, std::vector<const LeaseLife*>> by_id_;
  std::map<std::string, LeaseLife*> attached_;
  std::map<std::string, std::vector<KeyChange>> changes_;
  uint64_t checkpoints_ = 0;
  uint64_t expired_ = 0;
};

}  // namespace metastore::sim_test
