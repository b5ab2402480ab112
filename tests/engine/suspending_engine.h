// SuspendingEngine: any engine, suspending before and after every awaitable step, as one with a
// disk behind it would. What passes its tests with it depends on no read completing at once.
//
// Owned by a test; single core. Borrows nothing: it owns the engine it wraps.
#pragma once

#include <memory>
#include <utility>

#include "engine/engine.h"
#include "io/task.h"

namespace metastore::engine {

namespace suspending_internal {

template <typename T>
io::Task<T> Suspended(io::Task<T> inner) {
  co_await io::Yield();
  co_await io::Yield();
  T result = co_await std::move(inner);
  co_await io::Yield();
  co_return result;
}

class Source final : public SnapshotSource {
 public:
  explicit Source(std::unique_ptr<SnapshotSource> inner) : inner_(std::move(inner)) {}
  const SnapshotMeta& meta() const override { return inner_->meta(); }
  io::Task<StatusOr<std::string>> Next() override { return Suspended(inner_->Next()); }

 private:
  std::unique_ptr<SnapshotSource> inner_;
};

class Sink final : public SnapshotSink {
 public:
  explicit Sink(std::unique_ptr<SnapshotSink> inner) : inner_(std::move(inner)) {}
  io::Task<Status> Add(std::string_view bytes) override { return Suspended(inner_->Add(bytes)); }
  io::Task<StatusOr<SnapshotMeta>> Finish() override { return Suspended(inner_->Finish()); }
  uint64_t accepted_bytes() const override { return inner_->accepted_bytes(); }

 private:
  std::unique_ptr<SnapshotSink> inner_;
};

class Digest final : public DigestSource {
 public:
  explicit Digest(std::unique_ptr<DigestSource> inner) : inner_(std::move(inner)) {}
  io::Task<StatusOr<StateDigest>> Take(io::StopToken stop) override {
    return Suspended(inner_->Take(stop));
  }

 private:
  std::unique_ptr<DigestSource> inner_;
};

}  // namespace suspending_internal

class SuspendingEngine final : public Engine {
 public:
  explicit SuspendingEngine(std::unique_ptr<Engine> inner) : inner_(std::move(inner)) {}

  io::Task<Status> Prefetch(std::span<const Entry> batch) override {
    return Wrap(inner_->Prefetch(batch));
  }
  ApplyResult Apply(const Entry& entry) override { return inner_->Apply(entry); }
  void SetListener(ChangeListener* listener) override { inner_->SetListener(listener); }
  void SetEntryKeysMax(uint64_t keys) override { inner_->SetEntryKeysMax(keys); }
  Stats stats() const override { return inner_->stats(); }
  ReadPin Pin() override { return inner_->Pin(); }
  void Unpin(uint64_t token) override { inner_->Unpin(token); }
  io::Task<RangeResult> Range(RangeQuery query) override { return Wrap(inner_->Range(query)); }
  bool TryRange(const RangeQuery& /*query*/, RangeResult& /*result*/) override { return false; }
  void PrefetchRanges(std::span<const RangeQuery* const> queries) override {
    inner_->PrefetchRanges(queries);
  }
  io::Task<HistoryResult> History(HistoryQuery query) override {
    return Wrap(inner_->History(query));
  }
  std::optional<LeaseInfo> FindLease(LeaseId lease) const override {
    return inner_->FindLease(lease);
  }
  std::vector<LeaseInfo> Leases(LeaseId after, size_t count_max) const override {
    return inner_->Leases(after, count_max);
  }
  io::Task<LeaseKeys> KeysOfLease(LeaseId lease, std::string_view after,
                                  size_t count_max) override {
    return Wrap(inner_->KeysOfLease(lease, after, count_max));
  }
  io::Task<void> RunMaintenance(io::StopToken stop) override {
    return inner_->RunMaintenance(stop);
  }
  io::Task<io::WaitResult> WaitRemoved(Revision revision, io::WaitLimit limit) override {
    return Wrap(inner_->WaitRemoved(revision, limit));
  }
  io::Task<HashResult> HashKv(Revision revision) override { return Wrap(inner_->HashKv(revision)); }
  io::Task<uint64_t> Digest() override { return Wrap(inner_->Digest()); }
  std::unique_ptr<DigestSource> StartDigest() override {
    return std::make_unique<suspending_internal::Digest>(inner_->StartDigest());
  }
  io::Task<void> Close() override { return inner_->Close(); }
  std::unique_ptr<SnapshotSource> StartSnapshot(SnapshotExtra extra) override {
    return std::make_unique<suspending_internal::Source>(inner_->StartSnapshot(std::move(extra)));
  }
  std::unique_ptr<SnapshotSink> StartRestore() override {
    return std::make_unique<suspending_internal::Sink>(inner_->StartRestore());
  }

 private:
  template <typename T>
  static io::Task<T> Wrap(io::Task<T> inner) {
    return suspending_internal::Suspended(std::move(inner));
  }

  std::unique_ptr<Engine> inner_;
};

}  // namespace metastore::engine
