// How an FsyncProfile, and a WhatIf beside it, read: as text and as JSON. Pure.
#pragma once

#include <string>
#include <vector>

#include "tools/walinspect/fsync_profile.h"
#include "tools/walinspect/json.h"
#include "tools/walinspect/what_if.h"

namespace metastore::walinspect {

struct FsyncReport {
  const FsyncProfile& profile;
  uint64_t untimed = 0;             // frames whose flush time the log does not have
  const WhatIf* what_if = nullptr;  // unset: not asked for
};

std::string ReportText(const FsyncReport& report);
std::string ReportJson(const FsyncReport& report, const wal::Finding& finding);

// The parts of the text, each of whole lines. None has anything where there are no flushes.
struct ReportSections {
  std::string times;      // table of gather and flush
  std::string pace;       // flushes a second, depth
  std::string histogram;  // of both
  std::string heat;       // flush time over time
  std::string sizes;      // by size, with the line
  std::string outliers;
  std::string causes;  // ripple, waits for a processor, segment switches
};
ReportSections SectionsOf(const FsyncProfile& profile);
// The profile's keys, within an object that is open.
void PutProfile(JsonWriter& json, const FsyncProfile& profile);

// One sentence: is this disk good enough, by the rule of FsyncProfile?
std::string VerdictSentence(const FsyncProfile& profile);
std::string_view VerdictName(DiskVerdict verdict);  // "good", "slow", "too-quick", "too-few"

}  // namespace metastore::walinspect
