// Comparing the logs of two members, group by group. Three walks over each log, so that memory does
// not grow with it:
//   1. LiveEntries: which record holds each live entry (GroupRuns);
//   2. Digests: the entries of the common range, summed up in at most kChunksMax chunks;
//   3. Prints: term and hash of every entry of the first chunk of a group that differs.
// Pure but for being visitors of scans.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/walinspect/group_runs.h"
#include "wal/replayer.h"
#include "wal/scan.h"

namespace metastore::walinspect {

using RunsByGroup = std::map<GroupId, GroupRuns>;

// A range of indexes of one group, both ends included, in chunks of `width`.
struct Window {
  uint64_t first = 1;
  uint64_t last = 0;
  uint64_t width = 1;
  bool empty() const { return first > last; }
  uint64_t count() const { return empty() ? 0 : last - first + 1; }
};
using Windows = std::map<GroupId, Window>;

class LiveEntries final : public wal::LogVisitor {
 public:
  Status OnSegment(const wal::ScannedFile& file) override;
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override;
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }

  ClusterId cluster;
  RunsByGroup groups;
};

// Calls OnEntry for each live entry within a window, in the log's order.
class EntryVisitor : public wal::LogVisitor {
 public:
  EntryVisitor(const RunsByGroup& groups, const Windows& windows)
      : groups_(groups), windows_(windows) {}
  Status OnSegment(const wal::ScannedFile&) override { return OkStatus(); }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override;
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }
  // As many as the windows have: otherwise the log changed since its runs were found.
  bool complete() const;

 protected:
  virtual void OnEntry(const wal::LoggedRecord& logged, const Window& window) = 0;

 private:
  const RunsByGroup& groups_;
  const Windows& windows_;
  uint64_t seen_ = 0;
};

class Digests final : public EntryVisitor {
 public:
  static constexpr uint64_t kChunksMax = 1 << 18;  // of all groups
  using EntryVisitor::EntryVisitor;
  std::map<GroupId, std::vector<uint64_t>> chunks;

 private:
  void OnEntry(const wal::LoggedRecord& logged, const Window& window) override;
};

struct EntryPrint {
  Term term;
  uint64_t bytes = 0;
  uint64_t hash = 0;  // of index, term, tag and bytes
  bool operator==(const EntryPrint&) const = default;
};

class Prints final : public EntryVisitor {
 public:
  using EntryVisitor::EntryVisitor;
  std::map<GroupId, std::vector<EntryPrint>> entries;

 private:
  void OnEntry(const wal::LoggedRecord& logged, const Window& window) override;
};

// Windows over what both logs have of each group.
Windows CommonWindows(const RunsByGroup& a, const RunsByGroup& b);
// The first chunk of each group that differs; no window for a group that does not.
Windows DifferentChunks(const Windows& common, const Digests& a, const Digests& b);

enum class GroupVerdict : uint8_t { kSame, kShorter, kMissing, kApart, kDifferent };
std::string_view GroupVerdictName(GroupVerdict verdict);

struct GroupDiff {
  GroupId group;
  GroupVerdict verdict = GroupVerdict::kSame;
  Window a;  // what each has; last < first: no entry
  Window b;
  Window common;
  uint64_t index = 0;  // kDifferent: the first entry that differs
  EntryPrint entry_a;
  EntryPrint entry_b;
};

std::vector<GroupDiff> Compare(const RunsByGroup& a, const RunsByGroup& b, const Prints& prints_a,
                               const Prints& prints_b, const Windows& different);
std::string DiffText(const std::vector<GroupDiff>& groups);
std::string DiffJson(const std::vector<GroupDiff>& groups);

}  // namespace metastore::walinspect
