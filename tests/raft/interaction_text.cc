#include "tests/raft/interaction_text.h"

#include <cstdio>
#include <sstream>

#include "raft/trace.h"
#include "tests/raft/datadriven.h"

namespace metastore::raft {
namespace {

std::string Number(auto id) { return std::to_string(id.value()); }

std::string Target(NodeId id) {
  if (id == kAppendThread) return "AppendThread";
  if (id == kApplyThread) return "ApplyThread";
  return Number(id);
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += '\\';
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", byte);
      out += hex;
    }
  }
  return out + "\"";
}

std::string List(const std::vector<NodeId>& ids) {
  std::string out = "[";
  for (const NodeId id : ids) {
    if (out.size() > 1) out += ' ';
    out += Number(id);
  }
  return out + "]";
}

std::string Head(NodeId from, NodeId to, std::string_view type, Term term, EntryId log) {
  return Target(from) + "->" + Target(to) + " " + std::string(type) + " Term:" + Number(term) +
         " Log:" + Number(log.term) + "/" + Number(log.index);
}

std::string EntryList(const std::vector<Entry>& entries, const std::string& indent) {
  if (entries.empty()) return "";
  if (entries.size() == 1) return " Entries:[" + Show(entries.front()) + "]";
  std::string out = " Entries:[";
  for (const Entry& entry : entries) out += "\n" + indent + "  " + Show(entry);
  return out + "\n" + indent + "]";
}

std::string SnapshotLine(const SnapshotMeta* snapshot, const std::string& indent) {
  if (snapshot == nullptr) return "";
  return "\n" + indent + "  Snapshot: " + Show(*snapshot);
}

}  // namespace

std::string ShowSteps(const std::vector<ConfChangeStep>& steps) {
  std::string out;
  for (const ConfChangeStep& step : steps) {
    if (!out.empty()) out += ' ';
    switch (step.kind) {
      case ConfChangeKind::kAddVoter:
        out += 'v';
        break;
      case ConfChangeKind::kAddLearner:
        out += 'l';
        break;
      case ConfChangeKind::kRemove:
        out += 'r';
        break;
      case ConfChangeKind::kUpdate:
        out += 'u';
        break;
    }
    out += Number(step.node);
  }
  return out;
}

StatusOr<std::vector<ConfChangeStep>> ParseSteps(const std::vector<std::string>& lines) {
  std::vector<ConfChangeStep> steps;
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    const std::optional<uint64_t> id = ParseNumber(std::string_view(word).substr(1));
    if (!id) return InvalidArgumentError("unknown token ", word);
    const NodeId node(*id);
    switch (word.front()) {
      case 'v':
        steps.push_back({ConfChangeKind::kAddVoter, node});
        break;
      case 'l':
        steps.push_back({ConfChangeKind::kAddLearner, node});
        break;
      case 'r':
        steps.push_back({ConfChangeKind::kRemove, node});
        break;
      case 'u':
        steps.push_back({ConfChangeKind::kUpdate, node});
        break;
      default:
        return InvalidArgumentError("unknown input: ", word);
    }
  }
  return steps;
}

std::string Show(const Entry& entry) {
  const std::string id = Number(entry.term) + "/" + Number(entry.index) + " ";
  if (entry.type == EntryType::kNormal) {
    return id + "EntryNormal " + Quote(entry.payload.view());
  }
  const StatusOr<ConfChange> change = DecodeConfChange(entry.payload);
  const std::string steps = change.ok() ? ShowSteps(change->steps) : "undecodable";
  return id + (entry.type == EntryType::kConfChange ? "EntryConfChange" : "EntryConfChangeV2") +
         (steps.empty() ? "" : " " + steps);
}

std::string Show(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) out += Show(entry) + "\n";
  return out;
}

std::string Show(const HardState& state) {
  std::string out = "Term:" + Number(state.term);
  if (state.vote != kNobody) out += " Vote:" + Number(state.vote);
  return out + " Commit:" + Number(state.commit);
}

std::string Show(const SoftState& state) {
  return "Lead:" + Number(state.leader) + " State:" + std::string(RoleName(state.role));
}

std::string Show(const SnapshotMeta& snapshot) {
  const ConfState& conf = snapshot.conf;
  return "Index:" + Number(snapshot.last.index) + " Term:" + Number(snapshot.last.term) +
         " ConfState:Voters:" + List(conf.voters) +
         " VotersOutgoing:" + List(conf.voters_outgoing) + " Learners:" + List(conf.learners) +
         " LearnersNext:" + List(conf.learners_next) +
         " AutoLeave:" + (conf.auto_leave ? "true" : "false");
}

std::string Show(const Message& message, const std::string& indent) {
  // A refused vote also tells what is committed, which the scripts know nothing of.
  const bool vote =
      message.type == MessageType::kVoteResponse || message.type == MessageType::kPreVoteResponse;
  std::string out = indent + Head(message.from, message.to, Name(message.type), message.term,
                                  vote ? EntryId() : message.log);
  if (message.reject) out += " Rejected (Hint: " + Number(message.reject_hint) + ")";
  if (message.commit > LogIndex()) out += " Commit:" + Number(message.commit);
  out += EntryList(message.entries, indent);
  return out + SnapshotLine(message.snapshot.get(), indent);
}

std::string ShowAppend(NodeId node, const AppendTask& task, bool responses) {
  const HardState hard = task.hard_state.value_or(HardState());
  std::string out = Head(node, kAppendThread, "MsgStorageAppend", hard.term, {});
  if (hard.commit > LogIndex()) out += " Commit:" + Number(hard.commit);
  if (hard.vote != kNobody) out += " Vote:" + Number(hard.vote);
  out += EntryList(task.entries, "") + SnapshotLine(task.snapshot.get(), "");
  if (!responses || task.after_durable.empty()) return out;
  out += " Responses:[";
  for (const Message& message : task.after_durable) out += "\n" + Show(message, "  ");
  return out + "\n]";
}

std::string ShowApplyResponse(NodeId node, const std::vector<Entry>& entries,
                              const std::string& indent) {
  return indent + Head(kApplyThread, node, "MsgStorageApplyResp", {}, {}) +
         EntryList(entries, indent);
}

std::string ShowApply(NodeId node, const ApplyTask& task, bool responses) {
  std::string out =
      Head(node, kApplyThread, "MsgStorageApply", {}, {}) + EntryList(task.entries, "");
  if (!responses) return out;
  return out + " Responses:[\n" + ShowApplyResponse(node, task.entries, "  ") + "\n]";
}

}  // namespace metastore::raft
