#include "server/reads.h"

#include <algorithm>
#include <utility>

#include "io/base/limits.h"
#include "server/mutation.h"

namespace metastore::server {

Reads::~Reads() { CHECK_EQ(pending_, 0u); }

void Reads::Add(ReadCall& call) {
  ++pending_;
  if (pending_ > limits::kReadsMax) return Fail(call, errors::kTooManyRequests);
  waiting_.push_back(&call);
}

void Reads::StartRound(raft::RaftCore& core) {
  if (waiting_.empty()) return;
  ++last_token_;
  switch (core.ReadIndex(last_token_)) {
    case raft::ReadCode::kAccepted:
      std::ranges::reverse(waiting_);
      rounds_.push_back(Round{.token = last_token_, .calls = std::move(waiting_)});
      waiting_.clear();
      if (Mutated(Mutation::kReadOwnCommit)) Confirm({last_token_, core.commit()});
      return;
    case raft::ReadCode::kNoLeader:   // asked again at the next tick, until the reads expire
    case raft::ReadCode::kQueueFull:  // likewise: rounds end with every heartbeat answer
      return;
  }
  CHECK_UNREACHABLE();
}

void Reads::Confirm(const raft::ReadState& state) {
  const auto round = std::ranges::find(rounds_, state.token, &Round::token);
  if (round == rounds_.end()) return;  // every read of it expired
  if (state.outcome == raft::ReadOutcome::kServe || Mutated(Mutation::kReadRefusedServed)) {
    round->confirmed = true;
    round->index = state.index;
    return;
  }
  std::vector<ReadCall*> calls = std::move(round->calls);
  rounds_.erase(round);
  for (ReadCall* call : calls) Fail(*call, errors::kLeaderChanged);
}

void Reads::Serve(LogIndex applied, size_t count, std::vector<ReadCall*>& ready) {
  while (count > 0 && Servable(applied)) {
    std::vector<ReadCall*>& calls = rounds_.front().calls;
    const size_t taken = std::min(count, calls.size());
    ready.insert(ready.end(), calls.rbegin(), calls.rbegin() + static_cast<ptrdiff_t>(taken));
    calls.resize(calls.size() - taken);
    pending_ -= taken;
    count -= taken;
    if (calls.empty()) rounds_.pop_front();
  }
}

void Reads::Expire(MonoTime now) {
  ExpireIn(waiting_, now);
  for (Round& round : rounds_) ExpireIn(round.calls, now);
  std::erase_if(rounds_, [](const Round& round) { return round.calls.empty(); });
}

void Reads::ExpireIn(std::vector<ReadCall*>& calls, MonoTime now) {
  std::erase_if(calls, [&](ReadCall* call) {
    if (call->terms.deadline > now) return false;
    Fail(*call, errors::kTimeout);
    return true;
  });
}

void Reads::FailAll(const ClientError& error) {
  std::vector<ReadCall*> calls = std::move(waiting_);
  waiting_.clear();
  for (Round& round : rounds_) calls.insert(calls.end(), round.calls.begin(), round.calls.end());
  rounds_.clear();
  for (ReadCall* call : calls) Fail(*call, error);
}

void Reads::Fail(ReadCall& call, const ClientError& error) {
  CHECK_GT(pending_, 0u);
  --pending_;
  call.Fail(error);
  call.Return(runtime_);
}

}  // namespace metastore::server
