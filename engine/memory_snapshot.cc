#include "engine/memory_snapshot.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/memory_engine_impl.h"
#include "engine/snapshot_format.h"
#include "engine/walk.h"
#include "io/base/check.h"

namespace metastore::engine {
namespace {

constexpr std::string_view kEveryKey("\0", 1);

// Writes the versions kept at the moment it was made, by key; later puts and keys are passed over,
// and its pin keeps compactions from taking what it has still to write. Leases are copied at once.
class Source final : public SnapshotSource {
 public:
  Source(MemoryEngine& engine, SnapshotExtra extra)
      : engine_(engine),
        use_(engine),
        pin_(engine.Pin()),
        generation_(engine.generation()),
        floor_(engine.store().compacted()),
        upto_(Position::After(engine.store().revision())),
        walk_(std::string_view(), kEveryKey) {
    meta_.applied_index = engine.stats().applied_index;
    meta_.term = extra.term;
    meta_.revision = engine.store().revision();
    meta_.compacted = floor_;
    meta_.server_state = std::move(extra.server_state);
    entry_keys_max_ = engine.entry_keys_max();
    for (const auto& [id, lease] : engine.store().leases()) AddLease(lease.info);
  }

  const SnapshotMeta& meta() const override { return meta_; }

  io::Task<StatusOr<std::string>> Next() override {
    while (true) {
      if (engine_.generation() != generation_) {
        co_return AbortedError("snapshot: the state was replaced by an installed snapshot");
      }
      std::string bytes = Step();
      if (!bytes.empty() || phase_ == Phase::kDone) co_return bytes;
      co_await io::Yield();
    }
  }

 private:
  enum class Phase : uint8_t { kHeader, kServerState, kLeases, kKeys, kEnd, kDone };

  void AddLease(const LeaseInfo& lease) {
    if (leases_.empty() || leases_.back().size() >= kSnapshotStepBytes) leases_.emplace_back();
    AppendLease(lease, leases_.back());
    ++totals_.leases;
  }

  // One bounded step; empty if it made no whole chunk yet.
  std::string Step() {
    switch (phase_) {
      case Phase::kHeader:
        phase_ = Phase::kServerState;
        return encoder_.Encode(SnapshotSection::kHeader,
                               EncodeSnapshotHeader({.applied_index = meta_.applied_index,
                                                     .term = meta_.term,
                                                     .revision = meta_.revision,
                                                     .compacted = meta_.compacted,
                                                     .entry_keys_max = entry_keys_max_}));
      case Phase::kServerState:
        return ServerState();
      case Phase::kLeases:
        return Leases();
      case Phase::kKeys:
        return Keys();
      case Phase::kEnd:
        phase_ = Phase::kDone;
        return encoder_.Encode(SnapshotSection::kEnd, EncodeSnapshotTotals(totals_));
      case Phase::kDone:
        return {};
    }
    CHECK_UNREACHABLE();
  }

  std::string ServerState() {
    const std::string_view piece =
        std::string_view(meta_.server_state).substr(piece_at_, kSnapshotStepBytes);
    if (piece.empty()) {
      phase_ = Phase::kLeases;
      piece_at_ = 0;
      return {};
    }
    piece_at_ += piece.size();
    return encoder_.Encode(SnapshotSection::kServerState, piece);
  }

  std::string Leases() {
    if (piece_at_ == leases_.size()) {
      phase_ = Phase::kKeys;
      return {};
    }
    const std::string raw = std::move(leases_[piece_at_++]);
    return encoder_.Encode(SnapshotSection::kLeases, raw);
  }

  std::string Keys() {
    budget_ = kStepRecords;
    if (record_ != nullptr) WriteVersions();
    bool end = false;
    if (record_ == nullptr) {
      end = walk_.Step(engine_.store(), kStepRecords, [this](const KeyRecord& record) {
        if (Full()) return false;
        BeginRecord(record);
        return true;
      });
    }
    if (end && record_ == nullptr) phase_ = Phase::kEnd;
    if (raw_.empty() || (raw_.size() < kSnapshotStepBytes && phase_ == Phase::kKeys)) return {};
    return encoder_.Encode(SnapshotSection::kKeys, std::exchange(raw_, {}));
  }

