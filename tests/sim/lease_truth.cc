#include "tests/sim/lease_truth.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "server/server_command.h"

namespace metastore::sim_test {
namespace {

// Of the requests that a leader makes by itself, the highest byte of the counter (server/).
constexpr uint64_t kLeadersOwn = 0xfe;
constexpr int64_t kMillion = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;

std::string_view NameOf(LeaseTold::Kind kind) {
  switch (kind) {
    case LeaseTold::Kind::kGranted:
      return "granted";
    case LeaseTold::Kind::kRenewed:
      return "kept alive";
    case LeaseTold::Kind::kLooked:
      return "there, with time left";
    case LeaseTold::Kind::kThere:
      return "there";
    case LeaseTold::Kind::kGone:
      return "gone";
  }
  CHECK_UNREACHABLE();
}

std::string Ms(MonoTime time) {
  return time == MonoTime::Max() ? "never" : Concat(time.ns / 1000, " us");
}

std::string Show(const LeaseLife& life) {
  return Concat("  granted (", life.ttl_seconds, " s) at ", Ms(life.granted_by), ", gone ",
                life.expired ? "by its time " : "", Ms(life.gone_by), ", not before ",
                Ms(life.gone_after));
}

}  // namespace

// --- the truth

void LeaseTruth::Take(const CommittedEntry& entry) {
  if (entry.type != raft::EntryType::kNormal || entry.payload.empty()) return;
  if (server::IsServerCommand(entry.payload)) return;
  const StatusOr<engine::Command> command = engine::DecodeCommand(entry.payload);
  CHECK(command.ok());
  Do(entry, *command);
}

void LeaseTruth::Do(const CommittedEntry& entry, const engine::Command& command) {
  if (const auto* grant = std::get_if<engine::LeaseGrantOp>(&command.op)) Grant(entry, *grant);
  if (const auto* revoke = std::get_if<engine::LeaseRevokeOp>(&command.op)) {
    Revoke(entry, command, revoke->lease);
  }
  if (const auto* put = std::get_if<engine::PutOp>(&command.op)) Put(entry, *put);
  const auto* checkpoint = std::get_if<engine::LeaseCheckpointOp>(&command.op);
  if (checkpoint == nullptr) return;
  for (const auto& [lease, remaining_seconds] : checkpoint->checkpoints) {
    LeaseLife* const life = Find(lease, command.header.leases_until);
    if (life == nullptr) continue;
    life->remaining_seconds = remaining_seconds;
    checkpoints_ += remaining_seconds > 0 ? 1 : 0;
  }
}

void LeaseTruth::Grant(const CommittedEntry& entry, const engine::LeaseGrantOp& grant) {
  const int64_t id = grant.lease.value();
  if (living_.contains(id)) return;
  LeaseLife& life = lives_.emplace_back();
  life.lease = id;
  life.ttl_seconds = grant.ttl_seconds;
  life.granted_at = entry.id.index;
  life.granted_after = entry.after;
  life.granted_by = entry.by;
  living_[id] = &life;
  by_id_[id].push_back(&life);
}

void LeaseTruth::Revoke(const CommittedEntry& entry, const engine::Command& command,
                        LeaseId lease) {
  LeaseLife* const found = Find(lease, command.header.leases_until);
  if (found == nullptr) return;
  LeaseLife& life = *found;
  life.gone_after = entry.after;
  life.gone_by = entry.by;
  life.expired = command.header.request.counter >> 56 == kLeadersOwn;
  expired_ += life.expired ? 1 : 0;
  for (const std::string& key : life.keys) {
    changes_[key].push_back({.deleted = true, .cause = entry.id.index});
    attached_.erase(key);
  }
  life.keys.clear();
  living_.erase(life.lease);
}

// If it was granted up to entry `until`; zero: whenever it was.
LeaseLife* LeaseTruth::Find(LeaseId lease, LogIndex until) {
  const auto found = living_.find(lease.value());
  if (found == living_.end()) return nullptr;
  const bool meant = until == LogIndex() || found->second->granted_at <= until;
  return meant ? found->second : nullptr;
}

void LeaseTruth::Put(const CommittedEntry& entry, const engine::PutOp& put) {
  if (!put.key.starts_with(kLeaseKeys)) return;
  LeaseLife* life = nullptr;
  if (put.lease != LeaseId()) {
    life = Find(put.lease, LogIndex());
    if (life == nullptr) return;
  }
  const std::string key(put.key);
  LeaseLife*& attached = attached_[key];
  if (attached != nullptr) attached->keys.erase(key);
  if (life != nullptr) life->keys.insert(key);
  attached = life;
  changes_[key].push_back({.value = std::string(put.value), .cause = entry.id.index});
}

// --- and what was told

std::vector<std::string> LeaseTruth::CheckTold(const std::vector<LeaseTold>& told,
                                               int64_t drift_per_million, Duration election) const {
  std::vector<std::string> problems;
  std::map<int64_t, std::vector<const LeaseTold*>> promises;
  for (const LeaseTold& one : told) {
    const bool promise =
        one.kind == LeaseTold::Kind::kGranted || one.kind == LeaseTold::Kind::kRenewed;
    std::string problem = CheckOne(one, drift_per_million);
    if (problem.empty() && one.kind == LeaseTold::Kind::kLooked) {
      problem = CheckLook(one, promises[one.lease], drift_per_million);
      if (problem.empty()) problem = CheckMost(one, election);
    }
    if (promise) promises[one.lease].push_back(&one);
    if (problem.empty()) continue;
    std::string text =
        Concat("lease ", one.lease, " was told ", NameOf(one.kind), " (", one.seconds,
               " s) by a call from ", Ms(one.sent), " to ", Ms(one.answered), ", but ", problem);
    const auto lives = by_id_.find(one.lease);
    if (lives != by_id_.end()) {
      for (const LeaseLife* life : lives->second) text += "\n" + Show(*life);
    }
    problems.push_back(std::move(text));
  }
  return problems;
}

// No less time is left than was promised, whole seconds of it.
std::string LeaseTruth::CheckLook(const LeaseTold& look,
                                  const std::vector<const LeaseTold*>& promises,
                                  int64_t drift_per_million) const {
  const std::vector<const LeaseLife*> candidates = Candidates(look);
  for (const LeaseTold* promise : promises) {
    if (promise->answered > look.sent || candidates.size() != 1) continue;
    if (Candidates(*promise) != candidates) continue;
    const Duration since = look.answered - promise->sent;
    const int64_t passed = since.ns + since.ns / kMillion * drift_per_million;
    const int64_t left = promise->seconds * kSecond - passed;
    if ((look.seconds + 1) * kSecond >= left) continue;
    return Concat("at ", Ms(promise->sent), " it was promised ", promise->seconds, " s");
  }
  return "";
}

// However often it was renewed, and whoever leads.
std::string LeaseTruth::CheckMost(const LeaseTold& look, Duration election) const {
  int64_t most = 0;
  for (const LeaseLife* life : Candidates(look)) {
    most = std::max(most, (Seconds(life->ttl_seconds) + election).ns / kSecond);
  }
  return look.seconds <= most ? "" : Concat("it never had more than ", most, " s");
}

// The lives that may be meant: there at some moment of the call.
std::vector<const LeaseLife*> LeaseTruth::Candidates(const LeaseTold& told) const {
  std::vector<const LeaseLife*> candidates;
  const auto found = by_id_.find(told.lease);
  if (found == by_id_.end()) return candidates;
  for (const LeaseLife* life : found->second) {
    if (life->granted_after <= told.answered && life->gone_by >= told.sent) {
      candidates.push_back(life);
    }
  }
  return candidates;
}

// Whether there was a moment of the call without it, for all that is known.
bool LeaseTruth::GoneWithin(const LeaseTold& told) const {
  const auto found = by_id_.find(told.lease);
  if (found == by_id_.end()) return true;
  return std::ranges::none_of(found->second, [&](const LeaseLife* life) {
    return life->granted_by <= told.sent && life->gone_after > told.answered;
  });
}

// Empty: nothing is wrong.
std::string LeaseTruth::CheckOne(const LeaseTold& told, int64_t drift_per_million) const {
  if (told.kind == LeaseTold::Kind::kGone) {
    return GoneWithin(told) ? "" : "it was there all the time";
  }
  const std::vector<const LeaseLife*> candidates = Candidates(told);
  if (candidates.empty()) return "it was not there";
  if (told.kind == LeaseTold::Kind::kThere || told.kind == LeaseTold::Kind::kLooked) return "";
  const bool ttl_known = std::ranges::any_of(
      candidates, [&](const LeaseLife* life) { return life->ttl_seconds == told.seconds; });
  if (!ttl_known) return "that is not its TTL";
  // Of a clock that is fast, a second is over before its time.
  const Duration promised =
      Microseconds(told.seconds * kMillion * kMillion / (kMillion + drift_per_million));
  const bool kept = std::ranges::any_of(candidates, [&](const LeaseLife* life) {
    return !life->expired || life->gone_by >= told.sent + promised;
  });
  return kept ? "" : "its time was over before";
}

std::vector<std::string> LeaseTruth::CheckKeys(const StoreHistory& store) const {
  std::vector<std::string> problems;
  std::map<LogIndex, int64_t> revisions;  // by what has caused them
  for (const auto& [key, versions] : store.keys()) {
    if (!key.starts_with(kLeaseKeys)) continue;
    const auto found = changes_.find(key);
    const size_t count = found == changes_.end() ? 0 : found->second.size();
    for (size_t i = 0; i < std::max(count, versions.size()); ++i) {
      if (i >= count || i >= versions.size()) {
        problems.push_back(Concat(key, " has ", versions.size(), " versions, not ", count));
        break;
      }
      const KeyChange& change = found->second[i];
      const StoreHistory::Version& version = versions[i];
      const int64_t revision = revisions.emplace(change.cause, version.revision).first->second;
      if (change.deleted == version.deleted && change.value == version.value &&
          revision == version.revision) {
        continue;
      }
      problems.push_back(Concat(key, " was ", version.deleted ? "deleted" : "put", " at revision ",
                                version.revision, ", but entry ", change.cause.value(),
                                " is what has changed it, to be ",
                                change.deleted ? "deleted" : "put", " at ", revision));
      break;
    }
  }
  for (const auto& [key, changes] : changes_) {
    if (!store.keys().contains(key)) problems.push_back(key + " is not in the store");
  }
  return problems;
}

}  // namespace metastore::sim_test
