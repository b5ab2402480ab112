// Lessor: the time of leases, on the member that leads: when each ends, which have ended, and what
// of that a later leader must be told.
//
// Owned by GroupLeases, on the state core; synchronous. Which leases there are, their TTLs and
// checkpoints are replicated (engine/); when they end is not: it is kept by the leader alone and
// lost with it. A member that does not lead keeps nothing.
//
// Why no lease ends early or is kept by two minds (GroupLeases keeps rules 1 to 4):
//  1. It begins to lead (Lead) in a term of its own, once it has applied an entry of that term: all
//     earlier entries have been applied, and all later ones of that term are its own. What an
//     earlier leader still had under way is in the log before that, or in no log any more.
//  2. Then every lease gets its checkpointed remaining time, or its whole TTL, and an election
//     timeout, anew from that moment. So what an earlier leader acknowledged holds: it did so
//     before this one could lead (rule 3), and had its checkpoint cleared (rule 5).
//  3. A keepalive is acknowledged when leadership of this term was confirmed after it came (a read
//     index), all committed before is applied, and nothing here says otherwise: a deposed leader
//     acknowledges none, nor does a new one that has not heard of a revoke.
//  4. Revokes and checkpoints are appended to this leader's own log in this term, or not at all:
//     never forwarded, never proposed again. They come into effect by being applied in the term, or
//     end with it. A lease whose revoke is under way is not renewed: the keepalive waits until it
//     is gone, or is asked again of the next leader. They name the index that was applied when they
//     were proposed: a lease of the same id that a client grants behind that is another, which they
//     pass over (engine/command.h). So a record is of one grant: it goes when its lease does, by
//     whichever revoke comes first, and the grant that follows makes its own.
//  5. A lease with a checkpoint, applied or under way, is renewed only after an entry that clears
//  it
//     was applied, which comes after the checkpoint in the same log.
//  6. Renewals may come late, time is never taken back: a renewal only moves the end away.
//  7. Time in which the process did not run (kPause or more) does not count: keepalives that came
//     meanwhile are heard first.
//
// How late a lease may end, without leader changes: kPause after its time, and what it takes to
// commit the revokes of those that ended before it. A new leader adds its election, an election
// timeout, the time since the last checkpoint (two intervals at most), and a second for each
// kLoadedPerSecond leases that would otherwise end in the same one.
//
// Bounds: some 90 bytes a lease. Renewals touch a hash table only; what is queued to be looked at
// moves when its old time has come.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "engine/engine.h"
#include "io/metrics.h"
#include "io/signal.h"

namespace metastore::server {

struct LessorStats {
  uint64_t granted_total = 0;  // leases that came, and
  uint64_t revoked_total = 0;  // went, since the start, whoever leads
  uint64_t renewed_total = 0;
  uint64_t expired_total = 0;      // revoked here because their time was over
  uint64_t checkpoints_total = 0;  // leases in checkpoints proposed here
  uint64_t clears_total = 0;       // of these, to clear one
};

class Lessor final : public engine::ChangeListener {
 public:
  struct Options {
    Duration election_timeout = Seconds(1);
    Duration checkpoint_interval = Seconds(300);
  };

  // A time in which nothing was asked of it is no time, if it was longer: whoever leads asks more
  // often than that.
  static constexpr Duration kPause = Seconds(1);
  // Leases of a former leader that may end in one second.
  static constexpr uint32_t kLoadedPerSecond = 20'000;

  // Both outlive it.
  Lessor(const io::TimerService& clock, const engine::Engine& engine, Options options);

  // --- leading ---------------------------------------------------------------------------------
  void Lead();
  void Follow();
  bool leads() const { return leads_; }
  // Takes the next `count` leases of the engine. False: it has all. Those that are asked for
  // meanwhile are taken at once.
  bool LoadStep(size_t count);

  // --- keepalives ------------------------------------------------------------------------------
  enum class Renewal : uint8_t {
    kRenewed,
    kGone,          // there is no such lease
    kRevoking,      // ask again once its revoke was applied
    kCheckpointed,  // propose an entry that clears it (TakeClears), ask again once it was applied
  };
  // `ttl_seconds` becomes that of a renewed one. It leads (CHECKed, as in all that follow).
  Renewal Renew(LeaseId lease, int64_t& ttl_seconds);
  // A keepalive has come that cannot be answered yet: the lease does not end before a TTL from now.
  void Hold(LeaseId lease);
  struct Standing {
    int64_t granted_seconds = 0;    // the TTL
    int64_t remaining_seconds = 0;  // whole ones
  };
  std::optional<Standing> Look(LeaseId lease);

