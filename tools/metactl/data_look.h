// A read-only look at a node's data directory: whose it is, its snapshots, what its log spans.
//
// Takes no lock and writes nothing, so a running node does not notice. What it recycles or removes
// under the look is looked at again, or left out; a tail being written is no damage.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/snapshot_format.h"
#include "engine/snapshot_store.h"
#include "io/runtime.h"
#include "wal/scan.h"

namespace metastore::metactl {

enum class SnapshotVerdict : uint8_t {
  kIntact,      // every chunk's checksum is right, and nothing is missing
  kUnfinished,  // it has no trailer: a crash, or it is being written
  kDamaged,
};

struct SnapshotFacts {
  std::string path;
  uint64_t file_bytes = 0;
  SnapshotVerdict verdict = SnapshotVerdict::kUnfinished;
  std::string detail;             // kDamaged: what and where
  engine::SnapshotFile trailer;   // not of kUnfinished
  engine::SnapshotHeader header;  // kIntact
  engine::SnapshotTotals totals;  // kIntact
};

struct GroupSpan {
  GroupId group;
  LogIndex first;  // first + 1 > last: no entries
  LogIndex last;
};

struct LogFacts {
  wal::Finding finding;
  std::optional<wal::LogIdentity> identity;
  uint64_t boots = 0;
  uint64_t segments_live = 0;
  uint64_t segments_spare = 0;
  uint64_t bytes = 0;  // of all segment files
  Lsn first_lsn;
  Lsn last_lsn;
  std::vector<GroupSpan> groups;
};

struct DataFacts {
  LogFacts log;
  std::vector<SnapshotFacts> snapshots;  // newest first
};

// Sealed segments are judged by their footers: `walinspect verify` reads every byte.
// Errors: kNotFound  no such directory, or nothing of a node in it; else as io::Runtime's
io::Task<StatusOr<DataFacts>> LookAtData(io::Runtime& runtime, std::string log_directory,
                                         std::string snapshot_directory);

// Nothing in it is damaged or another's.
bool IsSound(const DataFacts& facts);
std::string DataText(const DataFacts& facts);
std::string DataJson(const DataFacts& facts);

}  // namespace metastore::metactl
