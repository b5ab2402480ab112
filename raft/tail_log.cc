#include "raft/tail_log.h"

#include <algorithm>

#include "io/base/check.h"

namespace metastore::raft {

TailLog::TailLog(EntryId start, size_t bytes_max)
    : start_(start),
      last_(start.index),
      bytes_max_(bytes_max),
      retained_(start.index),
      tail_begin_(start.index + 1) {}

void TailLog::Extend(AppendTask& task) {
  if (task.snapshot != nullptr) Install(*task.snapshot);
  Append(task.entries);
}

void TailLog::Append(std::span<Entry> entries) {
  if (entries.empty()) return;
  TruncateFrom(entries.front().index);
  for (Entry& entry : entries) {
    NoteTerm(entry.id());
    bytes_ += EntryBytes(entry);
    tail_.push_back(std::move(entry));
  }
  Shrink();
}

void TailLog::AppendIdOnly(EntryId id) {
  TruncateFrom(id.index);
  NoteTerm(id);
  bytes_ = 0;
  tail_.clear();
  tail_begin_ = last_ + 1;
}

void TailLog::NoteTerm(EntryId id) {
  CHECK_EQ(id.index, last_ + 1);
  const Term before = runs_.empty() ? start_.term : runs_.back().term;
  CHECK_GE(id.term, before);
  if (runs_.empty() || id.term != before) runs_.push_back({id.index, id.term});
  last_ = id.index;
}

void TailLog::TruncateFrom(LogIndex index) {
  CHECK_GT(index, start_.index);
  CHECK_LE(index, last_ + 1);
  if (index > last_) return;
  last_ = index - 1;
  while (!runs_.empty() && runs_.back().begin > last_) runs_.pop_back();
  while (!tail_.empty() && tail_.back().index > last_) {
    bytes_ -= EntryBytes(tail_.back());
    tail_.pop_back();
  }
  tail_begin_ = std::min(tail_begin_, last_ + 1);
  refill_.clear();
}

void TailLog::Install(const SnapshotMeta& snapshot) {
  start_ = snapshot.last;
  last_ = start_.index;
  retained_ = start_.index;
  tail_begin_ = start_.index + 1;
  bytes_ = 0;
  tail_.clear();
  runs_.clear();
  refill_.clear();
  wanted_.reset();
}

void TailLog::Retain(LogIndex applied) {
  retained_ = std::max(retained_, applied);
  Shrink();
}

void TailLog::SetBytesMax(size_t bytes_max) {
  bytes_max_ = bytes_max;
  Shrink();
}

void TailLog::Shrink() {
  while (bytes_ > bytes_max_ && !tail_.empty() && tail_.front().index <= retained_) {
    bytes_ -= EntryBytes(tail_.front());
    tail_.pop_front();
    ++tail_begin_;
  }
}

void TailLog::Compact(LogIndex index) {
  if (index <= start_.index) return;
  const std::optional<Term> term = TermAt(index);
  CHECK(term.has_value());
  start_ = {*term, index};
  while (!tail_.empty() && tail_.front().index <= index) {
    bytes_ -= EntryBytes(tail_.front());
    tail_.pop_front();
  }
  tail_begin_ = std::max(tail_begin_, index + 1);
  retained_ = std::max(retained_, index);
  // The run that `index` lies in stays unless the next one begins right after it.
  while (runs_.size() > 1 && runs_[1].begin <= index + 1) runs_.pop_front();
  if (last_ == index) runs_.clear();
}

std::optional<Term> TailLog::TermAt(LogIndex index) const {
  if (index == start_.index) return start_.term;
  if (index < start_.index || index > last_) return std::nullopt;
  const auto after =
      std::upper_bound(runs_.begin(), runs_.end(), index,
                       [](LogIndex key, const TermRun& run) { return key < run.begin; });
  CHECK(after != runs_.begin());
  return std::prev(after)->term;
}

const Entry& TailLog::InMemory(LogIndex index) const {
  CHECK(index >= tail_begin_ && index <= last_);
  return tail_[index - tail_begin_];
}

Status TailLog::Entries(LogIndex begin, LogIndex end, size_t bytes_max, std::vector<Entry>& out) {
  CHECK_LT(begin, end);
  CHECK_LE(end, last_ + 1);
  if (begin <= start_.index) return OutOfRangeError("entry ", begin.value(), " was compacted away");
  const size_t before = out.size();
  size_t bytes = 0;
  const auto take = [&](const Entry& entry) {
    bytes += EntryBytes(entry);
    if (bytes > bytes_max && out.size() > before) return false;
    out.push_back(entry);
    return true;
  };
  if (begin >= tail_begin_) {
    for (LogIndex at = begin; at < end && take(tail_[at - tail_begin_]); ++at) {
    }
    return OkStatus();
  }
  const auto at = std::find_if(refill_.begin(), refill_.end(),
                               [begin](const Entry& entry) { return entry.index == begin; });
  if (at == refill_.end()) {
    wanted_ = Wanted{begin, std::min(end, tail_begin_), bytes_max};
    return UnavailableError("entry ", begin.value(), " is on disk");
  }
  std::find_if_not(at, refill_.end(),
                   [&](const Entry& entry) { return entry.index < end && take(entry); });
  return OkStatus();
}

std::optional<SnapshotMeta> TailLog::Snapshot(NodeId peer) {
  if (snapshot_ && snapshot_->last.index >= start_.index && snapshot_->conf.Includes(peer)) {
    return snapshot_;
  }
  snapshot_wanted_ = true;
  return std::nullopt;
}

}  // namespace metastore::raft
