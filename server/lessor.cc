#include "server/lessor.h"

#include <algorithm>

#include "io/base/check.h"
#include "server/mutation.h"

namespace metastore::server {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// etcd's buckets.
constexpr auto kTtlBounds = [] {
  std::array<int64_t, 24> bounds{};
  for (size_t i = 0; i < bounds.size(); ++i) bounds[i] = int64_t{1} << i;
  return bounds;
}();

Duration SpanOf(int64_t seconds) {
  return Seconds(std::clamp<int64_t>(seconds, 0, engine::kLeaseTtlSecondsMax));
}

// A TTL may reach beyond what a clock can say.
MonoTime Later(MonoTime from, Duration span) {
  return from.ns > INT64_MAX - span.ns ? MonoTime::Max() : from + span;
}

}  // namespace

Lessor::Lessor(const io::TimerService& clock, const engine::Engine& engine, Options options)
    : clock_(clock),
      engine_(engine),
      options_(options),
      ttls_(std::span<const int64_t>(kTtlBounds)) {}

// Without the time in which nothing ran.
MonoTime Lessor::Now() {
  const MonoTime now = clock_.Now();
  const Duration since = now - seen_;
  if (since > kPause) paused_ = paused_ + since;
  seen_ = now;
  return now - paused_;
}

// Not by the hash that the shards' tables use.
size_t Lessor::PlaceOf(LeaseId lease) {
  return static_cast<uint64_t>(lease.value()) * 0x9e3779b97f4a7c15 >> 58;
}

// --- leading

void Lessor::Lead() {
  CHECK(!leads_);
  leads_ = loading_ = true;
  loaded_ = passed_ = LeaseId(INT64_MIN);
  seen_ = clock_.Now();
  paused_ = Duration();
  spread_.assign(kSpreadSlots, 0);
}

void Lessor::Follow() {
  leads_ = loading_ = false;
  for (Shard& shard : shards_) Shard().swap(shard);
  queue_.clear();
  to_clear_.clear();
  spread_ = {};
  revoking_ = 0;
}

bool Lessor::LoadStep(size_t count) {
  CHECK(leads_);
  if (!loading_) return false;
  const std::vector<engine::LeaseInfo> leases = engine_.Leases(loaded_, count);
  for (const engine::LeaseInfo& lease : leases) {
    loaded_ = lease.id;
    if (!ShardOf(lease.id).contains(lease.id)) Load(lease);
  }
  loading_ = leases.size() == count;
  if (!loading_) spread_ = {};
  return loading_;
}

// One that there was before this member led.
void Lessor::Load(const engine::LeaseInfo& lease) {
  const bool left = lease.remaining_seconds > 0 && !Mutated(Mutation::kCheckpointIgnored);
  const int64_t seconds = left ? lease.remaining_seconds : lease.ttl_seconds;
  MonoTime end = Later(Later(Now(), SpanOf(seconds)), options_.election_timeout);
  uint32_t& others = spread_[static_cast<size_t>(end.ns / kSecond) % kSpreadSlots];
  end = Later(end, Seconds(others++ / kLoadedPerSecond));
  Record& record = Insert(lease, end);
  if (lease.remaining_seconds > 0) record.checkpoint = Checkpoint::kSet;
}

Lessor::Record* Lessor::Find(LeaseId lease) {
  Shard& shard = ShardOf(lease);
  const auto found = shard.find(lease);
  if (found != shard.end()) return &found->second;
  if (!loading_) return nullptr;
  const std::optional<engine::LeaseInfo> info = engine_.FindLease(lease);
  if (!info.has_value()) return nullptr;
  Load(*info);
  return &shard.find(lease)->second;
}

Lessor::Record& Lessor::Insert(const engine::LeaseInfo& lease, MonoTime end) {
  queue_.insert({end, lease.id});
  const auto [at, inserted] = ShardOf(lease.id).emplace(
      lease.id, Record{.end = end,
                       .queued = end,
                       .ttl_seconds = SpanOf(lease.ttl_seconds).ns / kSecond,
                       .revoking = false,
                       .checkpoint = Checkpoint::kNone});
  CHECK(inserted);
  return at->second;
}

// --- keepalives

Lessor::Renewal Lessor::Renew(LeaseId lease, int64_t& ttl_seconds) {
  CHECK(leads_);
  const MonoTime now = Now();
  Record* record = Find(lease);
  if (record == nullptr) return Renewal::kGone;
  if (record->revoking) return Renewal::kRevoking;
  record->end = std::max(record->end, Later(now, Seconds(record->ttl_seconds)));
  if (record->checkpoint == Checkpoint::kSet && !Mutated(Mutation::kCheckpointKept)) {
    record->checkpoint = Checkpoint::kClearing;
    to_clear_.push_back(lease);
  }
  if (record->checkpoint == Checkpoint::kClearing) return Renewal::kCheckpointed;
  ++stats_.renewed_total;
  ttl_seconds = record->ttl_seconds;
  return Renewal::kRenewed;
}

void Lessor::Hold(LeaseId lease) {
  CHECK(leads_);
  const MonoTime now = Now();
  Record* record = Find(lease);
  if (record == nullptr || record->revoking) return;
  record->end = std::max(record->end, Later(now, Seconds(record->ttl_seconds)));
}