  bool Full() const { return raw_.size() >= kSnapshotStepBytes || budget_ == 0; }

  void BeginRecord(const KeyRecord& record) {
    version_ = NextKept(record, nullptr, upto_, floor_);
    if (version_ == nullptr) return;
    AppendKey(record.key(), raw_);
    ++totals_.keys;
    record_ = &record;
    WriteVersions();
  }

  // Goes on with record_. Its pinned versions, and so the record, stay in place while the walk is
  // suspended.
  void WriteVersions() {
    while (version_ != nullptr && !Full()) {
      AppendVersion(*version_, raw_);
      ++totals_.versions;
      --budget_;
      version_ = NextKept(*record_, version_, upto_, floor_);
    }
    if (version_ == nullptr) record_ = nullptr;
  }

  MemoryEngine& engine_;
  const MemoryEngine::Use use_;
  const ReadPin pin_;
  const uint64_t generation_;
  const Revision floor_;
  const Position upto_;
  SnapshotMeta meta_;
  uint64_t entry_keys_max_ = 0;
  std::vector<std::string> leases_;
  size_t piece_at_ = 0;
  Phase phase_ = Phase::kHeader;
  ChunkEncoder encoder_;
  SnapshotTotals totals_;

  KeyWalk walk_;
  std::string raw_;
  size_t budget_ = 0;                  // versions left to this step
  const KeyRecord* record_ = nullptr;  // a key whose versions are not all written
  const Version* version_ = nullptr;   // the next of them
};

class Sink final : public SnapshotSink {
 public:
  explicit Sink(MemoryEngine& engine)
      : engine_(engine),
        use_(engine),
        store_(std::make_unique<Store>(engine.options().hash_seed)) {}

  io::Task<Status> Add(std::string_view bytes) override {
    MS_CO_RETURN_IF_ERROR(failed_);
    chunks_.Add(bytes);
    Chunk chunk;
    while (true) {
      const uint64_t offset = chunks_.offset();
      const StatusOr<bool> more = chunks_.Next(chunk);
      failed_ = more.ok() ? OkStatus() : more.status();
      if (more.ok() && *more) failed_ = Take(chunk, offset);
      MS_CO_RETURN_IF_ERROR(failed_);
      if (!*more) co_return OkStatus();
      co_await io::Yield();
    }
  }

  io::Task<StatusOr<SnapshotMeta>> Finish() override {
    MS_CO_RETURN_IF_ERROR(failed_);
    if (last_ != SnapshotSection::kEnd || !chunks_.at_boundary()) {
      failed_ = Damaged("the stream is not complete", chunks_.offset());
      co_return failed_;
    }
    if (!store_->FinishLoad(header_.revision, header_.compacted)) {
      failed_ = Damaged("versions that contradict each other", chunks_.offset());
      co_return failed_;
    }
    failed_ = FailedPreconditionError("snapshot: this restore is finished");
    engine_.Replace(std::move(store_), header_.applied_index, header_.entry_keys_max);
    SnapshotMeta meta;
    meta.applied_index = header_.applied_index;
    meta.term = header_.term;
    meta.revision = header_.revision;
    meta.compacted = header_.compacted;
    meta.server_state = std::move(server_state_);
    co_return meta;
  }

  uint64_t accepted_bytes() const override { return chunks_.offset(); }

 private:
  static Status Damaged(std::string_view what, uint64_t offset) {
    return DataLossError("snapshot: ", what, " at offset ", offset);
  }

