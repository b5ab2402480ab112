#include "tests/raft/cluster.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace metastore::raft {

Cluster::Cluster(Options options) : options_(std::move(options)), prng_(options_.seed) {
  SnapshotMeta bootstrap;
  bootstrap.last = {Term(1), LogIndex(1)};
  for (uint64_t id = 1; id <= options_.voters; ++id) bootstrap.conf.voters.emplace_back(id);
  nodes_.resize(options_.nodes);
  for (uint64_t id = 1; id <= options_.nodes; ++id) {
    Node& node = nodes_[id - 1];
    node.id = NodeId(id);
    if (id <= options_.voters) {
      node.start = node.store = bootstrap;
      node.hard.term = Term(1);
    }
    Boot(node);
  }
  committed_[LogIndex(1)] = Term(1);
  history_[LogIndex(1)] = {Entry{Term(1), LogIndex(1), EntryType::kNormal, Payload()},
                           bootstrap.conf};
}

void Cluster::Boot(Node& node) {
  Config config;
  config.id = node.id;
  config.seed = options_.seed * 1000 + node.id.value() * 100 + ++node.boots;
  options_.configure(config);
  node.view = std::make_unique<TailLog>(node.start.last, options_.tail_bytes);
  std::vector<Entry> entries = node.entries;
  node.view->Append(entries);
  node.view->Retain(node.store.last.index);
  if (node.store.last.index > LogIndex()) node.view->SetSnapshot(node.store);
  InitialState state{node.hard, node.store.conf, node.store.last.index, node.boots == 1};
  state.hard_state.commit = std::max(state.hard_state.commit, state.applied);
  node.core = std::make_unique<RaftCore>(config, *node.view, state);
  node.commit_seen = node.core->commit();
  node.term_seen = node.core->term();
  node.log.clear();
  if (node.start.last.index > LogIndex()) node.log[node.start.last.index] = node.start.last.term;
  for (const Entry& entry : node.entries) node.log[entry.index] = entry.term;
}

void Cluster::Tick(uint64_t id, int times) {
  for (int i = 0; i < times; ++i) {
    if (up(id)) core(id).Tick();
    Pump(id);
  }
}

ProposeResult Cluster::Propose(uint64_t id, const std::string& value) {
  Payload payload(value);
  const ProposeResult result = core(id).Propose({&payload, 1});
  Pump(id);
  if (core(id).is_leader()) CheckQuota(node(id));
  return result;
}

ReadCode Cluster::Read(uint64_t id, ReadToken token) {
  const ReadCode code = core(id).ReadIndex(token);
  if (code == ReadCode::kAccepted) reads_[token] = committed_anywhere_;
  Pump(id);
  return code;
}

void Cluster::Pump(uint64_t id) {
  Node& n = node(id);
  if (n.core == nullptr) return;
  while (n.core->HasReady()) {
    Ready ready = n.core->TakeReady();
    std::vector<Message> held;
    for (Message& message : ready.send_now) {
      (NeedsDurableTerm(message) ? held : network_).push_back(std::move(message));
    }
    if (ready.append) {
      Demand(held.empty() || ready.append->must_sync, "a vote request without a durable term");
      NoteAppend(n, *ready.append);
      n.appends.push_back({std::move(*ready.append), std::move(held)});
    } else {
      Demand(held.empty(), "a vote request without a durable term");
    }
    if (ready.apply) n.applies.push_back(std::move(*ready.apply));
    CheckReads(n, ready.reads);
  }
  if (n.view->TakeSnapshotWanted()) Snapshot(id);
  if (std::optional<TailLog::Wanted> wanted = n.view->TakeWanted()) n.wanted = wanted;
  Check(n);
}

void Cluster::CheckReads(Node& node, const std::vector<ReadState>& reads) {
  for (const ReadState& read : reads) {
    const auto asked = reads_.find(read.token);
    if (asked == reads_.end()) {
      Demand(false, Concat("an answer to no read on ", node.id.value()));
      continue;
    }
    const bool served = read.outcome == ReadOutcome::kServe;
    Demand(!served || read.index >= asked->second, Concat("stale read on ", node.id.value()));
    reads_.erase(asked);
    node.reads.push_back(read);
  }
}

