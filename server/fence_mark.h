// The fence mark: a file in the data directory of a member whose state was found to differ from the
// majority's. While it is there the member serves nobody, whatever the rest of the directory says.
//
// Format: one block of text for people, filled up with line ends: "MetaStore fence mark 1", then
// why. Its existence is what counts: one that cannot be read fences, too.
#pragma once

#include <string>

#include "io/runtime.h"

namespace metastore::server {

// Where it is, in `data_dir`.
std::string FenceMarkPath(const std::string& data_dir);

// Why the member is fenced; empty: it is not.
// Errors: those of opening a file, but for its absence
io::Task<StatusOr<std::string>> ReadFenceMark(io::Runtime& runtime, std::string data_dir);

// Makes it, or makes it anew; durable when this completes.
//   why   cut at what a block holds
// Errors: those of writing a file
io::Task<Status> WriteFenceMark(io::Runtime& runtime, std::string data_dir, std::string why);

}  // namespace metastore::server
