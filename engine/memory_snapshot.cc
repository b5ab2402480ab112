#include "engine/memory_snapshot.h"

#include <optional>
#include <utility>

#include "engine/memory_engine_impl.h"
#include "engine/snapshot_format.h"
#include "engine/walk.h"
#include "io/base/check.h"

namespace metastore::engine {
namespace {

constexpr std::string_view kEveryKey("\0", 1);

// Loading a version, in records looked at.
constexpr size_t kLoadedRecords = 4;

// Writes the versions kept at the moment it was made, by key; later puts and keys are passed over,
// and its pin keeps compactions from taking what it has still to write. Leases are those of that
// moment too. Each step either collects content, or compresses some of it, or hands out a chunk.
class Source final : public SnapshotSource {
 public:
  Source(MemoryEngine& engine, SnapshotExtra extra)
      : engine_(engine),
        use_(engine),
        pin_(engine.Pin()),
        generation_(engine.generation()),
        lease_walk_(engine.TrackLeases()),
        key_walk_({}, kEveryKey),
        kept_(Position::After(engine.store().revision()), engine.store().compacted()) {
    meta_.applied_index = engine.stats().applied_index;
    meta_.term = extra.term;
    meta_.revision = engine.store().revision();
    meta_.compacted = engine.store().compacted();
    meta_.server_state = std::move(extra.server_state);
    entry_keys_max_ = engine.entry_keys_max();
  }

  const SnapshotMeta& meta() const override { return meta_; }

  // Yields before each step, so that what its caller does with a chunk is in the turn of another
  // step than the one that made it.
  io::Task<StatusOr<std::string>> Next() override {
    std::string chunk;
    while (chunk.empty() && (encoder_.busy() || phase_ != Phase::kDone)) {
      co_await io::Yield();
      if (engine_.generation() != generation_) {
        co_return AbortedError("snapshot: the state was replaced by an installed snapshot");
      }
      chunk = Step();
    }
    co_return chunk;
  }

 private:
  enum class Phase : uint8_t { kHeader, kServerState, kLeases, kKeys, kEnd, kDone };

  // Empty if it made no chunk whole.
  std::string Step() {
    if (encoder_.busy()) return encoder_.Step() ? encoder_.Take() : std::string();
    StepBudget budget = engine_.NewStep();
    switch (phase_) {
      case Phase::kHeader:
        return Header();
      case Phase::kServerState:
        return ServerState();
      case Phase::kLeases:
        CollectLeases(budget);
        return {};
      case Phase::kKeys:
        CollectKeys(budget);
        return {};
      case Phase::kEnd:
        phase_ = Phase::kDone;
        return encoder_.Encode(SnapshotSection::kEnd, EncodeSnapshotTotals(totals_));
      case Phase::kDone:
        return {};
    }
    CHECK_UNREACHABLE();
  }

  std::string Header() {
    phase_ = Phase::kServerState;
    return encoder_.Encode(SnapshotSection::kHeader,
                           EncodeSnapshotHeader({.applied_index = meta_.applied_index,
                                                 .term = meta_.term,
                                                 .revision = meta_.revision,
                                                 .compacted = meta_.compacted,
                                                 .entry_keys_max = entry_keys_max_}));
  }

  std::string ServerState() {
    const std::string_view piece =
        std::string_view(meta_.server_state).substr(piece_at_, kSnapshotStepBytes);
    piece_at_ += piece.size();
    if (!piece.empty()) return encoder_.Encode(SnapshotSection::kServerState, piece);
    phase_ = Phase::kLeases;
    return {};
  }

  void CollectLeases(StepBudget& budget) {
    const bool end =
        lease_walk_.Step(engine_.store(), budget, [this, &budget](const LeaseInfo& lease) {
          AppendLease(lease, raw_);
          ++totals_.leases;
          if (Full()) budget.End();
        });
    EndStep(SnapshotSection::kLeases, end ? Phase::kKeys : Phase::kLeases);
  }

  void CollectKeys(StepBudget& budget) {
    const bool end = key_walk_.Step(engine_.store(), budget, [&](const KeyRecord& record) {
      return kept_.Step(record, budget, [&](const Version& version, bool first) {
        Collect(record, version, first, budget);
      });
    });
    EndStep(SnapshotSection::kKeys, end ? Phase::kEnd : Phase::kKeys);
  }

  void Collect(const KeyRecord& record, const Version& version, bool first, StepBudget& budget) {
    const size_t before = raw_.size();
    if (first) {
      AppendKey(record.key(), raw_);
      ++totals_.keys;
    }
    AppendVersion(version, raw_);
    ++totals_.versions;
    budget.SpendBytes(raw_.size() - before);
    if (Full()) budget.End();
  }

  bool Full() const { return raw_.size() >= kSnapshotStepBytes; }

  // What was collected becomes a chunk when there is enough of it, and at the end of its section.
  void EndStep(SnapshotSection section, Phase next) {
    if (Full() || (next != phase_ && !raw_.empty())) {
      encoder_.Begin(section, std::exchange(raw_, {}));
      raw_.reserve(kSnapshotStepBytes + kRoomBytes);
    }
    phase_ = next;
  }

  // For the item that makes content full, as long as it is not large.
  static constexpr size_t kRoomBytes = 4096;

