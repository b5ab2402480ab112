// The vocabulary of wal/: what callers append and get back. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/ids.h"

namespace metastore::wal {

// Values are part of the format. Later records of a group win over earlier ones.
enum class RecordKind : uint8_t {
  kEntry = 1,    // entry `index` of `term`; drops what the group's log had from `index` on
  kRewrite = 2,  // the same entry moved forward so that its segment can be freed; drops nothing. By
                 // wal/ only
  kHardState = 3,  // `bytes` replace the group's hard state; term and index are the caller's, for
                   // inspection only
  kSnapshotMeta = 4,  // a snapshot was installed: the log becomes empty and begins after (`term`,
                      // `index`); `bytes` replace the group's snapshot meta
  kTruncate = 5,    // drops the entries from `index` on
  kPurge = 6,       // drops the entries up to and including `index`, whose term was `term`
  kHealed = 7,      // an entry that was damaged here, fetched again from a peer; drops nothing
  kGroupState = 8,  // restates hard state, snapshot meta, purge point and last index at the start
                    // of a segment. By wal/
};

struct Record {
  RecordKind kind = RecordKind::kEntry;
  uint8_t tag = 0;  // kEntry, kRewrite, kHealed: the caller's own byte (raft's entry type), kept
                    // beside the bytes
  Term term;
  LogIndex index;
  std::string_view bytes;  // opaque to wal/
};

// An entry read back; owns its bytes.
struct ReadRecord {
  uint8_t tag = 0;
  Term term;
  LogIndex index;
  std::string bytes;
};

// A position in a group's log and the term there; index 0 is the place before the first entry.
struct EntryRef {
  Term term;
  LogIndex index;
  bool operator==(const EntryRef&) const = default;
};

// What the log holds of one group besides the entries' bytes.
struct GroupState {
  std::string hard_state;     // bytes of the last kHardState; empty: never one
  std::string snapshot_meta;  // bytes of the last kSnapshotMeta; empty: never one
  EntryRef snapshot;          // and its position
  EntryRef purged;            // the log begins after this entry
  LogIndex last;              // last entry; purged.index when there is none
};

}  // namespace metastore::wal