  Status Take(const Chunk& chunk, uint64_t offset) {
    const bool first = last_ == SnapshotSection{};
    const bool once =
        chunk.section == SnapshotSection::kHeader || chunk.section == SnapshotSection::kEnd;
    if (chunk.section < last_ || (once && chunk.section == last_) ||
        first != (chunk.section == SnapshotSection::kHeader)) {
      return Damaged("a section out of order", offset);
    }
    last_ = chunk.section;
    switch (chunk.section) {
      case SnapshotSection::kHeader:
        return TakeHeader(chunk.raw);
      case SnapshotSection::kServerState:
        server_state_ += chunk.raw;
        return server_state_.size() > kServerStateBytesMax
                   ? Damaged("too long a server state", offset)
                   : OkStatus();
      case SnapshotSection::kLeases:
        return TakeLeases(chunk.raw, offset);
      case SnapshotSection::kKeys:
        return TakeKeys(chunk.raw, offset);
      case SnapshotSection::kEnd:
        return TakeEnd(chunk.raw, offset);
    }
    CHECK_UNREACHABLE();
  }

  Status TakeHeader(std::string_view raw) {
    const StatusOr<SnapshotHeader> header = DecodeSnapshotHeader(raw);
    if (header.ok()) header_ = *header;
    return header.status();
  }

  Status TakeLeases(std::string_view raw, uint64_t offset) {
    Reader in(raw);
    while (!in.rest().empty()) {
      const LeaseInfo lease = ReadLease(in);
      if (!in.ok() || lease.id == LeaseId(0) || store_->FindLease(lease.id) != nullptr) {
        return Damaged("a malformed lease", offset);
      }
      store_->GrantLease(lease);
      ++totals_.leases;
    }
    return OkStatus();
  }

  Status TakeKeys(std::string_view raw, uint64_t offset) {
    Reader in(raw);
    KeyItem item;
    while (!in.rest().empty()) {
      if (!ReadKeyItem(in, item)) return Damaged("a malformed key or version", offset);
      if (item.is_key) {
        MS_RETURN_IF_ERROR(EndKey(offset));
        if (item.key <= key_) return Damaged("a key out of order", offset);
        key_ = item.key;
        ++totals_.keys;
        continue;
      }
      const bool ordered =
          versions_.empty() || item.version.Before({versions_.back().main, versions_.back().sub});
      if (key_.empty() || !ordered) return Damaged("a version out of order", offset);
      versions_.push_back(std::move(item.version));
      ++totals_.versions;
    }
    return OkStatus();
  }

  // The key's last version has come.
  Status EndKey(uint64_t offset) {
    if (key_.empty()) return OkStatus();
    if (!store_->LoadKey(key_, versions_))
      return Damaged("a key without versions or with an unknown lease", offset);
    versions_.clear();
    return OkStatus();
  }

  Status TakeEnd(std::string_view raw, uint64_t offset) {
    MS_RETURN_IF_ERROR(EndKey(offset));
    const StatusOr<SnapshotTotals> totals = DecodeSnapshotTotals(raw);
    if (!totals.ok()) return totals.status();
    return *totals == totals_ ? OkStatus() : Damaged("totals that differ from what came", offset);
  }

  MemoryEngine& engine_;
  const MemoryEngine::Use use_;
  std::unique_ptr<Store> store_;
  ChunkDecoder chunks_;
  Status failed_;
  SnapshotSection last_{};
  SnapshotHeader header_;
  std::string server_state_;
  SnapshotTotals totals_;
  std::string key_;                // whose versions are coming
  std::vector<Version> versions_;  // newest first
};

}  // namespace

std::unique_ptr<SnapshotSource> MakeMemorySnapshotSource(MemoryEngine& engine,
                                                         SnapshotExtra extra) {
  return std::make_unique<Source>(engine, std::move(extra));
}

std::unique_ptr<SnapshotSink> MakeMemorySnapshotSink(MemoryEngine& engine) {
  return std::make_unique<Sink>(engine);
}

}  // namespace metastore::engine
