#include "wal/frame_builder.h"

#include <algorithm>
#include <cstring>

#include "io/base/check.h"

namespace metastore::wal {
namespace {

constexpr size_t kFirstBytes = 256 * limits::kKiB;
constexpr size_t kGrowthFactor = 4;
constexpr size_t kHashStepBytes = 16 * limits::kKiB;  // large enough for the hash's full speed

static_assert(limits::kFrameBytesMax + kSegmentHeaderBytes <= limits::kIoBytesMax);

}  // namespace

void FrameBuilder::Reset() {
  if (buffer_.size() > kKeepBytes) buffer_ = io::IoBuffer();
  body_bytes_ = 0;
  record_count_ = 0;
  footer_bytes_ = 0;
  has_segment_header_ = false;
}

void FrameBuilder::Begin(const FrameHeader& header, uint64_t stream) {
  CHECK_EQ(body_bytes_, 0u);
  hash_.Begin(BodySeed(header, stream));
  hashed_bytes_ = 0;
}

void FrameBuilder::HashTo(size_t end) {
  hash_.Add({frame() + kFrameHeaderBytes + hashed_bytes_, end - hashed_bytes_});
  hashed_bytes_ = end;
}

void FrameBuilder::Grow(size_t bytes) {
  if (bytes <= buffer_.size()) return;
  CHECK_LE(bytes, limits::kIoBytesMax);
  size_t capacity = std::max(kFirstBytes, buffer_.size());
  while (capacity < bytes) capacity *= kGrowthFactor;
  io::IoBuffer grown = runtime_.AllocateBuffer(std::min(capacity, limits::kIoBytesMax));
  const size_t used = kSegmentHeaderBytes + kFrameHeaderBytes + body_bytes_;
  if (buffer_.size() > 0) std::memcpy(grown.data(), buffer_.data(), used);
  buffer_ = std::move(grown);
}

void FrameBuilder::Add(const LoggedRecord& logged, size_t encoded_bytes) {
  const size_t begin = kSegmentHeaderBytes + kFrameHeaderBytes + body_bytes_;
  Grow(RoundUpToBlock(begin + encoded_bytes));
  const char* end = StoreRecord(buffer_.data() + begin, logged);
  CHECK_EQ(static_cast<size_t>(end - (buffer_.data() + begin)), encoded_bytes);
  body_bytes_ += encoded_bytes;
  ++record_count_;
  if (body_bytes_ - hashed_bytes_ >= kHashStepBytes) HashTo(body_bytes_);
}

void FrameBuilder::Seal(FrameHeader& header, uint64_t stream) {
  Grow(kSegmentHeaderBytes + frame_bytes());
  const size_t used = kFrameHeaderBytes + body_bytes_;
  std::memset(frame() + used, 0, frame_bytes() - used);
  header.frame_bytes = static_cast<uint32_t>(frame_bytes());
  header.body_bytes = static_cast<uint32_t>(body_bytes_);
  header.record_count = record_count_;
  HashTo(frame_bytes() - kFrameHeaderBytes);
  header.body_hash = hash_.Value();
  EncodeHashedFrameHeader(header, stream, frame());
}

void FrameBuilder::PutSegmentHeader(const SegmentHeader& header) {
  EncodeSegmentHeader(header, buffer_.data());
  has_segment_header_ = true;
}

void FrameBuilder::PutFooter(std::string_view footer) {
  CHECK_EQ(footer.size() % kBlockBytes, 0u);
  const size_t begin = kSegmentHeaderBytes + frame_bytes();
  if (begin + footer.size() > buffer_.size()) {
    io::IoBuffer grown = runtime_.AllocateBuffer(begin + footer.size());
    std::memcpy(grown.data(), buffer_.data(), begin);
    buffer_ = std::move(grown);
  }
  std::memcpy(buffer_.data() + begin, footer.data(), footer.size());
  footer_bytes_ = footer.size();
}

std::span<char> FrameBuilder::bytes() {
  const size_t skipped = has_segment_header_ ? 0 : kSegmentHeaderBytes;
  return {buffer_.data() + skipped, kSegmentHeaderBytes - skipped + frame_bytes() + footer_bytes_};
}

}  // namespace metastore::wal
