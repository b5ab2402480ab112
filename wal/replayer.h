// Replayer: the visitor that rebuilds the index from what a scan finds. Pure.
#pragma once

#include "wal/group_log.h"
#include "wal/scan.h"
#include "wal/segment.h"

namespace metastore::wal {

class Replayer final : public LogVisitor {
 public:
  // `footer_bytes_max`: cap of the footer of the segment that will be written on. All outlive the
  // replayer.
  Replayer(SegmentTable& segments, GroupTable& groups, size_t footer_bytes_max)
      : segments_(segments), groups_(groups), footer_bytes_max_(footer_bytes_max) {}

  Status OnSegment(const ScannedFile& file) override;
  // kDataLoss: malformed records, or what GroupTable::Replay says.
  Status OnFrame(const ScannedFile& file, const FoundFrame& frame) override;
  Status OnFooter(const ScannedFile& file, const Footer& footer) override;

 private:
  SegmentTable& segments_;
  GroupTable& groups_;
  size_t footer_bytes_max_;
};

// Decodes the records of an intact frame one by one: Next is false at the end, or at a malformed
// record (then !ok()).
class RecordCursor final {
 public:
  explicit RecordCursor(const FoundFrame& frame)
      : header_(frame.header), reader_(FrameBody(frame.header, frame.bytes)) {}
  [[nodiscard]] bool Next(LoggedRecord& logged);
  bool ok() const { return ok_; }

 private:
  FrameHeader header_;
  Reader reader_;
  uint32_t taken_ = 0;
  bool ok_ = true;
};

}  // namespace metastore::wal
