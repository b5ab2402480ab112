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

}  // namespace metastore::wal