std::optional<Lessor::Standing> Lessor::Look(LeaseId lease) {
  CHECK(leads_);
  const MonoTime now = Now();
  const Record* record = Find(lease);
  if (record == nullptr) return std::nullopt;
  return Standing{.granted_seconds = record->ttl_seconds,
                  .remaining_seconds = std::max<int64_t>((record->end - now).ns, 0) / kSecond};
}

// --- expiry

void Lessor::TakeExpired(size_t count, std::vector<LeaseId>& expired) {
  CHECK(leads_);
  const MonoTime now = Now();
  for (; count > 0 && !queue_.empty() && queue_.begin()->when <= now; --count) {
    const LeaseId lease = queue_.begin()->lease;
    queue_.erase(queue_.begin());
    Record* record = Find(lease);
    CHECK(record != nullptr);
    if (record->end > now) {
      record->queued = record->end;
      queue_.insert({record->end, lease});
      continue;
    }
    record->revoking = true;
    ++revoking_;
    expired.push_back(lease);
  }
}

void Lessor::PutBack(std::span<const LeaseId> expired) {
  CHECK(leads_);
  for (const LeaseId lease : expired) {
    Record* record = Find(lease);
    if (record == nullptr) continue;
    CHECK(record->revoking);
    record->revoking = false;
    --revoking_;
    record->queued = record->end;
    queue_.insert({record->end, lease});
  }
}

MonoTime Lessor::next_look() const {
  return queue_.empty() ? MonoTime::Max() : Later(queue_.begin()->when, paused_);
}

// --- checkpoints

bool Lessor::WantsCheckpoint(const engine::LeaseInfo& lease, int64_t& remaining_seconds) {
  const MonoTime now = Now();
  const Record* record = Find(lease.id);
  if (record == nullptr || record->revoking || record->checkpoint == Checkpoint::kClearing) {
    return false;
  }
  const Duration remaining = record->end - now;
  remaining_seconds = (remaining.ns - 1) / kSecond + 1;
  const int64_t known = lease.remaining_seconds > 0 ? lease.remaining_seconds : lease.ttl_seconds;
  return remaining > options_.checkpoint_interval &&
         Seconds(known - remaining_seconds) >= options_.checkpoint_interval;
}

bool Lessor::CheckpointStep(size_t count, std::vector<engine::LeaseCheckpoint>& checkpoints) {
  CHECK(leads_);
  const std::vector<engine::LeaseInfo> leases = engine_.Leases(passed_, count);
  for (const engine::LeaseInfo& lease : leases) {
    passed_ = lease.id;
    int64_t remaining_seconds = 0;
    if (!WantsCheckpoint(lease, remaining_seconds)) continue;
    Find(lease.id)->checkpoint = Checkpoint::kSet;
    checkpoints.push_back({lease.id, remaining_seconds});
  }
  stats_.checkpoints_total += checkpoints.size();
  if (leases.size() == count) return true;
  passed_ = LeaseId(INT64_MIN);
  return false;
}

void Lessor::TakeClears(std::vector<engine::LeaseCheckpoint>& clears) {
  CHECK(leads_);
  for (const LeaseId lease : to_clear_) clears.push_back({lease, 0});
  to_clear_.clear();
  stats_.checkpoints_total += clears.size();
  stats_.clears_total += clears.size();
}

// Each is asked for again by the keepalive that waits for it.
void Lessor::PutBackClears(std::span<const engine::LeaseCheckpoint> clears) {
  CHECK(leads_);
  for (const engine::LeaseCheckpoint& clear : clears) {
    Record* record = Find(clear.lease);
    if (record != nullptr) record->checkpoint = Checkpoint::kSet;
  }
}

std::optional<MonoTime> Lessor::EndOf(LeaseId lease) const {
  const Shard& shard = ShardOf(lease);
  const auto found = shard.find(lease);
  if (found == shard.end()) return std::nullopt;
  return Later(found->second.end, paused_);
}

size_t Lessor::size() const {
  size_t size = 0;
  for (const Shard& shard : shards_) size += shard.size();
  return size;
}

// --- engine::ChangeListener

void Lessor::OnLeaseGranted(const engine::LeaseInfo& lease) {
  ++stats_.granted_total;
  ttls_.Observe(lease.ttl_seconds);
  if (leads_) Insert(lease, Later(Now(), SpanOf(lease.ttl_seconds)));
}

void Lessor::OnLeaseRevoked(LeaseId lease) {
  ++stats_.revoked_total;
  if (!leads_) return;
  Shard& shard = ShardOf(lease);
  const auto found = shard.find(lease);
  if (found == shard.end()) return;
  const Record& record = found->second;
  if (record.revoking) {
    --revoking_;
    ++stats_.expired_total;
  } else {
    queue_.erase({record.queued, lease});
  }
  shard.erase(found);
}

void Lessor::OnLeaseCheckpointed(const engine::LeaseInfo& lease) {
  if (!leads_) return;
  Shard& shard = ShardOf(lease.id);
  const auto found = shard.find(lease.id);
  if (found == shard.end()) return;
  Record& record = found->second;
  if (lease.remaining_seconds == 0) {
    record.checkpoint = Checkpoint::kNone;
  } else if (record.checkpoint == Checkpoint::kNone) {
    record.checkpoint = Checkpoint::kSet;
  }
}

}  // namespace metastore::server
