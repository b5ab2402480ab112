#include "wal/replayer.h"

namespace metastore::wal {

bool RecordCursor::Next(LoggedRecord& logged) {
  if (taken_ == header_.record_count) {
    ok_ = ok_ && reader_.done();
    return false;
  }
  ++taken_;
  ok_ = ReadRecordFrom(reader_, logged);
  return ok_;
}

Status Replayer::OnSegment(const ScannedFile& file) {
  if (!segments_.empty()) {
    Segment& before = segments_.back();
    before.sealed = true;
    before.footer.reset();
    before.footer_block = file.header.previous_footer_block;
    before.footer_blocks = file.header.previous_footer_blocks;
    before.footer_hash = file.header.previous_footer_hash;
  }
  auto segment = std::make_unique<Segment>();
  segment->seq = file.header.segment;
  segment->first_lsn = segment->restated = file.header.first_lsn;
  segment->footer.emplace(footer_bytes_max_);
  segments_.PushBack(std::move(segment));
  return OkStatus();
}

Status Replayer::OnFrame(const ScannedFile&, const FoundFrame& frame) {
  Segment& segment = segments_.back();
  const auto ordinal = static_cast<uint32_t>(segment.frames.size());
  segment.frames.push_back(
      {frame.header.block, static_cast<uint32_t>(frame.header.frame_bytes / kBlockBytes)});
  RecordCursor cursor(frame);
  LoggedRecord logged;
  while (cursor.Next(logged)) {
    const Effect effect = EffectOf(logged.record, ordinal);
    const GroupLog::Place place{segment.seq, frame.header.lsn};
    Status replayed = groups_.Replay(logged.group, logged.sequence, effect, place, segments_);
    if (!replayed.ok()) return replayed;
    segment.footer->Add(logged.group, logged.sequence, effect);
  }
  if (!cursor.ok()) return DataLossError("frame ", frame.header.lsn.value(), ": malformed record");
  return OkStatus();
}

Status Replayer::OnFooter(const ScannedFile&, const Footer& footer) {
  Segment& segment = segments_.back();
  uint32_t block = 1;
  for (uint32_t blocks : footer.frame_blocks) {
    segment.frames.push_back({block, blocks});
    block += blocks;
  }
  return groups_.ReplayFooter(footer, segments_);
}

}  // namespace metastore::wal