bool Cluster::Flush(uint64_t id) {
  Node& n = node(id);
  if (n.core == nullptr || n.appends.empty()) return false;
  Append append = std::move(n.appends.front());
  // A snapshot waits for the state machine (barrier).
  if (append.task.snapshot != nullptr && !n.applies.empty()) {
    n.appends.front() = std::move(append);
    return false;
  }
  n.appends.pop_front();
  n.synced_writes += append.task.must_sync ? 1 : 0;
  Persist(n, append.task);
  n.view->Extend(append.task);
  if (append.task.snapshot != nullptr) n.view->SetSnapshot(*append.task.snapshot);
  n.core->AppendDone(append.task.seq);
  for (Message& message : append.held) network_.push_back(std::move(message));
  for (Message& message : append.task.after_durable) {
    if (message.to == n.id) {
      Demand(n.core->StepOwn(std::move(message)).ok(), "a node refuses its own message");
    } else {
      network_.push_back(std::move(message));
    }
  }
  Pump(id);
  return true;
}

void Cluster::Persist(Node& node, const AppendTask& task) {
  if (!task.must_sync) {
    // Rides along with the next write: lost if the node crashes before.
    Demand(task.entries.empty(), "entries that need no sync");
    if (task.hard_state) node.unsynced = task.hard_state;
    return;
  }
  if (node.unsynced) node.hard = *std::exchange(node.unsynced, std::nullopt);
  if (task.hard_state) {
    Demand(task.hard_state->term >= node.hard.term, "a durable term fell");
    node.hard = *task.hard_state;
  }
  if (task.snapshot != nullptr) {
    node.start = node.store = *task.snapshot;
    node.entries.clear();
  }
  if (task.entries.empty()) return;
  const uint64_t keep = task.entries.front().index - node.start.last.index - 1;
  Demand(keep <= node.entries.size(), Concat("gap in the log of ", node.id.value()));
  node.entries.resize(keep);
  node.entries.insert(node.entries.end(), task.entries.begin(), task.entries.end());
}

bool Cluster::Fetch(uint64_t id) {
  Node& n = node(id);
  if (n.core == nullptr || !n.wanted) return false;
  const TailLog::Wanted wanted = *std::exchange(n.wanted, std::nullopt);
  std::vector<Entry> entries;
  size_t bytes = 0;
  for (const Entry& entry : n.entries) {
    if (entry.index < wanted.begin || entry.index >= wanted.end) continue;
    bytes += EntryBytes(entry);
    if (bytes > wanted.bytes_max && !entries.empty()) break;
    entries.push_back(entry);
  }
  ++n.fetches;
  n.view->Refill(std::move(entries));
  n.core->EntriesFetched();
  Pump(id);
  return true;
}

bool Cluster::Apply(uint64_t id) {
  Node& n = node(id);
  if (n.core == nullptr || n.applies.empty()) return false;
  const ApplyTask task = std::move(n.applies.front());
  n.applies.pop_front();
  for (const Entry& entry : task.entries) ApplyEntry(n, entry);
  n.core->ApplyDone(task.entries.back().index);
  n.view->Retain(n.store.last.index);
  Pump(id);
  return true;
}

void Cluster::ApplyEntry(Node& node, const Entry& entry) {
  Demand(entry.index == node.store.last.index + 1, Concat("hole in apply of ", node.id.value()));
  const LogIndex durable = node.start.last.index + node.entries.size();
  Demand(entry.index <= durable, Concat("applied before durable on ", node.id.value()));
  node.store.last = entry.id();
  if (entry.type != EntryType::kNormal) {
    const StatusOr<ConfChange> change = DecodeConfChange(entry.payload);
    Demand(change.ok(), "a conf change that does not decode");
    const StatusOr<ConfState> conf = node.core->ApplyConfChange(change.value_or(ConfChange()));
    if (conf.ok()) node.store.conf = *conf;
    CheckCommit(node);
  } else {
    node.values.emplace_back(entry.payload.view());
  }
  NoteApplied(node, entry);
}

