#include "raft/trace.h"

#include <string_view>

#include "io/base/check.h"
#include "raft/raft_core.h"

namespace metastore::raft {
namespace {

std::string Quoted(NodeId id) { return Concat("\"", id.value(), "\""); }

std::string List(const std::vector<NodeId>& ids) {
  std::string out = "[";
  for (const NodeId id : ids) out += (out.size() > 1 ? "," : "") + Quoted(id);
  return out + "]";
}

// The kinds the schema knows, without Send and Receive before them; empty: none.
std::string_view MessageEvent(MessageType type) {
  switch (type) {
    case MessageType::kAppend:
    case MessageType::kHeartbeat:
    case MessageType::kSnapshot:
      return "AppendEntriesRequest";
    case MessageType::kAppendResponse:
    case MessageType::kHeartbeatResponse:
      return "AppendEntriesResponse";
    case MessageType::kVote:
      return "RequestVoteRequest";
    case MessageType::kVoteResponse:
      return "RequestVoteResponse";
    case MessageType::kPropose:
    case MessageType::kPreVote:
    case MessageType::kPreVoteResponse:
    case MessageType::kReadIndex:
    case MessageType::kReadIndexResponse:
    case MessageType::kTransferLeader:
    case MessageType::kTimeoutNow:
    case MessageType::kStorageAppendResponse:
      return "";
  }
  CHECK_UNREACHABLE();
}

std::string EventName(const TraceEvent& event) {
  switch (event.kind) {
    case TraceKind::kInitState:
      return "InitState";
    case TraceKind::kBecomeCandidate:
      return "BecomeCandidate";
    case TraceKind::kBecomeFollower:
      return "BecomeFollower";
    case TraceKind::kBecomeLeader:
      return "BecomeLeader";
    case TraceKind::kCommit:
      return "Commit";
    case TraceKind::kReplicate:
      return "Replicate";
    case TraceKind::kChangeConf:
      return "ChangeConf";
    case TraceKind::kApplyConfChange:
      return "ApplyConfChange";
    case TraceKind::kReady:
      return "Ready";
    case TraceKind::kSend:
      return Concat("Send", MessageEvent(event.message->type));
    case TraceKind::kReceive:
      return Concat("Receive", MessageEvent(event.message->type));
  }
  CHECK_UNREACHABLE();
}

std::string MessageField(const Message& message) {
  // A snapshot counts as the entries it stands for. A refused vote says what is committed, which
  // the schema has no place for.
  const bool no_place = message.snapshot != nullptr || message.type == MessageType::kVoteResponse;
  const EntryId log = no_place ? EntryId() : message.log;
  const uint64_t entries =
      message.snapshot != nullptr ? message.snapshot->last.index.value() : message.entries.size();
  return Concat(",\"msg\":{\"type\":\"", Name(message.type), "\",\"term\":", message.term.value(),
                ",\"from\":", Quoted(message.from), ",\"to\":", Quoted(message.to),
                ",\"entries\":", entries, ",\"logTerm\":", log.term.value(),
                ",\"index\":", log.index.value(), ",\"commit\":", message.commit.value(),
                ",\"vote\":\"0\",\"reject\":", message.reject ? "true" : "false",
                ",\"rejectHint\":", message.reject_hint.value(), "}");
}

std::string ChangeField(const ConfChange& change) {
  std::string out;
  for (const ConfChangeStep& step : change.steps) {
    std::string_view action;
    switch (step.kind) {
      case ConfChangeKind::kAddVoter:
        action = "AddNewServer";
        break;
      case ConfChangeKind::kRemove:
        action = "RemoveServer";
        break;
      case ConfChangeKind::kAddLearner:
        action = "AddLearner";
        break;
      case ConfChangeKind::kUpdate:
        continue;  // nothing to raft
    }
    out += Concat(out.empty() ? "" : ",", "{\"nid\":", Quoted(step.node), ",\"action\":\"", action,
                  "\"}");
  }
  return ",\"prop\":{\"cc\":{\"changes\":[" + out + "]}}";
}

std::string Properties(const TraceEvent& event) {
  if (event.change != nullptr) return ChangeField(*event.change);
  if (event.kind == TraceKind::kApplyConfChange) {
    return ",\"prop\":{\"cc\":{\"newconf\":" + List(event.conf.voters) + "}}";
  }
  if (event.kind != TraceKind::kSend || event.message->type != MessageType::kAppend) return "";
  return Concat(",\"prop\":{\"match\":", event.match.value(), ",\"next\":", event.next.value(),
                "}");
}

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kFollower:
      return "StateFollower";
    case Role::kPreCandidate:
      return "StatePreCandidate";
    case Role::kCandidate:
      return "StateCandidate";
    case Role::kLeader:
      return "StateLeader";
  }
  CHECK_UNREACHABLE();
}

std::string TraceLine(const TraceEvent& event) {
  const bool known = event.message == nullptr || !MessageEvent(event.message->type).empty();
  if (!known) return "";
  return Concat(
      "{\"tag\":\"trace\",\"event\":{\"name\":\"", EventName(event),
      "\",\"nid\":", Quoted(event.node), ",\"state\":{\"term\":", event.state.term.value(),
      ",\"vote\":", Quoted(event.state.vote), ",\"commit\":", event.state.commit.value(),
      "},\"role\":\"", RoleName(event.role), "\",\"log\":", event.last.value(), ",\"conf\":[",
      List(event.conf.voters), ",", List(event.conf.voters_outgoing), "]",
      event.message == nullptr ? "" : MessageField(*event.message), Properties(event), "}}\n");
}

void RaftCore::Trace(TraceKind kind, const Message* message, const ConfChange* change) const {
  TraceEvent event;
  event.kind = kind;
  event.node = config_.id;
  event.state = CurrentHardState();
  event.role = soft_.role;
  event.last = log_.LastIndex();
  event.conf = conf();
  event.message = message;
  event.change = change;
  if (const Progress* const own = tracker_.Find(config_.id)) {
    event.match = own->match();
    event.next = own->next();
  }
  config_.trace->OnEvent(event);
}

void RaftCore::TraceAppended(std::span<const Entry> entries) const {
  for (const Entry& entry : entries) {
    if (entry.type == EntryType::kNormal) {
      Trace(TraceKind::kReplicate);
      continue;
    }
    const StatusOr<ConfChange> change = DecodeConfChange(entry.payload);
    if (change.ok() && !change->steps.empty()) Trace(TraceKind::kChangeConf, nullptr, &*change);
  }
}

}  // namespace metastore::raft