  MemoryEngine& engine_;
  const MemoryEngine::Use use_;
  const ReadPin pin_;
  const uint64_t generation_;
  SnapshotMeta meta_;
  uint64_t entry_keys_max_ = 0;
  Phase phase_ = Phase::kHeader;
  ChunkEncoder encoder_;
  SnapshotTotals totals_;

  size_t piece_at_ = 0;  // of the server's state
  LeaseWalk lease_walk_;
  KeyWalk key_walk_;
  KeptWalk kept_;
  std::string raw_;  // of the section under way
};

class Sink final : public SnapshotSink {
 public:
  explicit Sink(MemoryEngine& engine)
      : engine_(engine),
        use_(engine),
        store_(std::make_unique<Store>(engine.options().hash_seed)) {}
  ~Sink() override {
    if (store_ != nullptr) engine_.Retire(std::move(store_));
  }

  io::Task<Status> Add(std::string_view bytes) override {
    MS_CO_RETURN_IF_ERROR(failed_);
    chunks_.Add(bytes);
    for (bool more = true; more;) {
      const StatusOr<bool> stepped = AddStep();
      failed_ = stepped.status();
      MS_CO_RETURN_IF_ERROR(failed_);
      more = *stepped;
      if (more) {
        co_await io::Yield();
      }
    }
    co_return OkStatus();
  }

  io::Task<StatusOr<SnapshotMeta>> Finish() override {
    MS_CO_RETURN_IF_ERROR(failed_);
    if (last_ != SnapshotSection::kEnd || !chunks_.at_boundary()) {
      failed_ = Damaged("the stream is not complete", chunks_.offset());
      co_return failed_;
    }
    store_->BeginFinishLoad(header_.revision, header_.compacted);
    Store::Loading loading = Store::Loading::kGoesOn;
    while (loading == Store::Loading::kGoesOn) {
      co_await io::Yield();
      StepBudget budget = engine_.NewStep();
      loading = store_->FinishLoadStep(budget);
    }
    if (loading == Store::Loading::kDamaged) {
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

  // One bounded step: takes a chunk, or goes on with the keys of the last one. False: more bytes
  // are needed.
  StatusOr<bool> AddStep() {
    if (!keys_.rest().empty()) {
      MS_RETURN_IF_ERROR(TakeKeys());
      return true;
    }
    chunk_at_ = chunks_.offset();
    const StatusOr<bool> more = chunks_.Next(chunk_);
    if (!more.ok() || !*more) return more;
    MS_RETURN_IF_ERROR(Take(chunk_, chunk_at_));
    return true;
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
        return TakeLeases(chunk, offset);
      case SnapshotSection::kKeys:
        keys_ = Reader(chunk.raw);
        return OkStatus();
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

  Status TakeLeases(const Chunk& chunk, uint64_t offset) {
    Reader in(chunk.raw);
    while (!in.rest().empty()) {
      const LeaseInfo lease = ReadLease(in, chunk.version);
      if (!in.ok() || lease.id == LeaseId(0) || store_->FindLease(lease.id) != nullptr ||
          lease.granted_at > header_.applied_index) {
        return Damaged("a malformed lease", offset);
      }
      store_->GrantLease(lease);
      ++totals_.leases;
    }
    return OkStatus();
  }

  // A step of the chunk's keys and versions.
  Status TakeKeys() {
    StepBudget budget = engine_.NewStep();
    KeyItem item;
    while (!keys_.rest().empty()) {
      const size_t before = keys_.rest().size();
      if (!budget.Spend(kLoadedRecords)) return OkStatus();
      if (!ReadKeyItem(keys_, item)) return Damaged("a malformed key or version", chunk_at_);
      MS_RETURN_IF_ERROR(item.is_key ? TakeKey(item.key) : TakeVersion(std::move(item.version)));
      budget.SpendBytes(before - keys_.rest().size());
    }
    return OkStatus();
  }

  Status TakeKey(std::string_view key) {
    MS_RETURN_IF_ERROR(EndKey(chunk_at_));
    if (key <= key_) return Damaged("a key out of order", chunk_at_);
    key_ = key;
    newer_.reset();
    ++totals_.keys;
    return OkStatus();
  }

  Status TakeVersion(Version version) {
    const Position at{version.main, version.sub};
    if (key_.empty() || (newer_.has_value() && at >= *newer_)) {
      return Damaged("a version out of order", chunk_at_);
    }
    if (newer_.has_value()) {
      store_->LoadOlder(std::move(version));
    } else if (!store_->LoadKey(key_, std::move(version))) {
      return Damaged("a key that was there, or of an unknown lease", chunk_at_);
    }
    newer_ = at;
    ++totals_.versions;
    return OkStatus();
  }

  // The key's last version has come.
  Status EndKey(uint64_t offset) const {
    const bool complete = key_.empty() || newer_.has_value();
    return complete ? OkStatus() : Damaged("a key without versions", offset);
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
  Chunk chunk_;
  uint64_t chunk_at_ = 0;            // its offset in the stream
  Reader keys_{std::string_view()};  // what is left of the chunk's keys
  std::string key_;                  // whose versions are coming
  std::optional<Position> newer_;    // its last version
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
