#include "tests/sim/log_watch.h"

#include <algorithm>
#include <utility>

namespace metastore::sim_test {

void LogWatch::Look() {
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    if (!member->node.running()) continue;
    const server::Group& group = member->node.state().group();
    NoteLog(group.log());
    NoteCommit(group.log(), group.status().committed);
  }
  if (SeesAll()) saw_all_ = cluster_.world().Now();
  Give();
}

// Whoever could have committed more would be seen to: the leader of the newest term, which has
// committed an entry of its own, and with it all before.
bool LogWatch::SeesAll() const {
  Term newest;
  Term led;
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    if (!member->node.exists() || member->node.dead()) continue;
    if (!member->node.running()) return false;
    const server::Group& group = member->node.state().group();
    newest = std::max(newest, group.term());
    led = std::max(led, group.leading_term());
  }
  return led != Term() && led == newest;
}

void LogWatch::NoteLog(const raft::TailLog& log) {
  for (LogIndex index = std::max(log.tail_begin(), LogIndex(given_ + 1)); index <= log.LastIndex();
       ++index) {
    const raft::Entry& entry = log.InMemory(index);
    const auto [at, first] = seen_.try_emplace(entry.id());
    if (!first) continue;
    at->second = {
        .id = entry.id(), .type = entry.type, .payload = std::string(entry.payload.view())};
  }
}

void LogWatch::NoteCommit(const raft::TailLog& log, LogIndex committed) {
  for (LogIndex next(commits_.size() + 1); next <= std::min(committed, log.LastIndex()); ++next) {
    const std::optional<Term> term = log.TermAt(next);
    if (!term.has_value()) return;  // a snapshot came in its place: another member has it
    commits_.push_back({{*term, next}, saw_all_, cluster_.world().Now()});
  }
}

void LogWatch::SearchDisks() {
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    for (raft::Entry& entry : LoggedEntries(member->node.disk(), kLogDirectory)) {
      if (entry.index.value() <= given_ || seen_.contains(entry.id())) continue;
      seen_[entry.id()] = {
          .id = entry.id(), .type = entry.type, .payload = std::string(entry.payload.view())};
    }
  }
}

void LogWatch::Give() {
  while (!complete()) {
    const Commit& commit = commits_[given_];
    auto found = seen_.find(commit.id);
    if (found == seen_.end()) {
      SearchDisks();
      found = seen_.find(commit.id);
    }
    if (found == seen_.end()) return;
    CommittedEntry entry = std::move(found->second);
    entry.after = commit.after;
    entry.by = commit.by;
    ++given_;
    std::erase_if(seen_, [&](const auto& one) { return one.first.index.value() <= given_; });
    taker_(entry);
  }
}

}  // namespace metastore::sim_test
