#include "engine/memory_engine.h"

#include <algorithm>
#include <utility>

#include "engine/applier.h"
#include "engine/memory_digest.h"
#include "engine/memory_engine_impl.h"
#include "engine/memory_snapshot.h"
#include "engine/version_event.h"
#include "io/base/check.h"
#include "io/yield_as.h"

namespace metastore::engine {
namespace {

// The key whose record applying the command reads first; empty if there is none worth bringing
// near.
std::string_view PrefetchKey(const Command& command) {
  if (const auto* put = std::get_if<PutOp>(&command.op)) return put->key;
  if (const auto* deletion = std::get_if<DeleteRangeOp>(&command.op)) return deletion->key;
  if (const auto* txn = std::get_if<TxnOp>(&command.op)) {
    return txn->compares.empty() ? std::string_view() : txn->compares.front().key;
  }
  return {};
}

}  // namespace

std::unique_ptr<Engine> MakeMemoryEngine(MemoryEngineOptions options) {
  return std::make_unique<MemoryEngine>(options);
}

MemoryEngine::MemoryEngine(MemoryEngineOptions options)
    : options_(options), store_(std::make_unique<Store>(options.hash_seed)) {
  // One for the record, one for a version of it: less would not get on.
  CHECK_GE(options.step_records, 2u);
}

MemoryEngine::~MemoryEngine() {
  CHECK(pins_.empty());
  CHECK_EQ(uses_, 0u);
}

void MemoryEngine::SetEntryKeysMax(uint64_t keys) {
  CHECK_GE(keys, 1u);
  entry_keys_max_ = std::min<uint64_t>(keys, INT32_MAX);
}

// Three passes over groups of entries, so that the cache misses of a group overlap: hash, bucket,
// record.
io::Task<Status> MemoryEngine::Prefetch(std::span<const Entry> batch) {
  constexpr size_t kGroup = 16;
  const HashIndex& index = store_->index();
  for (size_t begin = 0; begin < batch.size(); begin += kGroup) {
    uint32_t hashes[kGroup];
    size_t count = 0;
    for (const Entry& entry : batch.subspan(begin, std::min(kGroup, batch.size() - begin))) {
      if (entry.command.empty()) continue;
      const StatusOr<Command> command = DecodeCommand(entry.command);
      const std::string_view key = command.ok() ? PrefetchKey(*command) : std::string_view();
      if (key.empty()) continue;
      hashes[count] = index.HashOf(key);
      index.PrefetchBucket(hashes[count++]);
    }
    for (size_t i = 0; i < count; ++i) index.PrefetchRecord(hashes[i]);
  }
  co_return OkStatus();
}

ApplyResult MemoryEngine::Apply(const Entry& entry) {
  CHECK_EQ(entry.index, applied_index_ + 1);
  applied_index_ = entry.index;
  ApplyResult result;
  if (entry.command.empty()) {
    result.index = entry.index;
    result.revision = store_->revision();
    return result;
  }
  const StatusOr<Command> command = DecodeCommand(entry.command);
  if (command.ok()) {
    result = ApplyCommand(*store_, *command, entry.index, entry_keys_max_);
    result.request = command->header.request;
  } else {
    result.outcome = command.status().code() == StatusCode::kUnimplemented ? Outcome::kUnsupported
                                                                           : Outcome::kMalformed;
    result.revision = store_->revision();
  }
  result.index = entry.index;
  if (!command.ok() || result.outcome != Outcome::kOk) return result;
  if (result.kind == OpKind::kCompact) upkeep_wanted_.NotifyAll();
  if (listener_ != nullptr) Announce(result, *command);
  return result;
}

// Deletes of a revoke come before the lease's end, a grant has no changes: as an observer could see
// them one by one.
void MemoryEngine::Announce(const ApplyResult& result, const Command& command) {
  if (result.changed) AnnounceChanges(result.revision);
  if (const auto* grant = std::get_if<LeaseGrantOp>(&command.op)) {
    listener_->OnLeaseGranted(store_->FindLease(grant->lease)->info);
  } else if (result.kind == OpKind::kLeaseRevoke) {
    listener_->OnLeaseRevoked(result.lease);
  } else if (const auto* checkpoints = std::get_if<LeaseCheckpointOp>(&command.op)) {
    for (const LeaseCheckpoint& checkpoint : checkpoints->checkpoints) {
      const Lease* lease = store_->FindLease(checkpoint.lease);
      if (lease == nullptr || !Concerns(command.header, lease->info)) continue;
      listener_->OnLeaseCheckpointed(lease->info);
    }
  } else if (result.kind == OpKind::kCompact) {
    listener_->OnCompacted(store_->compacted());
  }
}

void MemoryEngine::AnnounceChanges(Revision revision) {
  const ChangeListener::Detail wanted = listener_->WantedDetail();
  if (wanted == ChangeListener::Detail::kNothing) return;
  const Store::Log& log = store_->log();
  size_t first = log.size();
  while (first > 0 && log[first - 1]->main == revision) --first;
  events_.clear();
  for (size_t i = first; i < log.size(); ++i) {
    Event& event = events_.emplace_back(EventOf(*log[i]));
    if (wanted == ChangeListener::Detail::kPrevious) event.previous = PreviousOf(*log[i]);
  }
  listener_->OnChanges(revision, events_);
  events_.clear();
}

Stats MemoryEngine::stats() const {
  Stats stats;
  stats.applied_index = applied_index_;
  stats.revision = store_->revision();
  stats.compacted = store_->compacted();
  stats.removed = store_->removed();
  stats.keys_count = store_->tree().live_count();
  stats.versions_count = store_->versions_count();
  stats.leases_count = static_cast<int64_t>(store_->leases().size());
  stats.stored_bytes = store_->stored_bytes();
  stats.live_bytes = store_->live_bytes();
  return stats;
}

ReadPin MemoryEngine::Pin() {
  const uint64_t token = next_pin_++;
  // What is still stored below the floor is hidden already: the pin promises no more than what is
  // readable.
  pins_.emplace(token, PinState{store_->compacted(), generation_});
  return ReadPin(this, token);
}

void MemoryEngine::Unpin(uint64_t token) {
  CHECK_EQ(pins_.erase(token), 1u);
  if (RemovalTarget() > store_->removed()) upkeep_wanted_.NotifyAll();
}

Revision MemoryEngine::RemovalTarget() const {
  for (const auto& [token, pin] : pins_) {
    if (pin.generation == generation_) return std::min(pin.floor, store_->compacted());
  }
  return store_->compacted();
}

std::optional<LeaseInfo> MemoryEngine::FindLease(LeaseId lease) const {
  const Lease* found = store_->FindLease(lease);
  if (found == nullptr) return std::nullopt;
  return found->info;
}

std::vector<LeaseInfo> MemoryEngine::Leases(LeaseId after, size_t count_max) const {
  std::vector<LeaseInfo> leases;
  auto at = store_->leases().upper_bound(after);
  for (; at != store_->leases().end() && leases.size() < count_max; ++at)
    leases.push_back(at->second.info);
  return leases;
}

io::Task<void> MemoryEngine::RunMaintenance(io::StopToken stop) {
  const Use use(*this);
  while (!stop.stopped()) {
    const Revision target = RemovalTarget();
    if (!retired_.empty()) {
      FreeRetiredStep();
    } else if (store_->removed() < target) {
      StepBudget budget = NewStep();
      if (store_->RemoveStep(target, budget)) removal_advanced_.NotifyAll();
    } else {
      co_await upkeep_wanted_.Wait(io::WaitLimit{.stop = stop});
      continue;
    }
    co_await io::Yield();
  }
}

void MemoryEngine::Retire(std::unique_ptr<Store> store) {
  retired_.push_back(std::move(store));
  upkeep_wanted_.NotifyAll();
}

void MemoryEngine::FreeRetiredStep() {
  StepBudget budget = NewStep();
  if (retired_.back()->FreeStep(budget)) retired_.pop_back();
}

io::Task<void> MemoryEngine::Close() {
  CHECK(pins_.empty());
  CHECK_EQ(uses_, 0u);
  Retire(std::exchange(store_, std::make_unique<Store>(options_.hash_seed)));
  while (!retired_.empty()) {
    co_await io::YieldAs(io::ReadyClass::kBackground);
    FreeRetiredStep();
  }
}

io::Task<io::WaitResult> MemoryEngine::WaitRemoved(Revision revision, io::WaitLimit limit) {
  const Use use(*this);
  CHECK_LE(revision, store_->compacted());
  io::WaitResult result = io::WaitResult::kNotified;
  while (result == io::WaitResult::kNotified && store_->removed() < revision) {
    result = co_await removal_advanced_.Wait(limit);
  }
  co_return result;
}

std::unique_ptr<SnapshotSource> MemoryEngine::StartSnapshot(SnapshotExtra extra) {
  CHECK_LE(extra.server_state.size(), kServerStateBytesMax);
  return MakeMemorySnapshotSource(*this, std::move(extra));
}

std::unique_ptr<DigestSource> MemoryEngine::StartDigest() { return MakeMemoryDigestSource(*this); }

std::unique_ptr<SnapshotSink> MemoryEngine::StartRestore() { return MakeMemorySnapshotSink(*this); }

void MemoryEngine::Replace(std::unique_ptr<Store> store, LogIndex applied_index,
                           uint64_t entry_keys_max) {
  Retire(std::exchange(store_, std::move(store)));
  applied_index_ = applied_index;
  SetEntryKeysMax(entry_keys_max);
  ++generation_;
  upkeep_wanted_.NotifyAll();
  removal_advanced_.NotifyAll();
  if (listener_ != nullptr) listener_->OnRestored();
}

}  // namespace metastore::engine
