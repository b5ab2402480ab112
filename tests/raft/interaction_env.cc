#include "tests/raft/interaction_env.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "raft/trace.h"
#include "tests/raft/directive_form.h"
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
  for (const std::string& value : arg->values) {
    if (const std::optional<uint64_t> id = ParseNumber(value)) ids.emplace_back(*id);
  }
  return ids;
}

std::string Header(NodeId id, std::string_view what) {
  return "> " + std::to_string(id.value()) + " " + std::string(what) + "\n";
}

constexpr int kElectionTicks = 3;
constexpr uint64_t kNodesMax = 1000;
constexpr std::string_view kDropped = "raft proposal dropped";
constexpr std::string_view kApplyResponseName = "MsgStorageApplyResp";

bool IsMessageType(std::string_view name) {
  for (auto type = MessageType::kPropose; type <= MessageType::kStorageAppendResponse;
       type = static_cast<MessageType>(static_cast<uint8_t>(type) + 1)) {
    if (Name(type) == name) return true;
  }
  return name == kApplyResponseName;
}

}  // namespace

bool InteractionEnv::Knows(std::string_view command) { return IsInteractionCommand(command); }

StatusOr<std::string> InteractionEnv::Run(const Directive& directive) {
  StatusOr<std::string> out = RunOne(directive);
  // The input of all other commands is more commands.
  const bool more = directive.command != "propose-conf-change";
  for (size_t i = 0; more && out.ok() && i < directive.input.size(); ++i) {
    StatusOr<Directive> next = ParseDirective(directive.input[i]);
    if (!next.ok()) return next.status();
    const StatusOr<std::string> text = RunOne(*next);
    if (!text.ok()) return text.status();
    *out += *text;
  }
  if (out.ok() && out->empty()) return std::string("ok");
  return out;
}

StatusOr<std::string> InteractionEnv::RunOne(const Directive& directive) {
  MS_RETURN_IF_ERROR(CheckForm(directive));
  MS_RETURN_IF_ERROR(CheckNodes(directive));
  const bool was_quiet = quiet_;
  error_.clear();
  const std::string level = directive.Value("log-level", "");
  if (!level.empty()) SetLogLevel(level);
  std::string out = error_.empty() ? Dispatch(directive) : "";
  if (quiet_) out.clear();
  if (!level.empty()) quiet_ = was_quiet;
  if (!broken_.empty()) return InternalError(broken_);
  return out + error_;
}

void InteractionEnv::Demand(bool holds, std::string_view what) {
  if (!holds && broken_.empty()) broken_ = what;
}

Status InteractionEnv::CheckNodes(const Directive& directive) const {
  if (directive.command == "add-nodes") return OkStatus();
  std::vector<uint64_t> ids = directive.Numbers();
  if (directive.command == "compact") ids.resize(1);
  if (directive.command == "propose") ids.resize(1);
  if (directive.command == "transfer-leadership") ids.push_back(directive.Number("from", 0));
  // These may speak of a node that is not there, or not yet.
  if (directive.command == "send-snapshot" || directive.command == "report-unreachable") {
    ids.resize(1);
  }
  for (const uint64_t id : ids) {
    if (id == 0 || id > nodes_.size()) return InvalidArgumentError("there is no node ", id);
  }
  return OkStatus();
}

