// LogStatistics: what is in a log: segments, frames, records by group and kind, boots, and which
// group's entries keep which segment. Pure but for being a visitor of a scan.
//
// Memory: a few hundred bytes a segment, a group and a run of entries; boots beyond kBootsMax are
// counted only.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tools/walinspect/group_runs.h"
#include "tools/walinspect/histogram.h"
#include "wal/replayer.h"
#include "wal/scan.h"

namespace metastore::walinspect {

struct Tally {
  uint64_t records = 0;
  uint64_t bytes = 0;  // payload
};

struct SegmentStatistics {
  std::string file;  // name
  wal::SegmentSeq segment;
  Epoch epoch;
  Lsn first_lsn;
  uint64_t file_bytes = 0;
  uint64_t frames = 0;
  uint64_t frame_bytes = 0;
  uint64_t body_bytes = 0;
  bool sealed = false;
  std::map<GroupId, uint64_t> live;  // entries that are needed and lie here
  std::set<GroupId> hard_states;     // groups whose last hard state lies here
};

struct BootStatistics {
  Epoch epoch;
  Lsn first_lsn;
  WallTime first;
  WallTime last;
  uint64_t frames = 0;
};

class LogStatistics final : public wal::LogVisitor {
 public:
  static constexpr size_t kKinds = 9;  // by wal::RecordKind's values
  static constexpr size_t kBootsMax = 1000;

  Status OnSegment(const wal::ScannedFile& file) override;
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override;
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }
  // After the walk: fills SegmentStatistics::live and hard_states.
  void FindPins();

  struct GroupStatistics {
    std::array<Tally, kKinds> kinds;
    GroupRuns runs;
    wal::SegmentSeq hard_state;  // segment of the last one; 0: none
    Tally total() const;
  };

  std::vector<SegmentStatistics> segments;
  std::map<GroupId, GroupStatistics> groups;
  std::vector<BootStatistics> boots;  // the first kBootsMax
  uint64_t boots_count = 0;
  uint64_t promise_frames = 0;
  uint64_t header_bytes = 0;  // of frames
  uint64_t padding_bytes = 0;
  uint64_t payload_bytes = 0;  // of records; the rest of the bodies is their fields
  Histogram frame_requests;
  Histogram frame_records;
  Histogram frame_bytes;
  Histogram frame_gap_us;  // between submissions of one boot

 private:
  void CountFrame(const wal::FrameHeader& header);
  void CountBoot(const wal::FrameHeader& header);
  void CountRecord(const wal::LoggedRecord& logged, wal::SegmentSeq segment);

  MonoTime last_submit_;
};

std::string StatisticsText(const LogStatistics& stats);
std::string StatisticsJson(const LogStatistics& stats, const wal::Finding& finding);

}  // namespace metastore::walinspect
