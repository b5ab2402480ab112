#include "wal/footer.h"

#include "io/base/check.h"
#include "io/base/hash.h"
#include "wal/mutation.h"

namespace metastore::wal {
namespace {

constexpr uint64_t kFooterMagic = 0x31524f46'4c41574dULL;  // "MWALFOR1"
constexpr size_t kGroupBytesMax = 3 * kVarintBytesMax + 1 + kVarintBytesMax;
constexpr size_t kPreambleBytesMax = kFooterFixedBytes + 7 * kVarintBytesMax + 8;
constexpr size_t kFrameEntryBytesMax = 3;  // a frame has at most 2,048 blocks
constexpr size_t kEffectBytesMax = 2 + 6 * kVarintBytesMax;

uint64_t Seed(uint64_t stream, SegmentSeq segment) {
  return MixSeed(MixSeed(kFooterMagic, stream), segment.value());
}

bool CarriesBytes(RecordKind kind) {
  return kind == RecordKind::kSnapshotMeta || kind == RecordKind::kGroupState;
}

}  // namespace

void FooterBuilder::Add(GroupId group, uint64_t sequence, const Effect& effect) {
  if (!usable_) return;
  if (last_ == nullptr || last_group_ != group) {
    last_group_ = group;
    last_ = &groups_[group];
  }
  if (groups_.size() * kGroupBytesMax + hard_state_bytes_ + effects_.size() > bytes_max_) {
    usable_ = false;
    return;
  }
  if (last_->first_sequence == 0) last_->first_sequence = sequence;
  last_->last_sequence = sequence;
  if (effect.kind == RecordKind::kHardState) {
    hard_state_bytes_ += effect.bytes.size() - last_->hard_state.size();
    last_->has_hard_state = true;
    last_->hard_state.assign(effect.bytes);
    return;
  }
  Effect& run = run_.effect;
  if (has_run_ && run_.group == group && run.kind == effect.kind && IsEntryKind(effect.kind) &&
      run.term == effect.term && run.frame == effect.frame &&
      run.index + run.count == effect.index) {
    run.count += effect.count;
    return;
  }
  FlushRun();
  if (CarriesBytes(effect.kind)) {
    // Not a run: nothing may join it, and its bytes are the caller's only until this returns.
    run_ = {group, effect};
    has_run_ = true;
    FlushRun();
    return;
  }
  run_ = {group, effect};
  run_.effect.bytes = {};
  has_run_ = true;
}

void FooterBuilder::FlushRun() {
  if (!has_run_) return;
  has_run_ = false;
  PutU8(effects_, static_cast<uint8_t>(run_.effect.kind));
  PutVarint(effects_, run_.group.value());
  PutVarint(effects_, run_.effect.term.value());
  PutVarint(effects_, run_.effect.index.value());
  PutVarint(effects_, run_.effect.count);
  PutVarint(effects_, run_.effect.frame);
  if (CarriesBytes(run_.effect.kind)) PutBytes(effects_, run_.effect.bytes);
}

size_t FooterBuilder::BytesBound(size_t frames) const {
  if (!usable_) return 0;
  return RoundUpToBlock(kPreambleBytesMax + frames * kFrameEntryBytesMax +
                        groups_.size() * kGroupBytesMax + hard_state_bytes_ + effects_.size() +
                        kEffectBytesMax);
}

std::string FooterBuilder::Encode(const Footer& footer, uint64_t stream) {
  CHECK(usable_);
  FlushRun();
  std::string bytes(kFooterFixedBytes, '\0');
  PutVarint(bytes, footer.segment.value());
  PutVarint(bytes, footer.first_lsn.value());
  PutVarint(bytes, footer.last_lsn.value());
  PutU64(bytes, footer.last_hash);
  PutVarint(bytes, footer.frame_blocks.size());
  for (uint32_t blocks : footer.frame_blocks) PutVarint(bytes, blocks);
  PutVarint(bytes, groups_.size());
  for (const auto& [group, facts] : groups_) {
    PutVarint(bytes, group.value());
    PutVarint(bytes, facts.first_sequence);
    PutVarint(bytes, facts.last_sequence);
    PutU8(bytes, facts.has_hard_state ? 1 : 0);
    if (facts.has_hard_state) PutBytes(bytes, facts.hard_state);
  }
  PutBytes(bytes, effects_);
  bytes.resize(RoundUpToBlock(bytes.size()));
  StoreU64(bytes.data(), kFooterMagic);
  StoreU16(bytes.data() + 16, kFormatVersion);
  StoreU32(bytes.data() + 20, static_cast<uint32_t>(bytes.size()));
  StoreU64(bytes.data() + 8,
           Hash64(std::string_view(bytes).substr(16), Seed(stream, footer.segment)));
  return bytes;
}

uint64_t FooterHash(std::string_view encoded) { return LoadU64(encoded.data() + 8); }

namespace {

bool DecodeGroups(Reader& reader, Footer& footer) {
  const uint64_t groups = reader.Varint();
  for (uint64_t i = 0; i < groups && reader.ok(); ++i) {
    FooterGroup& group = footer.groups[GroupId(reader.Varint())];
    group.first_sequence = reader.Varint();
    group.last_sequence = reader.Varint();
    group.has_hard_state = reader.U8() != 0;
    if (group.has_hard_state) group.hard_state = std::string(reader.LengthPrefixed());
  }
  return reader.ok();
}

bool DecodeEffects(std::string_view bytes, Footer& footer) {
  Reader reader(bytes);
  while (reader.ok() && !reader.rest().empty()) {
    FooterEffect item;
    const uint8_t kind = reader.U8();
    if (kind < 1 || kind > static_cast<uint8_t>(RecordKind::kGroupState)) return false;
    item.effect.kind = static_cast<RecordKind>(kind);
    item.group = GroupId(reader.Varint());
    item.effect.term = Term(reader.Varint());
    item.effect.index = LogIndex(reader.Varint());
    item.effect.count = reader.Varint();
    const uint64_t frame = reader.Varint();
    if (frame >= footer.frame_blocks.size()) return false;
    item.effect.frame = static_cast<uint32_t>(frame);
    if (CarriesBytes(item.effect.kind)) item.effect.bytes = reader.LengthPrefixed();
    footer.effects.push_back(item);
  }
  return reader.ok();
}

}  // namespace

bool DecodeFooter(std::string_view bytes, uint64_t stream, Footer& footer) {
  footer = Footer();
  if (bytes.size() < kBlockBytes || bytes.size() % kBlockBytes != 0) return false;
  Reader reader(bytes);
  if (reader.U64() != kFooterMagic) return false;
  const uint64_t hash = reader.U64();
  if (reader.U16() != kFormatVersion || reader.U16() != 0) return false;
  if (reader.U32() != bytes.size()) return false;
  footer.segment = SegmentSeq(reader.Varint());
  if (!reader.ok()) return false;
  const bool intact = hash == Hash64(bytes.substr(16), Seed(stream, footer.segment));
  if (!intact && !Mutated(Mutation::kFooterUnchecked)) return false;
  footer.first_lsn = Lsn(reader.Varint());
  footer.last_lsn = Lsn(reader.Varint());
  footer.last_hash = reader.U64();
  const uint64_t frames = reader.Varint();
  for (uint64_t i = 0; i < frames && reader.ok(); ++i) {
    footer.frame_blocks.push_back(static_cast<uint32_t>(reader.Varint()));
  }
  if (!DecodeGroups(reader, footer)) return false;
  const std::string_view effects = reader.LengthPrefixed();
  return reader.ok() && DecodeEffects(effects, footer);
}

}  // namespace metastore::wal
