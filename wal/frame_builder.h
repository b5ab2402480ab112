// FrameBuilder: one frame in the making, in one I/O buffer: [segment header] frame [footer].
// Records are encoded in place; the only copy beyond the caller's bytes is that of a buffer that
// had to grow. The body is hashed while it grows, since that is while the frame before is on its
// way: at Seal little is left to do.
//
// Owner: Writer. The buffer must stay as it is from Seal until the write has completed.
#pragma once

#include <span>
#include <string_view>

#include "io/base/hash.h"
#include "io/runtime.h"
#include "wal/format.h"

namespace metastore::wal {

class FrameBuilder final {
 public:
  explicit FrameBuilder(io::Runtime& runtime) : runtime_(runtime) {}

  // Empty again; a buffer beyond kKeepBytes is given back.
  void Reset();
  // Before the first Add: `header` has the frame's epoch and LSN.
  void Begin(const FrameHeader& header, uint64_t stream);

  void Add(const LoggedRecord& logged, size_t encoded_bytes);
  size_t body_bytes() const { return body_bytes_; }
  uint32_t record_count() const { return record_count_; }
  // Header, body and padding.
  size_t frame_bytes() const { return RoundUpToBlock(kFrameHeaderBytes + body_bytes_); }

  // Fills header's lengths, count and hashes and writes it. No Add may follow.
  void Seal(FrameHeader& header, uint64_t stream);
  // After Seal: the header of the segment that begins with this frame; the footer of the one that
  // ends with it.
  void PutSegmentHeader(const SegmentHeader& header);
  void PutFooter(std::string_view footer);

  // What to write, from the segment header if there is one.
  std::span<char> bytes();
  int registered_index() const { return buffer_.registered_index(); }

  static constexpr size_t kKeepBytes = limits::kMiB;

 private:
  void Grow(size_t bytes);
  // Adds to the hash what is in place up to `end`, counted from the end of the header.
  void HashTo(size_t end);
  char* frame() { return buffer_.data() + kSegmentHeaderBytes; }

  io::Runtime& runtime_;
  io::IoBuffer buffer_;
  Hash64Stream hash_;
  size_t hashed_bytes_ = 0;  // of body and padding
  size_t body_bytes_ = 0;
  uint32_t record_count_ = 0;
  size_t footer_bytes_ = 0;
  bool has_segment_header_ = false;
};

}  // namespace metastore::wal
