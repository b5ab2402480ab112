// GroupLeases: the leases of one group on this member: answers questions about them, by the
// leader's clock, and does the leader's part: expiry and checkpoints.
//
// Owned by the Group, on its state core. What makes it right is said in lessor.h.
//
//   ServeLoop   takes all calls that wait: a leader confirms once for all of them that it leads (a
//               read index, shared with reads), and answers; any other member asks the leader, in
//               one frame over a stream that is kept, and asks again where that was in vain, until
//               a call's deadline. What waits for an entry (a revoke, a checkpoint to be cleared)
//               is set aside, and answered as that is applied.
//   UpkeepLoop  leader, background class, in steps: learns the leases it has come to lead, has
//   those
//               revoked whose time is over, writes checkpoints.
//
// Bounds: limits::kLeaseCallsMax calls and kQuestionsWaitingMax questions that wait;
// kRevokesUnderWay revokes and one step's checkpoints given to raft at a time.
//
// Invariant: every call given to Ask is returned exactly once.
#pragma once

#include <optional>
#include <vector>

#include "engine/engine.h"
#include "io/gate.h"
#include "io/runtime.h"
#include "raft/payload.h"
#include "server/lease_call.h"
#include "server/lessor.h"
#include "server/peer_transport.h"

namespace metastore::server {

class Group;

struct LeaseEnd {
  LeaseId lease;
  MonoTime end = MonoTime::Max();  // Max: it is not known here, since another member leads
};

class GroupLeases final : public LeaseReceiver {
 public:
  static constexpr size_t kQuestionsWaitingMax = 1 << 18;

  // All outlive it.
  GroupLeases(io::Runtime& runtime, engine::Engine& engine, Group& group, PeerTransport& peers,
              Lessor::Options options);
  ~GroupLeases() override;

  void Start();
  // Returns every call and ends both loops; the group has stopped its reads.
  io::Task<void> Stop();

  void Ask(LeaseCall& call) override;
  // All leases of this member's state, by when they end, as far as that is known here, and id. In
  // steps: those that come and go meanwhile may be in it or not.
  io::Task<std::vector<LeaseEnd>> List();

  // --- from the group --------------------------------------------------------------------------
  // Looks whether this member leads, or leads no more.
  void NoteLeadership();
  void OnApplied();
  void OnLeaderChanged();
  void OnTick(MonoTime now);
  void FailAll(const ClientError& error);

  Lessor& lessor() { return lessor_; }
  const Lessor& lessor() const { return lessor_; }
  size_t questions_waiting() const { return questions_; }
  uint64_t forwarded_total() const { return forwarded_total_; }

 private:
  static constexpr size_t kStep = 256;  // leases looked at in one go
  static constexpr size_t kRevokesUnderWay = 512;

  std::optional<ClientError> RefusalOf(const LeaseCall& call) const;
  io::Task<void> ServeLoop();
  std::vector<LeaseCall*> TakeBatch();
  io::Task<Status> AskHere(std::vector<LeaseCall*>& batch);
  io::Task<Status> AskLeader(std::vector<LeaseCall*>& batch);
  void TakeBack(std::span<LeaseCall* const> batch);
  bool TryAnswer(LeaseCall& call);
  bool TryAnswer(const LeaseQuestion& question, LeaseAnswer& answer);
  void AnswerAside();
  void Return(LeaseCall& call);
  void Fail(LeaseCall& call, const ClientError& error);
  void ExpireCalls(std::vector<LeaseCall*>& calls, MonoTime now);
  const ClientError& LateError() const;

  io::Task<void> UpkeepLoop();
  bool RevokeStep();
  bool CheckpointStep(MonoTime now);
  bool ProposeCheckpoints(std::vector<engine::LeaseCheckpoint> checkpoints);
  void ProposeClears();
  engine::CommandHeader NewHeader();

  io::Runtime& runtime_;
  engine::Engine& engine_;
  Group& group_;
  PeerTransport& peers_;
  Lessor lessor_;
  Term led_;  // the term the lessor leads in; 0: none

  std::vector<LeaseCall*> waiting_;
  std::vector<LeaseCall*> aside_;  // wait for an entry to be applied
  size_t calls_ = 0;               // not returned yet, as the next
  size_t questions_ = 0;
  io::Signal arrived_;
  io::Signal leader_changed_;

  io::Signal upkeep_wanted_;
  bool full_ = false;  // as many revokes under way as may be
  MonoTime next_pass_;
  MonoTime refused_until_;        // raft took nothing: not again before
  std::vector<LeaseId> expired_;  // scratch of RevokeStep, as the next
  std::vector<raft::Payload> payloads_;
  uint64_t commands_ = 0;
  uint64_t forwarded_total_ = 0;

  bool stopping_ = false;
  io::StopSource stop_;
  io::Gate gate_;
};

}  // namespace metastore::server