void InteractionEnv::SetLogLevel(const std::string& name) {
  std::string upper;
  for (const char c : name) {
    upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  for (const std::string_view level : {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"}) {
    if (upper != level) continue;
    quiet_ = level == "NONE";
    return;
  }
  error_ = "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]";
}

std::string InteractionEnv::Dispatch(const Directive& directive) {
  const std::string& command = directive.command;
  if (command == "_breakpoint:") return "";
  if (command == "log-level") {
    SetLogLevel(directive.args.front().key);
    return "";
  }
  if (command == "add-nodes") {
    AddNodes(directive);
    return "";
  }
  if (command == "raft-state") return RaftState();
  if (command == "send-snapshot") return SendSnapshot(directive);
  if (command == "transfer-leadership") {
    Node& from = Find(NodeId(directive.Number("from", 0)));
    // Its refusal is a log line.
    from.core->TransferLeader(NodeId(directive.Number("to", 0))).IgnoreError();
    return "";
  }
  return DispatchToNodes(directive);
}

std::string InteractionEnv::DispatchToNodes(const Directive& directive) {
  const std::string& command = directive.command;
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
  return DispatchToNode(directive, Find(NodeId(directive.Numbers().front())));
}

std::string InteractionEnv::DispatchToNode(const Directive& directive, Node& node) {
  const std::string& command = directive.command;
  RaftCore& core = *node.core;
  const std::vector<uint64_t> numbers = directive.Numbers();
  if (command == "campaign") {
    core.Campaign();
  } else if (command == "propose") {
    Propose(directive, node);
  } else if (command == "propose-conf-change") {
    ProposeConfChange(directive, node);
  } else if (command == "tick-heartbeat") {
    core.Tick();
  } else if (command == "tick-election") {
    for (int i = 0; i < kElectionTicks; ++i) core.Tick();
  } else if (command == "set-randomized-election-timeout") {
    core.SetRandomizedElectionTimeoutForTest(static_cast<int>(directive.Number("timeout", 0)));
  } else if (command == "forget-leader") {
    core.ForgetLeader().IgnoreError();  // its refusal is a log line
  } else if (command == "report-unreachable") {
    core.ReportUnreachable(NodeId(numbers[1]));
  } else if (command == "compact") {
    return Compact(node, LogIndex(numbers[1]));
  } else if (command == "raft-log") {
    return RaftLog(node);
  } else {
    return Describe(core.GetStatus().progress);  // status
  }
  return "";
}

std::string InteractionEnv::Compact(Node& node, LogIndex index) {
  TailLog& log = *node.log;
  if (index < log.FirstIndex()) {
    error_ = "requested index is unavailable due to compaction";
  } else if (index > std::min(log.LastIndex(), node.core->applied())) {
    Demand(false, "compact: beyond what is durable and applied");
  } else {
    log.Compact(index);
    return RaftLog(node);
  }
  return "";
}

void InteractionEnv::AddNodes(const Directive& directive) {
  const bool bootstrap = directive.Find("voters") != nullptr ||
                         directive.Find("learners") != nullptr ||
                         directive.Find("index") != nullptr || directive.Find("content") != nullptr;
  const std::string reads = directive.Value("read-only", "safe");
  if (bootstrap && directive.Number("index", 0) <= 1) {
    error_ = "index must be specified as > 1 due to bootstrap";
  } else if (reads != "safe" && reads != "lease-based") {
    error_ = "invalid read-only option \"" + reads + "\"";
  } else if (directive.Number("inflight", 1) == 0) {
    error_ = "max inflight messages must be greater than 0";
  }
  const uint64_t count = std::min<uint64_t>(directive.Numbers().front(), kNodesMax);
  for (uint64_t i = 0; error_.empty() && i < count; ++i) AddNode(directive);
}

void InteractionEnv::AddNode(const Directive& directive) {
  auto node = std::make_unique<Node>();
  const LogIndex index(directive.Number("index", 0));
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
  config.inflight_messages_max = directive.Number("inflight", INT32_MAX);
  config.uncommitted_bytes_max = SIZE_MAX;
  config.apply_bytes_max = directive.Number("max-committed-size-per-ready", INT64_MAX);
  const Status valid = config.Validate();
  const Status fits = ConfChanger::Restore(start.conf, index, Inflights(1, 0)).status();
  if (!valid.ok() || !fits.ok()) {
    Demand(false, StdView(valid.ok() ? fits.message() : valid.message()));
    return;
  }
  node->core = std::make_unique<RaftCore>(
      config, *node->log, InitialState{.conf = start.conf, .applied = index, .first_start = true});
  node->hard.commit = index;
  nodes_.push_back(std::move(node));
}

void InteractionEnv::Propose(const Directive& directive, Node& node) {
  Payload payload(directive.args.at(1).key);
  const ProposeCode code = node.core->Propose({&payload, 1}).code;
  const bool taken = code == ProposeCode::kAccepted || code == ProposeCode::kForwarded;
  if (!taken) error_ = kDropped;
}

void InteractionEnv::ProposeConfChange(const Directive& directive, Node& node) {
  ConfChange change;
  const std::string transition = directive.Value("transition", "auto");
  if (transition == "implicit") change.transition = ConfTransition::kJointImplicit;
  if (transition == "explicit") change.transition = ConfTransition::kJointExplicit;
  StatusOr<std::vector<ConfChangeStep>> steps = ParseSteps(directive.input);
  const bool v1 = directive.Flag("v1");
  if (transition != "auto" && transition != "implicit" && transition != "explicit") {
    error_ = "unknown transition " + transition;
  } else if (!steps.ok()) {
    error_ = StdView(steps.status().message());
  } else if (v1 && (steps->size() != 1 || transition != "auto")) {
    error_ = "v1 conf change can only have one operation and no transition";
  }
  if (!error_.empty()) return;
  change.steps = *std::move(steps);
  const EntryType type = v1 ? EntryType::kConfChange : EntryType::kConfChangeV2;
  switch (node.core->ProposeConfChange(change, type).code) {
    case ProposeCode::kAccepted:
    case ProposeCode::kForwarded:
    case ProposeCode::kConfChangeRefused:
      return;
    case ProposeCode::kNotLeader:
    case ProposeCode::kQuotaFull:
    case ProposeCode::kTransferInProgress:
    case ProposeCode::kLearnerNotReady:
      break;
  }
  error_ = kDropped;
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
      Demand(false, "does not stabilize");
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
  if (!type.empty() && !IsMessageType(type)) {
    Demand(false, "unknown message type " + type);
    return "";
  }
  std::string out;
  for (const Directive::Arg& arg : directive.args) {
    if (arg.values.empty()) {
      out += DeliverTo(NodeId(ParseNumber(arg.key).value_or(0)), type, /*drop=*/false);
    } else if (arg.key == "drop") {
      for (const NodeId id : IdList(directive, "drop")) out += DeliverTo(id, type, /*drop=*/true);
    }
  }
  return out.empty() ? "no messages\n" : out;
}

std::string_view InteractionEnv::TypeName(const Mail& mail) {
  return mail.apply_response ? kApplyResponseName : Name(mail.message.type);
}

std::string InteractionEnv::DeliverTo(NodeId to, std::string_view type, bool drop) {
  std::vector<Mail> rest;
  std::vector<Mail> taken;
  for (Mail& mail : messages_) {
    const Message& message = mail.message;
    const bool local = message.from == to || message.from == kAppendThread || mail.apply_response;
    const bool wanted =
        message.to == to && !(drop && local) && (type.empty() || type == TypeName(mail));
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
  const std::vector<uint64_t> ids = directive.Numbers();
  std::string out;
  for (const uint64_t id : ids) {
    const std::string text = (this->*process)(Find(NodeId(id)));
    out += ids.size() > 1 ? Header(NodeId(id), what) + Indent(text) : text;
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
           std::string(RoleName(status.soft_state.role)) + (voter ? " (Voter)" : " (Non-Voter)") +
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
  return status.ok() ? Show(entries) : std::string(StdView(status.message()));
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

std::unique_ptr<ScriptRunner> MakeInteractionScript() { return std::make_unique<InteractionEnv>(); }

}  // namespace metastore::raft
