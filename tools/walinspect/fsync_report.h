// How an FsyncProfile, and a WhatIf beside it, read: as text and as JSON. Pure.
#pragma once

#include <string>

#include "tools/walinspect/fsync_profile.h"
#include "tools/walinspect/what_if.h"

namespace metastore::walinspect {

struct FsyncReport {
  const FsyncProfile& profile;
  uint64_t untimed = 0;             // frames whose flush time the log does not have
  const WhatIf* what_if = nullptr;  // unset: not asked for
};

std::string ReportText(const FsyncReport& report);
std::string ReportJson(const FsyncReport& report, const wal::Finding& finding);

// One sentence: is this disk good enough, by the rule of FsyncProfile?
std::string VerdictSentence(const FsyncProfile& profile);
std::string_view VerdictName(DiskVerdict verdict);  // "good", "slow", "too-quick", "too-few"

}  // namespace metastore::walinspect
