// Proposals: what a client's write or a membership change becomes.
#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "io/base/limits.h"
#include "raft/mutation.h"
#include "raft/raft_core.h"

namespace metastore::raft {

ProposeResult RaftCore::Propose(std::span<Payload> payloads) {
  CHECK(!payloads.empty());
  size_t bytes = 0;
  for (const Payload& payload : payloads) {
    CHECK_LE(payload.size(), limits::kEntryBytesMax);
    bytes += payload.size();
  }
  if (const std::optional<ProposeResult> refusal = Refusal(bytes)) return *refusal;
  std::vector<Entry> entries = buffers_.TakeEntries();
  entries.resize(payloads.size());
  for (size_t i = 0; i < entries.size(); ++i) entries[i].payload = std::move(payloads[i]);
  const ProposeResult result = ProposeEntries(entries);
  buffers_.Give(std::move(entries));
  return result;
}

ProposeResult RaftCore::ProposeConfChange(const ConfChange& change, EntryType type) {
  CHECK(type == EntryType::kConfChangeV2 ||
        (type == EntryType::kConfChange && change.steps.size() == 1 && !change.EntersJoint()));
  Entry entry;
  entry.type = type;
  entry.payload = EncodeConfChange(change);
  CHECK_LE(entry.payload.size(), limits::kEntryBytesMax);
  if (const std::optional<ProposeResult> refusal = Refusal(entry.payload.size())) return *refusal;
  if (is_leader() && !LearnersReady(change)) {
    return {ProposeCode::kLearnerNotReady, {}, soft_.leader};
  }
  return ProposeEntries({&entry, 1});
}

std::optional<ProposeResult> RaftCore::Refusal(size_t bytes) const {
  const auto refuse = [this](ProposeCode code) { return ProposeResult{code, {}, soft_.leader}; };
  if (!is_leader()) {
    if (soft_.leader != kNobody && config_.forward_proposals) return std::nullopt;
    return refuse(ProposeCode::kNotLeader);
  }
  // Removed by its own log, and not told to step down: it may finish what it has, no more.
  if (tracker_.Find(config_.id) == nullptr) return ProposeResult{ProposeCode::kNotLeader, {}, {}};
  if (leadership_.transferee != kNobody) return refuse(ProposeCode::kTransferInProgress);
  const size_t used = leadership_.uncommitted_bytes;
  if (used > 0 && bytes > 0 && used + bytes > config_.uncommitted_bytes_max) {
    return refuse(ProposeCode::kQuotaFull);
  }
  return std::nullopt;
}

ProposeResult RaftCore::ProposeEntries(std::span<Entry> entries) {
  if (is_leader()) return AppendProposals(entries);
  Message message;
  message.type = MessageType::kPropose;
  message.to = soft_.leader;
  message.entries.assign(std::make_move_iterator(entries.begin()),
                         std::make_move_iterator(entries.end()));
  Send(std::move(message));
  return {ProposeCode::kForwarded, {}, soft_.leader};
}

ProposeResult RaftCore::AppendProposals(std::span<Entry> entries) {
  size_t bytes = 0;
  for (const Entry& entry : entries) bytes += entry.payload.size();
  if (const std::optional<ProposeResult> refusal = Refusal(bytes)) return *refusal;
  ProposeResult result;
  result.leader = soft_.leader;
  result.first = {term_, log_.LastIndex() + 1};
  LogIndex index = log_.LastIndex();
  LogIndex pending = leadership_.pending_conf;
  for (Entry& entry : entries) {
    ++index;
    if (entry.type == EntryType::kNormal) continue;
    if (FitsMembership(entry, pending)) {
      pending = index;
    } else {
      // An empty entry takes its place, so that the others keep theirs.
      entry = Entry();
      result.code = ProposeCode::kConfChangeRefused;
    }
  }
  const bool appended = AppendEntries(entries);
  CHECK(appended);
  if (pending > leadership_.pending_conf) DropLease();
  leadership_.pending_conf = pending;
  BroadcastAppend();
  return result;
}

bool RaftCore::FitsMembership(const Entry& entry, LogIndex pending) const {
  const StatusOr<ConfChange> change = DecodeConfChange(entry.payload);
  if (!change.ok()) return false;
  if (!LearnersReady(*change)) return false;
  if (!config_.validate_conf_changes) return true;
  // One at a time: the next is judged by a membership that is in effect.
  if (pending > log_.applied() && !Mutated(Mutation::kConfChangeAtOnce)) return false;
  return tracker_.config().voters.joint() == change->steps.empty();
}

bool RaftCore::LearnersReady(const ConfChange& change) const {
  const Progress* const own = tracker_.Find(config_.id);
  if (own == nullptr || config_.learner_ready_percent == 0) return true;
  const auto lags = [&](const ConfChangeStep& step) {
    const Progress* const progress = tracker_.Find(step.node);
    const bool promotes = step.kind == ConfChangeKind::kAddVoter && progress != nullptr &&
                          progress->learner() && !Mutated(Mutation::kPromotedUnready);
    if (!promotes) return false;
    // Trap 15: the next quorum may need it.
    const uint64_t missing = 100 - config_.learner_ready_percent;
    const LogIndex all = own->match();
    const uint64_t lag_max = all.value() / 100 * missing + all.value() % 100 * missing / 100;
    return progress->state() != ProgressState::kReplicate || progress->match() + lag_max < all;
  };
  return std::none_of(change.steps.begin(), change.steps.end(), lags);
}

}  // namespace metastore::raft
