// Whose log lies in a directory, for who starts before it knows who it is.
#pragma once

#include <optional>
#include <string>

#include "io/runtime.h"
#include "wal/scan.h"

namespace metastore::wal {

// What the segments of `directory` say; nothing: there is no log, or no directory.
// Errors: kFailedPrecondition  they are of different logs; names file and both identities
//         else as io::Runtime's file functions
io::Task<StatusOr<std::optional<LogIdentity>>> IdentityOfLog(io::Runtime& runtime,
                                                             std::string directory);

// How the log of `directory` ends, judged by every byte of it, as Open would judge. An error of the
// disk that does not last is no damage.
// Errors: as IdentityOfLog
io::Task<StatusOr<Finding>> JudgeLog(io::Runtime& runtime, std::string directory);

// What is left of a damaged log for one that takes its place.
struct LogRemains {
  std::string hard_state;  // of the group: the last one that is intact; empty: none is
  Epoch epoch;             // the highest seen; a later one may be lost
};
// Reads the segments from the newest on until one has an intact hard state of `group`. Frames count
// by themselves, whatever the order of the log says.
// Errors: as IdentityOfLog
io::Task<StatusOr<LogRemains>> RemainsOfLog(io::Runtime& runtime, std::string directory,
                                            GroupId group);

}  // namespace metastore::wal
