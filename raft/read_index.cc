#include "raft/read_index.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "raft/mutation.h"

namespace metastore::raft {

bool ReadQueue::Add(ReadToken token) {
  if (waiting_.size() + in_round_.size() >= reads_max_) return false;
  waiting_.push_back(token);
  return true;
}

void ReadQueue::AddRemote(RemoteRead read) {
  for (RemoteRead& waiting : remote_waiting_) {
    if (waiting.from != read.from) continue;
    // The follower has one batch under way, so an older one is no longer wanted.
    waiting.batch = std::max(waiting.batch, read.batch);
    return;
  }
  remote_waiting_.push_back(read);
}

uint64_t ReadQueue::StartRound(LogIndex index) {
  CHECK_EQ(round_, 0u);
  round_ = ++last_round_;
  round_index_ = index;
  ticks_ = 0;
  acked_.Clear();
  in_round_ = std::exchange(waiting_, {});
  remote_in_round_ = std::exchange(remote_waiting_, {});
  return round_;
}

const NodeSet* ReadQueue::Acknowledge(NodeId from, uint64_t round) {
  if (round_ == 0) return nullptr;
  if (round != round_ && !Mutated(Mutation::kLateRoundCounted)) return nullptr;
  acked_.Insert(from);
  return &acked_;
}

std::vector<RemoteRead> ReadQueue::FinishRound(LogIndex index) {
  CHECK_NE(round_, 0u);
  for (const ReadToken token : in_round_) states_.push_back({token, index, ReadOutcome::kServe});
  in_round_.clear();
  round_ = 0;
  return std::exchange(remote_in_round_, {});
}

std::vector<RemoteRead> ReadQueue::ServeWaiting(LogIndex index) {
  for (const ReadToken token : waiting_) states_.push_back({token, index, ReadOutcome::kServe});
  waiting_.clear();
  return std::exchange(remote_waiting_, {});
}

void ReadQueue::RefuseRound() {
  for (const ReadToken token : in_round_) states_.push_back({token, {}, ReadOutcome::kRefused});
  in_round_.clear();
  remote_in_round_.clear();
  round_ = 0;
}

void ReadQueue::RefuseAll() {
  RefuseRound();
  for (const ReadToken token : waiting_) states_.push_back({token, {}, ReadOutcome::kRefused});
  waiting_.clear();
  remote_waiting_.clear();
}

bool ReadQueue::TickBatch(int ticks_max) {
  if (round_ == 0 || ++ticks_ < ticks_max) return false;
  ticks_ = 0;
  return true;
}

}  // namespace metastore::raft
