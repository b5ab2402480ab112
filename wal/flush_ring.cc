#include "wal/flush_ring.h"

#include <array>

namespace metastore::wal {
namespace {

using Words = std::array<uint64_t, FlushRing::kRecordWords>;

uint64_t Pair(uint32_t high, uint32_t low) { return uint64_t{high} << 32 | low; }
uint32_t High(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
uint32_t Low(uint64_t word) { return static_cast<uint32_t>(word); }
uint64_t Unsigned(int64_t ns) { return static_cast<uint64_t>(ns); }
int64_t Signed(uint64_t word) { return static_cast<int64_t>(word); }

}  // namespace

void FlushRing::Add(const FlushRecord& flush) {
  const uint32_t state = uint32_t{flush.in_flight} << 1 | (flush.failed ? 1u : 0u);
  const Words words = {flush.lsn.value(),
                       flush.epoch.value(),
                       flush.segment.value(),
                       Unsigned(flush.submitted_wall.ns),
                       Unsigned(flush.opened.ns),
                       Unsigned(flush.submitted.ns),
                       Unsigned(flush.completed.ns),
                       Pair(flush.bytes, flush.body_bytes),
                       Pair(flush.requests, flush.records),
                       Pair(flush.flags, state)};
  ring_.Append(words);
}

StatusOr<FlushRingReader> FlushRingReader::Open(std::span<uint64_t> memory) {
  StatusOr<io::RecordRingReader> ring = io::RecordRingReader::Open(memory, FlushRing::kShape);
  if (!ring.ok()) return ring.status();
  return FlushRingReader(*ring);
}

std::optional<FlushRecord> FlushRingReader::Read(uint64_t number) const {
  Words words;
  if (!ring_.Read(number, words)) return std::nullopt;
  return FlushRecord{.lsn = Lsn(words[0]),
                     .epoch = Epoch(words[1]),
                     .segment = SegmentSeq(words[2]),
                     .submitted_wall = {Signed(words[3])},
                     .opened = {Signed(words[4])},
                     .submitted = {Signed(words[5])},
                     .completed = {Signed(words[6])},
                     .bytes = High(words[7]),
                     .body_bytes = Low(words[7]),
                     .requests = High(words[8]),
                     .records = Low(words[8]),
                     .flags = High(words[9]),
                     .in_flight = static_cast<uint16_t>(Low(words[9]) >> 1),
                     .failed = (words[9] & 1) != 0};
}

}  // namespace metastore::wal
