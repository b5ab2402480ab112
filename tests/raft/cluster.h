// A cluster of cores for tests: each node has the pump of raft_core.h, a disk and a state machine
// that work when told to, and the network is one list of messages that the test delivers, drops,
// repeats or reorders.
//
// Checks for itself, after everything (cluster_safety.cc): one leader a term, who has all that is
// committed; equal ids of entries mean equal entries after equal ones; an index is committed and
// applied with the same entry everywhere, and when it is first committed a majority of each half of
// the membership has it durable, by a leader whose own term the entry is of; one membership change
// at a time; terms begin with candidates, terms and commits never fall; the quota is exact; a read
// is never served below what was committed anywhere when it was asked for. A crash loses what was
// not durable, and the unsynced tail of what need not be.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/base/prng.h"
#include "raft/raft_core.h"
#include "raft/tail_log.h"

namespace metastore::raft {

class Cluster {
 public:
  struct Options {
    size_t nodes = 3;
    size_t voters = 3;  // the first ones; the others join by a membership change
    uint64_t seed = 1;
    // Set to change what every node's core is made with.
    std::function<void(Config&)> configure = [](Config&) {};
    size_t tail_bytes = SIZE_MAX;  // of its log that a node keeps in memory (TailLog)
    bool forged = true;  // the test makes messages of its own, also of terms that nobody began
    // Is told what does not hold; without one the test fails.
    std::function<void(const std::string&)> broken;
  };

  struct Append {
    AppendTask task;
    std::vector<Message> held;  // vote requests (trap 28b)
  };

  // One node: what survives a crash, and what runs.
  struct Node {
    NodeId id;
    // Durable.
    HardState hard;
    SnapshotMeta start;          // the log begins after it
    std::vector<Entry> entries;  // from start.last.index + 1
    SnapshotMeta store;          // the state machine's applied id and membership
    // Running; empty when down.
    std::optional<HardState> unsynced;  // of tasks that need no sync
    std::unique_ptr<TailLog> view;
    std::unique_ptr<RaftCore> core;
    std::deque<Append> appends;
    std::deque<ApplyTask> applies;
    std::optional<TailLog::Wanted> wanted;  // to be read from the disk
    std::map<LogIndex, Term> log;           // what the core has, as its append tasks say
    LogIndex commit_seen;
    Term term_seen;
    std::vector<ReadState> reads;
    std::vector<std::string>
        values;  // of the entries applied since the start, for tests to look at
    size_t synced_writes = 0;
    size_t fetches = 0;
    uint64_t boots = 0;
  };

  explicit Cluster(Options options);

  Node& node(uint64_t id) { return nodes_.at(id - 1); }
  RaftCore& core(uint64_t id) { return *node(id).core; }
  size_t size() const { return nodes_.size(); }
  bool up(uint64_t id) { return id <= size() && node(id).core != nullptr; }
  std::vector<Message>& network() { return network_; }
  // Messages for which this is true never arrive.
  std::function<bool(const Message&)> lost = [](const Message&) { return false; };

  void Tick(uint64_t id, int times = 1);
  ProposeResult Propose(uint64_t id, const std::string& value);
  ReadCode Read(uint64_t id, ReadToken token);

  // Single steps; false when there was nothing to do.
  bool Flush(uint64_t id);  // the oldest append task becomes durable
  bool Apply(uint64_t id);  // the oldest apply task is done
  bool Fetch(uint64_t id);  // what the core wants from the disk comes
  bool Deliver(size_t at);  // the message at this place of the network
  void Pump(uint64_t id);   // after calling a core directly
  // Everything until nothing is left: messages in order, disks and state machines at once.
  void Settle();
  // Ticks `id` until it leads, settling in between.
  void Elect(uint64_t id);

  // Loses what is not durable; the first `written` waiting append tasks were durable already though
  // nobody knew.
  void Crash(uint64_t id, size_t written = 0);
  void Restart(uint64_t id);
  // Compacts the log up to what is applied and offers that as a snapshot.
  void Snapshot(uint64_t id);

  // The only leader of the highest term; 0 = none.
  uint64_t Leader();
  LogIndex committed_anywhere() const { return committed_anywhere_; }
  size_t leaders_seen() const { return leaders_.size(); }
  // Everybody up has the same log and commit.
  bool Converged();
  std::string Describe();

 private:
  void Boot(Node& node);
  void Persist(Node& node, const AppendTask& task);
  void ApplyEntry(Node& node, const Entry& entry);
  void CheckReads(Node& node, const std::vector<ReadState>& reads);

  // --- cluster_safety.cc
  void Demand(bool holds, const std::string& what);
  void NoteAppend(Node& node, const AppendTask& task);
  void NoteChange(const Node& node, const Entry& change);
  void NoteApplied(const Node& node, const Entry& entry);
  void Check(Node& node);
  void CheckCommit(Node& node);
  void CheckLeader(const Node& node);
  void CheckQuota(const Node& node);
  bool Durable(const Node& node, EntryId id) const;
  bool DurableOnMajority(const std::vector<NodeId>& voters, EntryId id) const;

  Options options_;
  Prng prng_;
  std::vector<Node> nodes_;
  std::vector<Message> network_;
  std::map<Term, NodeId> leaders_;
  std::map<LogIndex, std::pair<Entry, ConfState>> history_;  // what was applied, by anybody
  std::map<EntryId, std::pair<Term, Entry>> entries_;        // every entry, and the term before it
  std::map<LogIndex, Term> committed_;                       // by anybody
  std::map<ReadToken, LogIndex> reads_;  // the least index each may be served at
  LogIndex committed_anywhere_;
  Term term_anywhere_{1};
};

}  // namespace metastore::raft
