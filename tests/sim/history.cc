#include "tests/sim/history.h"

#include <algorithm>
#include <string_view>

#include "io/base/check.h"
#include "io/base/status.h"

namespace metastore::sim_test {
namespace {

struct Interval {
  MonoTime began;
  MonoTime returned;
  int64_t revision = 0;
  bool is_write = false;
};

}  // namespace

void StoreHistory::Add(const std::string& key, Version version) {
  std::vector<Version>& versions = keys_[key];
  CHECK(versions.empty() || versions.back().revision < version.revision);
  by_revision_[version.revision].push_back(key);
  versions.push_back(std::move(version));
}

const StoreHistory::Version* StoreHistory::At(const std::string& key, int64_t revision) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return nullptr;
  const std::vector<Version>& versions = found->second;
  const auto after = std::ranges::upper_bound(versions, revision, {}, &Version::revision);
  if (after == versions.begin() || std::prev(after)->deleted) return nullptr;
  return &*std::prev(after);
}

std::vector<std::pair<std::string, StoreHistory::Version>> StoreHistory::ChangesAt(
    int64_t revision) const {
  std::vector<std::pair<std::string, Version>> changes;
  const auto found = by_revision_.find(revision);
  if (found == by_revision_.end()) return changes;
  for (const std::string& key : found->second) {
    const std::vector<Version>& versions = keys_.at(key);
    changes.emplace_back(key,
                         *std::ranges::lower_bound(versions, revision, {}, &Version::revision));
  }
  return changes;
}

std::vector<int64_t> StoreHistory::Revisions() const {
  std::vector<int64_t> revisions;
  for (const auto& [revision, keys] : by_revision_) revisions.push_back(revision);
  return revisions;
}

std::vector<std::string> History::CheckOrder() const {
  std::vector<std::string> problems;
  std::map<int64_t, const WriteEvent*> by_revision;
  std::vector<Interval> calls;
  for (const WriteEvent& write : writes_) {
    if (write.revision == 0) continue;
    const auto [at, inserted] = by_revision.emplace(write.revision, &write);
    if (!inserted) {
      problems.push_back(Concat("revision ", write.revision, " was given to the write of ",
                                at->second->keys[0].key, " and to that of ", write.keys[0].key));
    }
    calls.push_back({write.began, write.returned, write.revision, true});
  }
  for (const ReadEvent& read : reads_) {
    if (read.serializable) continue;
    calls.push_back({read.began, read.returned, read.header_revision, false});
  }
  std::ranges::sort(calls, {}, &Interval::began);
  std::vector<Interval> ended = calls;
  std::ranges::sort(ended, {}, &Interval::returned);
  int64_t floor = 0;  // greatest revision of any call that had returned
  size_t next = 0;
  for (const Interval& call : calls) {
    for (; next < ended.size() && ended[next].returned < call.began; ++next) {
      floor = std::max(floor, ended[next].revision);
    }
    const bool ordered = call.is_write ? call.revision > floor : call.revision >= floor;
    if (ordered) continue;
    problems.push_back(Concat(call.is_write ? "a write" : "a read", " begun at ", call.began.ns,
                              " got revision ", call.revision, " after ", floor,
                              " had been returned"));
  }
  return problems;
}

void History::CheckWrite(const StoreHistory& store, const WriteEvent& write,
                         std::vector<std::string>& problems) const {
  const auto changes = store.ChangesAt(write.revision);
  if (changes.size() != write.keys.size()) {
    problems.push_back(Concat("an acknowledged write of ", write.keys.size(), " keys, ",
                              write.keys[0].key, " first, at revision ", write.revision,
                              ": the store has ", changes.size(), " changes there"));
    return;
  }
  for (const Written& written : write.keys) {
    const auto there =
        std::ranges::find(changes, written.key, [](const auto& c) { return c.first; });
    if (there != changes.end() && there->second.deleted == written.value.empty() &&
        there->second.value == written.value) {
      continue;
    }
    problems.push_back(Concat("acknowledged write lost: ", written.key, " at revision ",
                              write.revision, ": the store has another"));
  }
  if (!write.expected.has_value()) return;
  const StoreHistory::Version* before = store.At(write.keys[0].key, write.revision - 1);
  const int64_t was = before == nullptr ? 0 : before->revision;
  if (was == *write.expected) return;
  problems.push_back(Concat("the swap of ", write.keys[0].key, " at revision ", write.revision,
                            " expected ", *write.expected, ", but it was ", was));
}

std::vector<std::string> History::Check(const StoreHistory& store) const {
  std::vector<std::string> problems = CheckOrder();
  for (const WriteEvent& write : writes_) {
    if (write.revision != 0) CheckWrite(store, write, problems);
  }
  for (const ReadEvent& read : reads_) {
    const StoreHistory::Version* there = store.At(read.key, read.header_revision);
    const bool agrees = there == nullptr ? !read.found
                                         : read.found && read.value == there->value &&
                                               read.mod_revision == there->revision;
    if (agrees) continue;
    problems.push_back(Concat(read.serializable ? "a serializable read of " : "a read of ",
                              read.key, " at revision ", read.header_revision,
                              " does not agree with the store"));
  }
  std::set<std::string_view> seen;
  for (const auto& [key, versions] : store.keys()) {
    for (const StoreHistory::Version& version : versions) {
      if (version.deleted) continue;
      if (!asked_.contains(version.value)) {
        problems.push_back(Concat("nobody asked for what ", key, " is at ", version.revision));
      }
      if (!seen.insert(version.value).second) {
        problems.push_back(
            Concat("one write of ", key, " was done twice, again at revision ", version.revision));
      }
    }
  }
  return problems;
}

}  // namespace metastore::sim_test
