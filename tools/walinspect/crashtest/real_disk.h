// Crash images as ordinary files, and back. Plain blocking calls of the system.
#pragma once

#include <string>

#include "io/base/status.h"
#include "tools/walinspect/crashtest/crash_image.h"

namespace metastore::crashtest {

// Makes the directory hold exactly the image; what was there is gone. What is zero in the image
// is a hole in the file.
// Errors: as of the calls; each names path and call
Status WriteImage(const std::string& directory, const CrashImage& image);
// The files below the directory as they are, but those beside the trace.
StatusOr<CrashImage> ReadImage(const std::string& directory);

// Makes an empty directory for work; one that an earlier call has made is emptied.
// Errors: kFailedPrecondition  it has something in it, and is not such a one
Status ClaimWorkDirectory(const std::string& path);

Status MakeDirectory(const std::string& path);  // with its parents; fine if it is there
Status RemoveTree(const std::string& path);     // fine if it is not there
StatusOr<std::string> ReadWholeFile(const std::string& path);
Status WriteWholeFile(const std::string& path, std::string_view bytes);

}  // namespace metastore::crashtest
