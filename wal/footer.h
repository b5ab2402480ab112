// The footer of a sealed segment: what its records do to each group's index, without the entries'
// bytes, so that opening a long log reads a few blocks of a segment instead of all of it. Pure.
//
//   magic, hash, version, bytes, blocks used | segment, first LSN, last LSN, last frame's hash
//   | lengths of the frames in blocks | groups: id, first and last sequence, last hard state |
//   effects, in log order
//
// It follows the last frame and is part of the same durable write. It is an aid only: a segment
// whose footer is missing or damaged is scanned frame by frame, and where the footer would grow
// beyond its cap none is written.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "wal/format.h"

namespace metastore::wal {

// What a record, or a run of `count` entries of consecutive indexes and one term in one frame, does
// to its group.
struct Effect {
  RecordKind kind = RecordKind::kEntry;
  Term term;
  LogIndex index;
  uint64_t count = 1;      // > 1 for entries only
  uint32_t frame = 0;      // ordinal in the segment
  std::string_view bytes;  // of kHardState, kSnapshotMeta and kGroupState
};

struct FooterGroup {
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
  bool has_hard_state = false;
  std::string hard_state;

  bool operator==(const FooterGroup&) const = default;
};

struct FooterEffect {
  GroupId group;
  Effect effect;
};

struct Footer {
  SegmentSeq segment;
  Lsn first_lsn;
  Lsn last_lsn;
  uint64_t last_hash = 0;
  std::vector<uint32_t> frame_blocks;
  std::map<GroupId, FooterGroup> groups;
  std::vector<FooterEffect> effects;  // their bytes view what was decoded
};

// Gathers the footer of the segment being written. Hard states are kept once a group, all else in
// log order.
class FooterBuilder final {
 public:
  explicit FooterBuilder(size_t bytes_max) : bytes_max_(bytes_max) {}

  void Add(GroupId group, uint64_t sequence, const Effect& effect);
  // An upper bound of the encoded size, whole blocks, for `frames` frames; 0 once the cap was
  // passed.
  size_t BytesBound(size_t frames) const;
  // False: beyond the cap, no footer will be written.
  bool usable() const { return usable_; }

  // Whole blocks. `footer` gives segment, LSNs, hash and frames; groups and effects are the
  // builder's. The first eight bytes after the magic are the hash.
  std::string Encode(const Footer& footer, uint64_t stream);

 private:
  void FlushRun();

  size_t bytes_max_;
  bool usable_ = true;
  std::map<GroupId, FooterGroup> groups_;
  GroupId last_group_;
  FooterGroup* last_ = nullptr;  // of last_group_
  size_t hard_state_bytes_ = 0;
  std::string effects_;
  FooterEffect run_;  // the effect under way; entries may still join
  bool has_run_ = false;
};

// Bytes that every footer begins with; then its whole length is known.
inline constexpr size_t kFooterFixedBytes = 24;
uint64_t FooterHash(std::string_view encoded);
// `bytes`: exactly the footer's blocks; effects view them. False: not intact.
[[nodiscard]] bool DecodeFooter(std::string_view bytes, uint64_t stream, Footer& footer);

}  // namespace metastore::wal
