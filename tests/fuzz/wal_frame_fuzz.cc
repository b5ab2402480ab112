// Aim: no bytes crash the decoders of the log, or the index that replays what they give; what is
// decoded encodes to the same bytes. Method: the input is decoded as it is, and once more as the
// body of a frame and of a footer whose hashes are right, since random bytes never pass a hash.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "io/base/check.h"
#include "io/base/hash.h"
#include "wal/footer.h"
#include "wal/format.h"
#include "wal/group_log.h"
#include "wal/replayer.h"

namespace {

namespace wal = metastore::wal;
using metastore::Hash64;
using metastore::Lsn;
using metastore::MixSeed;

constexpr uint64_t kStream = 7;
constexpr wal::SegmentSeq kSegment{1};
constexpr uint64_t kRestatedMax = 10'000;  // larger restated logs are right, but slow here

bool RestatesTooMuch(const wal::Effect& effect) {
  wal::GroupState state;
  return effect.kind == wal::RecordKind::kGroupState &&
         wal::DecodeGroupState(effect.bytes, state) &&
         state.last - state.purged.index > kRestatedMax;
}

wal::SegmentTable OneSegment() {
  wal::SegmentTable segments;
  auto segment = std::make_unique<wal::Segment>();
  segment->seq = kSegment;
  segments.PushBack(std::move(segment));
  return segments;
}

void DecodeRaw(std::string_view input) {
  std::string block(input.substr(0, wal::kBlockBytes));
  block.resize(wal::kBlockBytes);
  wal::SegmentHeader segment;
  if (wal::DecodeSegmentHeader(block, segment) == wal::Decoded::kGood) {
    std::string again(wal::kBlockBytes, '\0');
    wal::EncodeSegmentHeader(segment, again.data());
    CHECK(again == block);
  }
  wal::FrameHeader frame;
  const wal::FramePlace place{kStream, kSegment, 1};
  static_cast<void>(wal::DecodeFrameHeader(block, place, frame));
  wal::Footer footer;
  static_cast<void>(wal::DecodeFooter(block, kStream, footer));
  wal::GroupState state;
  if (wal::DecodeGroupState(input, state)) {
    wal::GroupState again;
    CHECK(wal::DecodeGroupState(wal::EncodeGroupState(state), again));
    CHECK(again.last == state.last);
  }
}

void ReplayAsFrame(std::string_view input) {
  if (input.empty() || input.size() > 100'000) return;
  wal::FoundFrame found;
  std::string frame(wal::kFrameHeaderBytes, '\0');
  frame += input.substr(1);
  found.header.segment = kSegment;
  found.header.block = 1;
  found.header.lsn = Lsn(1);
  found.header.record_count = static_cast<uint8_t>(input[0]);
  found.header.body_bytes = static_cast<uint32_t>(input.size() - 1);
  frame.resize(wal::RoundUpToBlock(frame.size()));
  found.header.frame_bytes = static_cast<uint32_t>(frame.size());
  wal::EncodeFrameHeader(found.header, kStream, frame.data());
  wal::FrameHeader header;
  CHECK(wal::DecodeFrameHeader(frame, {kStream, kSegment, 1}, header) == wal::Decoded::kGood);
  CHECK(header == found.header);
  CHECK(wal::FrameBodyIntact(header, kStream, frame));
  found.bytes = frame;
  wal::SegmentTable segments = OneSegment();
  wal::GroupTable groups;
  wal::RecordCursor cursor(found);
  wal::LoggedRecord logged;
  while (cursor.Next(logged)) {
    std::string again(wal::RecordBytes(logged), '\0');
    CHECK(wal::StoreRecord(again.data(), logged) == again.data() + again.size());
    const wal::Effect effect = wal::EffectOf(logged.record, 0);
    if (RestatesTooMuch(effect)) return;
    static_cast<void>(
        groups.Replay(logged.group, logged.sequence, effect, {kSegment, Lsn(1)}, segments).ok());
  }
  static_cast<void>(groups.CheckComplete().ok());
}

void ReplayAsFooter(std::string_view input) {
  wal::FooterBuilder builder(wal::kBlockBytes);
  std::string bytes = builder.Encode({.segment = kSegment}, kStream);
  if (input.size() > bytes.size() - wal::kFooterFixedBytes - 1) return;
  // The segment's number stays, since it seeds the hash; all after it is the input's.
  const size_t begin = wal::kFooterFixedBytes + 1;
  std::memset(bytes.data() + begin, 0, bytes.size() - begin);
  std::memcpy(bytes.data() + begin, input.data(), input.size());
  const uint64_t magic = metastore::LoadU64(bytes.data());
  const uint64_t seed = MixSeed(MixSeed(magic, kStream), kSegment.value());
  metastore::StoreU64(bytes.data() + 8, Hash64(std::string_view(bytes).substr(16), seed));
  wal::Footer footer;
  if (!wal::DecodeFooter(bytes, kStream, footer)) return;
  for (const wal::FooterEffect& item : footer.effects) {
    if (RestatesTooMuch(item.effect)) return;
  }
  wal::SegmentTable segments = OneSegment();
  wal::GroupTable groups;
  static_cast<void>(groups.ReplayFooter(footer, segments).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  DecodeRaw(input);
  ReplayAsFrame(input);
  ReplayAsFooter(input);
  return 0;
}
