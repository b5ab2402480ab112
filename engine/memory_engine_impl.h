// MemoryEngine: Engine over a Store. Adds what is not state: pins, listeners, waiting, and the
// coroutine shells that read in bounded steps.
//
// A read that yields notes the generation of the store first and looks again afterwards: an
// installed snapshot replaces the store. Within a generation it holds a pin and goes on by key,
// never by pointer (a pinned version's excepted).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "engine/engine.h"
#include "engine/memory_engine.h"
#include "engine/step_budget.h"
#include "engine/store.h"
#include "io/base/limits.h"

namespace metastore::engine {

class MemoryEngine final : public Engine {
 public:
  explicit MemoryEngine(MemoryEngineOptions options);
  ~MemoryEngine() override;

  io::Task<Status> Prefetch(std::span<const Entry> batch) override;
  ApplyResult Apply(const Entry& entry) override;
  void SetListener(ChangeListener* listener) override { listener_ = listener; }
  void SetEntryKeysMax(uint64_t keys) override;

  Stats stats() const override;
  ReadPin Pin() override;
  void Unpin(uint64_t token) override;
  io::Task<RangeResult> Range(RangeQuery query) override;
  bool TryRange(const RangeQuery& query, RangeResult& result) override;
  void PrefetchRanges(std::span<const RangeQuery* const> queries) override;
  io::Task<HistoryResult> History(HistoryQuery query) override;

  std::optional<LeaseInfo> FindLease(LeaseId lease) const override;
  std::vector<LeaseInfo> Leases(LeaseId after, size_t count_max) const override;
  io::Task<LeaseKeys> KeysOfLease(LeaseId lease, std::string_view after, size_t count_max) override;

  io::Task<void> RunMaintenance(io::StopToken stop) override;
  io::Task<io::WaitResult> WaitRemoved(Revision revision, io::WaitLimit limit) override;
  io::Task<HashResult> HashKv(Revision revision) override;
  io::Task<uint64_t> Digest() override;
  std::unique_ptr<DigestSource> StartDigest() override;
  io::Task<void> Close() override;

  std::unique_ptr<SnapshotSource> StartSnapshot(SnapshotExtra extra) override;
  std::unique_ptr<SnapshotSink> StartRestore() override;

  // --- for its own sources and sinks -------------------------------------------------------------
  const Store& store() const { return *store_; }
  std::shared_ptr<LeaseChanges> TrackLeases() { return store_->TrackLeases(); }
  uint64_t generation() const { return generation_; }
  uint64_t entry_keys_max() const { return entry_keys_max_; }
  const MemoryEngineOptions& options() const { return options_; }
  StepBudget NewStep() const { return StepBudget(options_.clock, options_.step_records); }
  void Replace(std::unique_ptr<Store> store, LogIndex applied_index, uint64_t entry_keys_max);
  // To be freed in steps.
  void Retire(std::unique_ptr<Store> store);

  // Counts a running read, source or sink, none of which may outlive the engine.
  class Use final {
   public:
    explicit Use(MemoryEngine& engine) : engine_(engine) { ++engine_.uses_; }
    ~Use() { --engine_.uses_; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    MemoryEngine& engine_;
  };

 private:
  struct PinState {
    Revision floor;
    uint64_t generation = 0;
  };

  Outcome ResolveRange(const RangeQuery& query, Position& at) const;
  bool ReadOne(const RangeQuery& query, Position at, StepBudget& budget, RangeResult& result) const;
  template <typename Step>
  io::Task<bool> InSteps(uint64_t generation, const Step& step);
  Revision RemovalTarget() const;
  void FreeRetiredStep();
  void Announce(const ApplyResult& result, const Command& command);
  void AnnounceChanges(Revision revision);

  const MemoryEngineOptions options_;
  std::unique_ptr<Store> store_;
  std::vector<std::unique_ptr<Store>> retired_;
  LogIndex applied_index_;
  uint64_t generation_ = 1;
  uint64_t entry_keys_max_ = limits::kEntryKeysMaxDefault;
  ChangeListener* listener_ = nullptr;
  std::vector<Event> events_;  // Announce's, kept for its memory

  // Tokens and, within a generation, floors grow together.
  absl::btree_map<uint64_t, PinState> pins_;
  uint64_t next_pin_ = 1;
  io::Signal upkeep_wanted_;
  io::Signal removal_advanced_;
  size_t uses_ = 0;
};

}  // namespace metastore::engine