  // --- expiry ----------------------------------------------------------------------------------
  // Looks at up to `count` leases whose time may be over; those it is over for are appended to
  // `expired` and count as being revoked from now on.
  void TakeExpired(size_t count, std::vector<LeaseId>& expired);
  // These were not proposed after all: they end later.
  void PutBack(std::span<const LeaseId> expired);
  size_t revoking() const { return revoking_; }
  // When TakeExpired will have something to look at; Max: never as it is.
  MonoTime next_look() const;

  // --- checkpoints -----------------------------------------------------------------------------
  // Looks at the next `count` leases of the pass under way and appends to `checkpoints` what is to
  // be proposed. False: the pass is over.
  bool CheckpointStep(size_t count, std::vector<engine::LeaseCheckpoint>& checkpoints);
  // Entries to clear, of leases found kCheckpointed; proposed next, or given back.
  void TakeClears(std::vector<engine::LeaseCheckpoint>& clears);
  void PutBackClears(std::span<const engine::LeaseCheckpoint> clears);
  // Between passes.
  Duration pass_interval() const { return options_.checkpoint_interval / kPassShare; }

  // When the lease ends; nothing where this member does not lead.
  std::optional<MonoTime> EndOf(LeaseId lease) const;
  // Of the leases it keeps the time of.
  size_t size() const;
  const LessorStats& stats() const { return stats_; }
  const io::Histogram& ttls() const { return ttls_; }

  // --- engine::ChangeListener ------------------------------------------------------------------
  Detail WantedDetail() const override { return Detail::kNothing; }
  void OnChanges(Revision /*revision*/, std::span<const engine::Event> /*events*/) override {}
  void OnLeaseGranted(const engine::LeaseInfo& lease) override;
  void OnLeaseRevoked(LeaseId lease) override;
  void OnLeaseCheckpointed(const engine::LeaseInfo& lease) override;
  void OnCompacted(Revision /*revision*/) override {}
  void OnRestored() override { Follow(); }

 private:
  static constexpr size_t kShards = 64;         // so that none is rehashed for long
  static constexpr size_t kSpreadSlots = 4096;  // seconds, modulo
  static constexpr int64_t kPassShare = 5;

  enum class Checkpoint : uint8_t { kNone, kSet, kClearing };
  struct Record {
    MonoTime end;
    MonoTime queued;  // its place in queue_; not after `end`
    int64_t ttl_seconds : 40;
    bool revoking : 1;  // and not in queue_
    Checkpoint checkpoint : 2;
  };
  static_assert(sizeof(Record) == 24);
  struct Due {
    MonoTime when;
    LeaseId lease;
    auto operator<=>(const Due&) const = default;
  };
  using Shard = absl::flat_hash_map<LeaseId, Record>;

  MonoTime Now();
  static size_t PlaceOf(LeaseId lease);
  Shard& ShardOf(LeaseId lease) { return shards_[PlaceOf(lease)]; }
  const Shard& ShardOf(LeaseId lease) const { return shards_[PlaceOf(lease)]; }
  Record* Find(LeaseId lease);
  Record& Insert(const engine::LeaseInfo& lease, MonoTime end);
  void Load(const engine::LeaseInfo& lease);
  bool WantsCheckpoint(const engine::LeaseInfo& lease, int64_t& remaining_seconds);

  const io::TimerService& clock_;
  const engine::Engine& engine_;
  const Options options_;
  bool leads_ = false;
  bool loading_ = false;
  LeaseId loaded_{INT64_MIN};  // up to here
  LeaseId passed_{INT64_MIN};  // by the pass of checkpoints
  MonoTime seen_;              // when the clock was last read
  Duration paused_;            // in which it did not run since it leads: what its times lack
  size_t revoking_ = 0;
  std::array<Shard, kShards> shards_;
  absl::btree_set<Due> queue_;
  std::vector<uint32_t> spread_;   // leases loaded by the second they end in
  std::vector<LeaseId> to_clear_;  // found kCheckpointed
  LessorStats stats_;
  io::Histogram ttls_;
};

}  // namespace metastore::server
