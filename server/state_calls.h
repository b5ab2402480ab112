// The requests that edge cores send to the state core, as operations in the frames of the
// coroutines that await them (io/cross_call.h).
//
// What a call borrows (views into the client's request, in the same frame) stays in place and
// unchanged until it returns, so the other core may read it. Results own their bytes.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "engine/command.h"
#include "engine/types.h"
#include "io/cross_call.h"
#include "raft/payload.h"
#include "server/errors.h"
#include "server/members.h"
#include "server/stage_times.h"

namespace metastore::server {

class MemberCall;
class ProposeCall;
class ReadCall;
class TransferCall;

// What calls arrive at, on the state core: the Group.
class CallReceiver {
 public:
  virtual ~CallReceiver() = default;
  // Each call is returned exactly once, now or later.
  virtual void Propose(ProposeCall& call) = 0;
  virtual void Read(ReadCall& call) = 0;
  virtual void ChangeMember(MemberCall& call) = 0;
  virtual void TransferLeader(TransferCall& call) = 0;
};

// What a client's call demands of the member that serves it.
struct CallTerms {
  MonoTime deadline = MonoTime::Max();
  bool require_leader = false;  // refuse at once when no leader is known (metadata "hasleader")
};

struct WriteAnswer {
  engine::ApplyResult applied;
  // What only the answer needs (previous pairs, ranges inside a transaction), in the order of
  // VisitAnswerReads (server/answer_reads.h).
  std::vector<engine::RangeResult> reads;
  Term term;
};
using WriteResult = StatusOr<WriteAnswer>;

// A replicated command on its way to being applied.
class ProposeCall final : public io::CrossCall {
 public:
  ProposeCall(io::Runtime& from, int to, CallReceiver& receiver)
      : CrossCall(from, to), receiver_(receiver) {}

  // In. `op` is the decoded form of `command` where its answer needs reads, else null.
  CallTerms terms;
  engine::RequestId id;  // unique for ever: member, boot and a counter of this core
  raft::Payload command;
  const engine::CommandOp* op = nullptr;
  uint64_t quota_cost_bytes = 0;  // 0: passes whatever the quota says (deletes, compactions)

  // In: set where the write is measured, with `began`. Out: all but `answered`; unset: not known.
  std::optional<StageTimes> stages;

  // Out: set before the call is returned.
  WriteResult result;

  // Proposals' own.
  size_t bytes = 0;  // what it counts against the limit
  Term proposed_in;  // 0: it waits

  void Fail(const ClientError& error) { result = ToStatus(error); }

 private:
  void Arrive() override { receiver_.Propose(*this); }

  CallReceiver& receiver_;
};

struct ReadAnswer {
  engine::RangeResult range;
  Term term;
};

// One Range.
class ReadCall final : public io::CrossCall {
 public:
  ReadCall(io::Runtime& from, int to, CallReceiver& receiver)
      : CrossCall(from, to), receiver_(receiver) {}

  CallTerms terms;
  bool serializable = false;  // answered from this member's state as it is
  engine::RangeQuery query;

  StatusOr<ReadAnswer> result;  // set before the call is returned

  void Fail(const ClientError& error) { result = ToStatus(error); }

 private:
  void Arrive() override { receiver_.Read(*this); }

  CallReceiver& receiver_;
};

// Values are part of the format in which a follower asks the leader.
enum class MemberOp : uint8_t {
  kAdd = 1,
  kAddLearner = 2,
  kPromote = 3,
  kUpdate = 4,  // the peer URLs
  kRemove = 5,
};

// A change of the membership; done once it is applied here.
class MemberCall final : public io::CrossCall {
 public:
  MemberCall(io::Runtime& from, int to, CallReceiver& receiver)
      : CrossCall(from, to), receiver_(receiver) {}

  CallTerms terms;
  engine::RequestId id;
  MemberOp op = MemberOp::kAdd;
  Member member;           // kPromote, kRemove: the id; kUpdate: and the peer URLs
  bool forwarded = false;  // from another member, which took this one for the leader

  Status result;                // set before the call is returned, as the others:
  std::vector<Member> members;  // all, afterwards
  Term term;

  void Fail(const ClientError& error) { result = ToStatus(error); }

 private:
  void Arrive() override { receiver_.ChangeMember(*this); }

  CallReceiver& receiver_;
};

// Hands leadership to another member; done once that leads.
class TransferCall final : public io::CrossCall {
 public:
  TransferCall(io::Runtime& from, int to, CallReceiver& receiver)
      : CrossCall(from, to), receiver_(receiver) {}

  NodeId target;
  MonoTime deadline = MonoTime::Max();

  Status result;

  void Fail(const ClientError& error) { result = ToStatus(error); }

 private:
  void Arrive() override { receiver_.TransferLeader(*this); }

  CallReceiver& receiver_;
};

// A look at the group's state, taken on its core; `look` runs there once and must not wait.
class LookCall final : public io::CrossCall {
 public:
  LookCall(io::Runtime& from, io::Runtime& to, std::function<void()> look)
      : CrossCall(from, to.core()), there_(to), look_(std::move(look)) {}

 private:
  void Arrive() override {
    look_();
    Return(there_);
  }

  io::Runtime& there_;
  std::function<void()> look_;
};

}  // namespace metastore::server
