#include "tests/raft/interaction_env.h"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/raft/interaction_text.h"

namespace metastore::raft {
namespace {

std::string Indent(const std::string& text) {
  std::string out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out += "  " + line + "\n";
  return out;
}

std::vector<NodeId> IdList(const Directive& directive, std::string_view key) {
  std::vector<NodeId> ids;
  const Directive::Arg* arg = directive.Find(key);
  if (arg == nullptr) return ids;
  for (const std::string& value : arg->values) ids.emplace_back(std::stoull(value));
  return ids;
}

std::string Header(NodeId id, std::string_view what) {
  return "> " + std::to_string(id.value()) + " " + std::string(what) + "\n";
}

constexpr int kElectionTicks = 3;

}  // namespace

std::string InteractionEnv::Run(const Directive& directive) {
  const bool was_quiet = quiet_;
  const std::string level = directive.Value("log-level", "");
  if (!level.empty()) quiet_ = level == "none";
  const std::string out = Dispatch(directive);
  const bool silent = quiet_;
  if (!level.empty()) quiet_ = was_quiet;
  // Refusals are shown even when the rest is not.
  if (silent && out != "raft proposal dropped") return "ok";
  return out.empty() ? "ok" : out;
}

std::string InteractionEnv::Dispatch(const Directive& directive) {
  const std::string& command = directive.command;
  if (command == "log-level") {
    quiet_ = directive.args.front().key == "none";
    return "";
  }
  if (command == "add-nodes") return AddNodes(directive);
  if (command == "stabilize") return Stabilize(directive);
  if (command == "deliver-msgs") return Deliver(directive);
  if (command == "process-ready") {
    return ForEach(directive, "handling Ready", &InteractionEnv::ProcessReady);
  }
  if (command == "process-append-thread") {
    return ForEach(directive, "processing append thread", &InteractionEnv::ProcessAppendThread);
  }
  if (command == "process-apply-thread") {
    return ForEach(directive, "processing apply thread", &InteractionEnv::ProcessApplyThread);
  }
  if (command == "raft-state") return RaftState();
  if (command == "send-snapshot") return SendSnapshot(directive);
  if (command == "transfer-leadership") {
    Node& from = Find(NodeId(std::stoull(directive.Value("from", ""))));
    const NodeId to(std::stoull(directive.Value("to", "")));
    EXPECT_TRUE(from.core->TransferLeader(to).ok());
    return "";
  }
  return DispatchToNode(directive, Find(NodeId(directive.Numbers().at(0))));
}

std::string InteractionEnv::DispatchToNode(const Directive& directive, Node& node) {
  const std::string& command = directive.command;
  RaftCore& core = *node.core;
  const std::vector<uint64_t> numbers = directive.Numbers();
  if (command == "campaign") {
    core.Campaign();
  } else if (command == "propose") {
    return Propose(directive, node);
  } else if (command == "propose-conf-change") {
    return ProposeConfChange(directive, node);
  } else if (command == "tick-heartbeat") {
    core.Tick();
  } else if (command == "tick-election") {
    for (int i = 0; i < kElectionTicks; ++i) core.Tick();
  } else if (command == "set-randomized-election-timeout") {
    core.SetRandomizedElectionTimeoutForTest(std::stoi(directive.Value("timeout", "")));
  } else if (command == "forget-leader") {
    core.ForgetLeader().IgnoreError();  // its refusal is a log line
  } else if (command == "report-unreachable") {
    core.ReportUnreachable(NodeId(numbers.at(1)));
  } else if (command == "compact") {
    node.log->Compact(LogIndex(numbers.at(1)));
  } else if (command == "raft-log") {
    return RaftLog(node);
  } else if (command == "status") {
    return Describe(core.GetStatus().progress);
  } else {
    return "unknown command";
  }
  return "";
}

std::string InteractionEnv::AddNodes(const Directive& directive) {
  const uint64_t count = directive.Numbers().at(0);
  for (uint64_t i = 0; i < count; ++i) AddNode(directive);
  return "";
}

void InteractionEnv::AddNode(const Directive& directive) {
  auto node = std::make_unique<Node>();
  const LogIndex index(std::stoull(directive.Value("index", "0")));
  SnapshotMeta start;
  start.last = {index > LogIndex() ? Term(1) : Term(), index};
  start.conf.voters = IdList(directive, "voters");
  start.conf.learners = IdList(directive, "learners");
  node->log = std::make_unique<TailLog>(start.last, SIZE_MAX);
  node->history.push_back(start);
  node->async = directive.Flag("async-storage-writes");
  Config config;
  config.id = NodeId(nodes_.size() + 1);
  config.seed = config.id.value();
  config.election_ticks = kElectionTicks;
  config.pre_vote = directive.Flag("prevote");
  config.check_quorum = directive.Flag("checkquorum");
  const bool lease = directive.Value("read-only", "safe") == "lease-based";
  config.read_mode = lease ? ReadMode::kLease : ReadMode::kQuorum;
  config.step_down_on_removal = directive.Flag("step-down-on-removal");
  config.validate_conf_changes = !directive.Flag("disable-conf-change-validation");
  config.apply_before_durable = !node->async;
  config.message_bytes_max = SIZE_MAX;
  config.inflight_bytes_max = 0;
  config.inflight_messages_max = std::stoull(directive.Value("inflight", "2147483647"));
  config.uncommitted_bytes_max = SIZE_MAX;
  config.apply_bytes_max =
      std::stoull(directive.Value("max-committed-size-per-ready", "9223372036854775807"));
  node->core =
      std::make_unique<RaftCore>(config, *node->log, InitialState{HardState(), start.conf, index});
  node->hard.commit = index;
  nodes_.push_back(std::move(node));
}

std::string InteractionEnv::Propose(const Directive& directive, Node& node) {
  Payload payload(directive.args.at(1).key);
  const ProposeCode code = node.core->Propose({&payload, 1}).code;
  const bool taken = code == ProposeCode::kAccepted || code == ProposeCode::kForwarded;
  return taken ? "" : "raft proposal dropped";
}

std::string InteractionEnv::ProposeConfChange(const Directive& directive, Node& node) {
  ConfChange change;
  const std::string transition = directive.Value("transition", "auto");
  if (transition == "implicit") change.transition = ConfTransition::kJointImplicit;
  if (transition == "explicit") change.transition = ConfTransition::kJointExplicit;
  change.steps = ParseSteps(directive.input);
  const EntryType type = directive.Flag("v1") ? EntryType::kConfChange : EntryType::kConfChangeV2;
  switch (node.core->ProposeConfChange(change, type).code) {
    case ProposeCode::kAccepted:
    case ProposeCode::kForwarded:
    case ProposeCode::kConfChangeRefused:
      return "";
    case ProposeCode::kNotLeader:
    case ProposeCode::kQuotaFull:
    case ProposeCode::kTransferInProgress:
      break;
  }
  return "raft proposal dropped";
}

std::vector<NodeId> InteractionEnv::Targets(const Directive& directive) const {
  std::vector<NodeId> ids;
  for (const uint64_t number : directive.Numbers()) ids.emplace_back(number);
  if (!ids.empty()) return ids;
  for (uint64_t i = 1; i <= nodes_.size(); ++i) ids.emplace_back(i);
  return ids;
}

std::string InteractionEnv::Stabilize(const Directive& directive) {
  const std::vector<NodeId> ids = Targets(directive);
  std::string out;
  for (int rounds = 0; StabilizeOnce(ids, out); ++rounds) {
    if (rounds == 1000) {
      ADD_FAILURE() << directive.file << ":" << directive.line << ": does not stabilize";
      break;
    }
  }
  return out;
}

bool InteractionEnv::StabilizeOnce(const std::vector<NodeId>& ids, std::string& out) {
  bool worked = false;
  const auto show = [&](NodeId id, std::string_view what, const std::string& text) {
    if (!what.empty()) out += Header(id, what);
    out += Indent(text);
    worked = true;
  };
  for (const NodeId id : ids) {
    if (Find(id).core->HasReady()) show(id, "handling Ready", ProcessReady(Find(id)));
  }
  for (const NodeId id : ids) {
    const std::string text = DeliverTo(id, "", /*drop=*/false);
    if (!text.empty()) show(id, "receiving messages", text);
  }
  for (const NodeId id : ids) {
    Node& node = Find(id);
    for (bool first = true; !node.append_work.empty(); first = false) {
      show(id, first ? "processing append thread" : "", ProcessAppendThread(node));
    }
  }
  for (const NodeId id : ids) {
    Node& node = Find(id);
    for (bool first = true; !node.apply_work.empty(); first = false) {
      show(id, first ? "processing apply thread" : "", ProcessApplyThread(node));
    }
  }
  return worked;
}

std::string InteractionEnv::Deliver(const Directive& directive) {
  const std::string type = directive.Value("type", "");
  std::string out;
  for (const uint64_t number : directive.Numbers()) {
    out += DeliverTo(NodeId(number), type, /*drop=*/false);
  }
  for (const NodeId id : IdList(directive, "drop")) out += DeliverTo(id, type, /*drop=*/true);
  return out.empty() ? "no messages" : out;
}

std::string InteractionEnv::DeliverTo(NodeId to, std::string_view type, bool drop) {
  std::vector<Mail> rest;
  std::vector<Mail> taken;
  for (Mail& mail : messages_) {
    const Message& message = mail.message;
    const bool local = message.from == to || message.from == kAppendThread || mail.apply_response;
    const bool wanted = message.to == to && !(drop && local) &&
                        (type.empty() || (!mail.apply_response && Name(message.type) == type));
    (wanted ? taken : rest).push_back(std::move(mail));
  }
  messages_ = std::move(rest);
  std::string out;
  for (Mail& mail : taken) {
    if (drop) out += "dropped: ";
    out +=
        (mail.apply_response ? ShowApplyResponse(to, mail.message.entries) : Show(mail.message)) +
        "\n";
    if (!drop) out += Step(std::move(mail));
  }
  return out;
}

std::string InteractionEnv::Step(Mail mail) {
  Message& message = mail.message;
  Node& node = Find(message.to);
  if (mail.apply_response) {
    node.core->ApplyDone(message.entries.back().index);
    return "";
  }
  const bool own = message.from == message.to || message.from == kLocalStorage;
  const Status status =
      own ? node.core->StepOwn(std::move(message)) : node.core->Step(std::move(message));
  if (status.ok()) return "";
  if (status.code() == StatusCode::kNotFound) return "raft: cannot step as peer not found\n";
  return std::string(StdView(status.message())) + "\n";
}

std::string InteractionEnv::ForEach(const Directive& directive, std::string_view what,
                                    std::string (InteractionEnv::*process)(Node&)) {
  const std::vector<NodeId> ids = Targets(directive);
  std::string out;
  for (const NodeId id : ids) {
    const std::string text = (this->*process)(Find(id));
    out += ids.size() > 1 ? Header(id, what) + Indent(text) : text;
  }
  return out;
}

std::string InteractionEnv::RaftState() const {
  std::string out;
  for (const auto& node : nodes_) {
    const CoreStatus status = node->core->GetStatus();
    const NodeSet voters(status.conf.voters);
    const NodeSet outgoing(status.conf.voters_outgoing);
    const bool voter = voters.Contains(status.id) || outgoing.Contains(status.id);
    out += std::to_string(status.id.value()) + ": " +
           std::string(ShowRole(status.soft_state.role)) + (voter ? " (Voter)" : " (Non-Voter)") +
           " Term:" + std::to_string(status.hard_state.term.value()) +
           " Lead:" + std::to_string(status.soft_state.leader.value()) + "\n";
  }
  return out;
}

std::string InteractionEnv::RaftLog(Node& node) {
  TailLog& log = *node.log;
  if (log.LastIndex() < log.FirstIndex()) {
    return "log is empty: first index=" + std::to_string(log.FirstIndex().value()) +
           ", last index=" + std::to_string(log.LastIndex().value());
  }
  std::vector<Entry> entries;
  const Status status = log.Entries(log.FirstIndex(), log.LastIndex() + 1, SIZE_MAX, entries);
  EXPECT_TRUE(status.ok());
  return Show(entries);
}

std::string InteractionEnv::SendSnapshot(const Directive& directive) {
  const std::vector<uint64_t> numbers = directive.Numbers();
  Node& from = Find(NodeId(numbers.at(0)));
  Mail mail;
  mail.message.type = MessageType::kSnapshot;
  mail.message.term = from.core->term();
  mail.message.from = NodeId(numbers.at(0));
  mail.message.to = NodeId(numbers.at(1));
  mail.message.snapshot = std::make_shared<const SnapshotMeta>(from.history.back());
  const std::string out = Show(mail.message);
  messages_.push_back(std::move(mail));
  return out;
}

}  // namespace metastore::raft
