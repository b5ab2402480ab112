// The plan of a repair: what of a log would be cut so that a node can start from it, and what is
// lost by that. Making it only reads.
//
// What a repair does: everything from the first place on that is not intact goes. The rest of that
// segment becomes zeros, later segments are removed. For a torn tail this is what the node does by
// itself at its next start; for damage it takes back what the node has acknowledged, so that other
// members must not count on this one's word any more (docs/PROFILING.md, "A damaged log").
//
// Some damage cannot be cut away: where nothing intact is left before it, where the cut would need
// segments that were freed meanwhile, or where entries would be missing in between.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/runtime.h"
#include "tools/walinspect/commands.h"
#include "tools/walinspect/group_runs.h"

namespace metastore::walinspect {

struct FileChange {
  size_t file = 0;  // of the scan's files
  std::string path;
  bool remove = false;  // else [zero_from, zero_to) becomes zeros
  uint64_t zero_from = 0;
  uint64_t zero_to = 0;
};

struct GroupLoss {
  uint64_t records = 0;
  uint64_t bytes = 0;        // payload
  uint64_t first_index = 0;  // of its entries; 0: none
  uint64_t last_index = 0;
  uint64_t hard_states = 0;
};

struct RepairPlan {
  wal::Finding finding;
  std::string impossible;  // why no cut helps; empty: one does
  uint64_t kept_frames = 0;
  uint64_t lost_frames = 0;     // intact ones behind the cut
  uint64_t damaged_frames = 0;  // whose header is intact and whose body is not
  std::map<GroupId, GroupLoss> lost;
  std::vector<FileChange> changes;  // in the order in which they are made

  bool needed() const { return finding.verdict != wal::Verdict::kClean; }
  // Whether something that the node acknowledged is lost.
  bool below_promise() const { return finding.verdict == wal::Verdict::kCorrupt; }
};

// Scans the log of `request`. Errors: as RunScan
io::Task<StatusOr<RepairPlan>> MakeRepairPlan(io::Runtime& runtime, const Request& request);

std::string PlanText(const RepairPlan& plan);
std::string PlanJson(const RepairPlan& plan, bool applied);

}  // namespace metastore::walinspect
