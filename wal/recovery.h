// Recovery: from the files of a directory to a log that can be appended to.
//
// In order: everything is flushed (a crashed predecessor's writes may be in a cache only, and must
// not be acted upon before they are durable); the log is scanned and replayed into the index
// (wal/scan.h judges its end); the tail behind the last good frame is overwritten with zeros
// through what frames in flight can span, and flushed, so that no frame of the old epoch can come
// back; files that are no part of the log are made ready for reuse or removed. The caller then
// begins the new epoch. A crash at any point leaves a directory that recovers to the same log.
#pragma once

#include <vector>

#include "io/runtime.h"
#include "wal/group_log.h"
#include "wal/log.h"
#include "wal/segment.h"
#include "wal/writer.h"

namespace metastore::wal {

struct Recovered {
  StreamPosition position;  // its epoch is the new one
  SegmentTable segments;
  GroupTable groups;
  std::vector<SegmentFile> free_files;
  // Free as well, but the frame that said so is torn and cut: to be touched once another says it.
  std::vector<SegmentFile> held_files;
  uint64_t next_file_number = 1;
  bool created = false;  // there was no log
};

// Errors: as Log::Open, but for kInvalidArgument and kResourceExhausted.
io::Task<StatusOr<std::unique_ptr<Recovered>>> Recover(io::Runtime& runtime,
                                                       const LogOptions& options);

}  // namespace metastore::wal
