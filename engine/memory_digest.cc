#include "engine/memory_digest.h"

#include <algorithm>
#include <utility>

#include "engine/memory_engine_impl.h"
#include "engine/version_hash.h"
#include "engine/walk.h"
#include "io/base/coding.h"
#include "io/base/hash.h"

namespace metastore::engine {
namespace {

constexpr std::string_view kEveryKey("\0", 1);

// Nobody waits for a digest, so the four steps of a turn together are to take what one of a read
// may: some 300 us, caches that are cold included.
constexpr size_t kShareOfRecords = 16;
constexpr int64_t kShareOfTime = 4;

// Adds up what was kept at the moment it was made, as a snapshot of that moment would have it:
// later puts are passed over, and its pin keeps compactions from taking what is still to come. A
// sum, since neighbours in the key order were made by revisions far apart.
class Source final : public DigestSource {
 public:
  explicit Source(MemoryEngine& engine)
      : engine_(engine),
        use_(engine),
        pin_(engine.Pin()),
        generation_(engine.generation()),
        lease_walk_(engine.TrackLeases()),
        key_walk_({}, kEveryKey),
        kept_(Position::After(engine.store().revision()), engine.store().compacted()),
        ranges_(engine.store().revision(), engine.store().compacted()) {
    digest_.applied_index = engine.stats().applied_index;
    digest_.revision = engine.store().revision();
    digest_.compacted = engine.store().compacted();
    digest_.unversioned = MixSeed(engine.entry_keys_max(), 0);
  }

  io::Task<StatusOr<StateDigest>> Take(io::StopToken stop) override {
    bool done = false;
    while (!done) {
      co_await io::Yield();
      if (stop.stopped()) co_return CancelledError("digest: stopped");
      if (engine_.generation() != generation_) {
        co_return AbortedError("digest: the state was replaced by an installed snapshot");
      }
      done = Step();
    }
    co_return digest_;
  }

 private:
  bool Step() {
    const MemoryEngineOptions& options = engine_.options();
    StepBudget budget(options.clock, std::max<size_t>(options.step_records / kShareOfRecords, 2),
                      kStepTime / kShareOfTime);
    if (!leases_done_) {
      leases_done_ = lease_walk_.Step(engine_.store(), budget,
                                      [this](const LeaseInfo& lease) { AddLease(lease); });
      return false;
    }
    return key_walk_.Step(engine_.store(), budget, [&](const KeyRecord& record) {
      return kept_.Step(record, budget, [&](const Version& version, bool first) {
        if (first) key_hash_ = Hash64(record.key(), 0);
        budget.SpendBytes((first ? record.key_bytes : 0) + version.value.size());
        digest_.ranges[ranges_.Of(version.main)] += HashVersion(version, key_hash_);
      });
    });
  }

  void AddLease(const LeaseInfo& lease) {
    char fields[24];
    StoreU64(fields, static_cast<uint64_t>(lease.id.value()));
    StoreU64(fields + 8, static_cast<uint64_t>(lease.ttl_seconds));
    StoreU64(fields + 16, static_cast<uint64_t>(lease.remaining_seconds));
    digest_.unversioned = Hash64(std::string_view(fields, sizeof fields), digest_.unversioned);
  }

  MemoryEngine& engine_;
  const MemoryEngine::Use use_;
  const ReadPin pin_;
  const uint64_t generation_;
  LeaseWalk lease_walk_;
  KeyWalk key_walk_;
  KeptWalk kept_;
  const DigestRanges ranges_;
  StateDigest digest_;
  bool leases_done_ = false;
  uint64_t key_hash_ = 0;  // of the key under way
};

}  // namespace

std::unique_ptr<DigestSource> MakeMemoryDigestSource(MemoryEngine& engine) {
  return std::make_unique<Source>(engine);
}

}  // namespace metastore::engine
