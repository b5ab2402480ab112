// What must hold in a cluster after every step (thesis figure 3.2), whatever the schedule.
#include <gtest/gtest.h>

#include "tests/raft/cluster.h"

namespace metastore::raft {

void Cluster::Demand(bool holds, const std::string& what) {
  if (holds) return;
  if (options_.broken) {
    options_.broken(what);
  } else {
    ADD_FAILURE() << what;
  }
}

// Log Matching: an id stands for one entry, and for one entry before it.
void Cluster::NoteAppend(Node& node, const AppendTask& task) {
  if (task.snapshot != nullptr) {
    node.log.clear();
    node.log[task.snapshot->last.index] = task.snapshot->last.term;
  }
  for (const Entry& entry : task.entries) {
    node.log.erase(node.log.lower_bound(entry.index), node.log.end());
    const auto before = node.log.find(entry.index - 1);
    const Term previous = before == node.log.end() ? Term() : before->second;
    const auto [at, first] = entries_.emplace(entry.id(), std::pair(previous, entry));
    Demand(first || (at->second.first == previous && at->second.second == entry),
           Concat("two entries ", entry.term.value(), "/", entry.index.value(), ", one on ",
                  node.id.value()));
    node.log[entry.index] = entry.term;
    if (entry.type != EntryType::kNormal && entry.term == node.core->term())
      NoteChange(node, entry);
  }
}

// One membership change at a time (thesis 4.1), judged by who proposes it.
void Cluster::NoteChange(const Node& node, const Entry& change) {
  if (!node.core->is_leader()) return;
  for (auto at = node.log.upper_bound(node.core->applied()); at->first < change.index; ++at) {
    const auto entry = entries_.find({at->second, at->first});
    Demand(entry == entries_.end() || entry->second.second.type == EntryType::kNormal,
           Concat(node.id.value(), " proposes change ", change.index.value(), " while change ",
                  at->first.value(), " is not applied"));
  }
}

// State Machine Safety.
void Cluster::NoteApplied(const Node& node, const Entry& entry) {
  const auto [at, first] = history_.emplace(entry.index, std::pair(entry, node.store.conf));
  if (first) return;
  const bool same = at->second.first.id() == entry.id() && at->second.first == entry;
  Demand(same, Concat(node.id.value(), " applies another entry at ", entry.index.value()));
  Demand(at->second.second == node.store.conf,
         Concat(node.id.value(), " has another membership at ", entry.index.value()));
}

void Cluster::Check(Node& node) {
  const RaftCore& core = *node.core;
  Demand(core.term() >= node.term_seen && core.term() >= node.hard.term,
         Concat("the term fell on ", node.id.value()));
  // Terms begin with a candidate; votes, pre-votes and answers only spread them.
  const bool began = core.role() == Role::kCandidate || core.is_leader();
  Demand(core.term() <= term_anywhere_ || began || options_.forged,
         Concat("nobody began term ", core.term().value(), " of ", node.id.value()));
  term_anywhere_ = std::max(term_anywhere_, core.term());
  node.term_seen = core.term();
  Demand(core.applied() <= core.commit(), Concat("applied passes commit on ", node.id.value()));
  CheckCommit(node);
  if (core.is_leader()) CheckLeader(node);
}

void Cluster::CheckCommit(Node& node) {
  const LogIndex commit = node.core->commit();
  Demand(commit >= node.commit_seen, Concat("commit fell on ", node.id.value()));
  for (auto at = node.log.upper_bound(node.commit_seen);
       at != node.log.end() && at->first <= commit; ++at) {
    const auto [known, first] = committed_.emplace(*at);
    Demand(known->second == at->second,
           Concat(node.id.value(), " commits another entry at ", at->first.value()));
    if (!first || !node.core->is_leader() || at->first != commit) continue;
    const EntryId id{at->second, at->first};
    Demand(id.term == node.core->term(),
           Concat(node.id.value(), " commits entry ", commit.value(), " of an earlier term"));
    const ConfState conf = node.core->conf();
    Demand(DurableOnMajority(conf.voters, id) && DurableOnMajority(conf.voters_outgoing, id),
           Concat("no majority has committed entry ", commit.value(), " durable"));
  }
  node.commit_seen = commit;
  committed_anywhere_ = std::max(committed_anywhere_, commit);
}

// Election Safety and Leader Completeness.
void Cluster::CheckLeader(const Node& node) {
  const Term term = node.core->term();
  const auto [at, first] = leaders_.emplace(term, node.id);
  Demand(at->second == node.id, Concat("term ", term.value(), " has leaders ", at->second.value(),
                                       " and ", node.id.value()));
  if (!first) return;
  for (auto entry = committed_.upper_bound(node.log.begin()->first); entry != committed_.end();
       ++entry) {
    // What a later leader commits is no earlier one's duty.
    if (entry->second >= term) continue;
    const auto own = node.log.find(entry->first);
    Demand(own != node.log.end() && own->second == entry->second,
           Concat("leader ", node.id.value(), " of term ", term.value(), " lacks committed entry ",
                  entry->first.value()));
  }
}

// The quota is what clients gave this log and is not applied yet (trap 45).
void Cluster::CheckQuota(const Node& node) {
  size_t bytes = 0;
  for (auto at = node.log.upper_bound(node.core->applied()); at != node.log.end(); ++at) {
    const auto entry = entries_.find({at->second, at->first});
    if (entry == entries_.end()) return;  // of before the first snapshot
    bytes += entry->second.second.payload.size();
  }
  const size_t counted = node.core->GetStatus().uncommitted_bytes;
  Demand(counted == bytes,
         Concat(node.id.value(), " counts ", counted, " bytes uncommitted of ", bytes));
}

bool Cluster::Durable(const Node& node, EntryId id) const {
  if (id.index <= node.start.last.index) return true;  // compacted: it was applied
  const uint64_t at = id.index - node.start.last.index - 1;
  return at < node.entries.size() && node.entries[at].term == id.term;
}

bool Cluster::DurableOnMajority(const std::vector<NodeId>& voters, EntryId id) const {
  size_t copies = 0;
  for (const NodeId voter : voters) {
    copies += Durable(nodes_.at(voter.value() - 1), id) ? 1 : 0;
  }
  return voters.empty() || copies * 2 > voters.size();
}

}  // namespace metastore::raft
