#include "tools/walinspect/stats.h"

#include "tools/walinspect/scan_run.h"

namespace metastore::walinspect {

Tally LogStatistics::GroupStatistics::total() const {
  Tally all;
  for (const Tally& tally : kinds) {
    all.records += tally.records;
    all.bytes += tally.bytes;
  }
  return all;
}

Status LogStatistics::OnSegment(const wal::ScannedFile& file) {
  segments.push_back({.file = std::string(FileName(file.path)),
                      .segment = file.header.segment,
                      .epoch = file.header.epoch,
                      .first_lsn = file.header.first_lsn,
                      .file_bytes = file.file->size()});
  return OkStatus();
}

Status LogStatistics::OnFrame(const wal::ScannedFile&, const wal::FoundFrame& frame) {
  CountFrame(frame.header);
  CountBoot(frame.header);
  wal::RecordCursor cursor(frame);
  wal::LoggedRecord logged;
  while (cursor.Next(logged)) CountRecord(logged, frame.header.segment);
  return cursor.ok() ? OkStatus() : DataLossError("malformed record");
}

void LogStatistics::CountFrame(const wal::FrameHeader& header) {
  SegmentStatistics& segment = segments.back();
  ++segment.frames;
  segment.frame_bytes += header.frame_bytes;
  segment.body_bytes += header.body_bytes;
  segment.sealed = (header.flags & wal::kFrameSealsSegment) != 0;
  header_bytes += wal::kFrameHeaderBytes;
  padding_bytes += header.frame_bytes - wal::kFrameHeaderBytes - header.body_bytes;
  if ((header.flags & wal::kFramePromiseOnly) != 0) {
    ++promise_frames;
  } else {
    frame_requests.Add(header.requests);
    frame_records.Add(header.record_count);
    frame_bytes.Add(header.frame_bytes);
  }
}

void LogStatistics::CountBoot(const wal::FrameHeader& header) {
  const bool same = !boots.empty() && boots.back().epoch == header.epoch;
  if (same && header.submit_mono >= last_submit_) {
    const auto now_ns = static_cast<uint64_t>(header.submit_mono.ns);
    frame_gap_us.Add((now_ns - static_cast<uint64_t>(last_submit_.ns)) / 1000);
  }
  last_submit_ = header.submit_mono;
  if (!same) {
    ++boots_count;
    if (boots.size() == kBootsMax) boots.pop_back();  // the last one is always there
    boots.push_back({.epoch = header.epoch, .first_lsn = header.lsn, .first = header.submit_wall});
  }
  boots.back().last = header.submit_wall;
  ++boots.back().frames;
}

void LogStatistics::CountRecord(const wal::LoggedRecord& logged, wal::SegmentSeq segment) {
  GroupStatistics& group = groups[logged.group];
  Tally& tally = group.kinds[static_cast<size_t>(logged.record.kind)];
  ++tally.records;
  tally.bytes += logged.record.bytes.size();
  payload_bytes += logged.record.bytes.size();
  group.runs.Apply(logged, segment);
  if (logged.record.kind == wal::RecordKind::kHardState ||
      logged.record.kind == wal::RecordKind::kGroupState) {
    group.hard_state = segment;
  }
}

void LogStatistics::FindPins() {
  for (const auto& [id, group] : groups) {
    for (SegmentStatistics& segment : segments) {
      if (segment.segment == group.hard_state) segment.hard_states.insert(id);
    }
    for (const auto& [first, run] : group.runs.runs()) {
      const uint64_t place = run.segment.value() - segments.front().segment.value();
      segments[place].live[id] += run.last - first + 1;
    }
  }
}

}  // namespace metastore::walinspect