bool Cluster::Deliver(size_t at) {
  if (at >= network_.size()) return false;
  Message message = std::move(network_[at]);
  network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(at));
  const uint64_t to = message.to.value();
  if (lost(message) || !up(to)) return true;
  const Status status = core(to).Step(std::move(message));
  // Answers to a node's former self come from strangers after a change of membership.
  Demand(status.ok() || status.code() == StatusCode::kNotFound,
         std::string(StdView(status.message())));
  Pump(to);
  return true;
}

void Cluster::Settle() {
  constexpr int kRoundsMax = 100000;
  for (int round = 0; round < kRoundsMax; ++round) {
    bool worked = Deliver(0);
    for (uint64_t id = 1; id <= size(); ++id) {
      Pump(id);
      while (Flush(id)) worked = true;
      while (Apply(id)) worked = true;
      while (Fetch(id)) worked = true;
    }
    if (!worked) return;
  }
  FAIL() << "does not settle";
}

void Cluster::Elect(uint64_t id) {
  for (int i = 0; i < 100 && !core(id).is_leader(); ++i) {
    Tick(id);
    Settle();
  }
  ASSERT_TRUE(core(id).is_leader());
}

void Cluster::Crash(uint64_t id, size_t written) {
  Node& n = node(id);
  if (n.core == nullptr) return;
  for (const Append& append : n.appends) {
    if (written-- == 0 || append.task.snapshot != nullptr) break;
    Persist(n, append.task);
  }
  n.unsynced.reset();
  n.appends.clear();
  n.applies.clear();
  n.wanted.reset();
  n.core.reset();
  n.view.reset();
}

void Cluster::Restart(uint64_t id) {
  if (up(id)) return;
  Boot(node(id));
  Pump(id);
}

void Cluster::Snapshot(uint64_t id) {
  Node& n = node(id);
  if (n.core == nullptr || n.store.last.index <= n.start.last.index) return;
  // While a snapshot is being installed there is nothing to compact.
  if (n.core->applied() != n.store.last.index) return;
  const uint64_t drop = n.store.last.index - n.start.last.index;
  n.entries.erase(n.entries.begin(), n.entries.begin() + static_cast<std::ptrdiff_t>(drop));
  n.start = n.store;
  n.view->Compact(n.start.last.index);
  n.view->SetSnapshot(n.start);
}

uint64_t Cluster::Leader() {
  uint64_t leader = 0;
  for (uint64_t id = 1; id <= size(); ++id) {
    if (!up(id) || !core(id).is_leader()) continue;
    if (leader == 0 || core(id).term() > core(leader).term()) leader = id;
  }
  return leader;
}

bool Cluster::Converged() {
  std::optional<std::pair<LogIndex, LogIndex>> first;
  for (uint64_t id = 1; id <= size(); ++id) {
    if (!up(id)) continue;
    const std::pair now(core(id).last_index(), core(id).applied());
    if (first && *first != now) return false;
    first = now;
  }
  return true;
}

std::string Cluster::Describe() {
  std::string out;
  for (uint64_t id = 1; id <= size(); ++id) {
    out += std::to_string(id) + ": ";
    if (!up(id)) {
      out += "down\n";
      continue;
    }
    const CoreStatus status = core(id).GetStatus();
    out += "role " + std::to_string(static_cast<int>(status.soft_state.role)) + " term " +
           std::to_string(status.hard_state.term.value()) + " leader " +
           std::to_string(status.soft_state.leader.value()) + " commit " +
           std::to_string(status.hard_state.commit.value()) + " applied " +
           std::to_string(status.applied.value()) + " last " +
           std::to_string(status.last_index.value()) + " appends " +
           std::to_string(node(id).appends.size()) + " applies " +
           std::to_string(node(id).applies.size()) + " " +
           metastore::raft::Describe(
               TrackerConfig{{NodeSet(status.conf.voters), NodeSet(status.conf.voters_outgoing)},
                             NodeSet(status.conf.learners),
                             NodeSet(status.conf.learners_next),
                             status.conf.auto_leave}) +
           "\n" + metastore::raft::Describe(status.progress);
  }
  return out;
}

}  // namespace metastore::raft
