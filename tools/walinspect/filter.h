// What `walinspect dump` shows: ranges of indexes, LSNs and times, and one group. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/base/ids.h"
#include "io/base/status.h"
#include "wal/format.h"

namespace metastore::walinspect {

// Both ends included.
struct Range {
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;
  bool Has(uint64_t value) const { return value >= first && value <= last; }
  bool all() const { return first == 0 && last == UINT64_MAX; }
};

// "A..B", "A..", "..B" or "A". Errors: kInvalidArgument
StatusOr<Range> ParseRange(std::string_view text);

// "2026-01-02T03:04:05[.678]Z", or seconds since 1970. Errors: kInvalidArgument
StatusOr<WallTime> ParseTime(const std::string& text);
// "2026-01-02T03:04:05.678901Z"
std::string FormatTime(WallTime time);

struct Filter {
  std::optional<GroupId> group;
  Range index;
  Range lsn;
  WallTime since{INT64_MIN};
  WallTime until{INT64_MAX};

  bool TakesFrame(const wal::FrameHeader& header) const {
    return lsn.Has(header.lsn.value()) && header.submit_wall >= since &&
           header.submit_wall <= until;
  }
  bool TakesRecord(const wal::LoggedRecord& logged) const {
    return (!group || *group == logged.group) && index.Has(logged.record.index.value());
  }
  // Frames without a matching record are shown only if no record is asked for.
  bool asks_for_records() const { return group.has_value() || !index.all(); }
};

}  // namespace metastore::walinspect
