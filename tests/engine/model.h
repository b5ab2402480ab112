// An obvious model of etcd's key-value semantics, to compare an engine with: every version of every
// key in a std::map, each answer computed from scratch. Independent of the engine's structures;
// slow on purpose.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/types.h"

namespace metastore::engine {

struct ModelVersion {
  bool tombstone = false;
  std::string value;
  int64_t create = 0;
  int64_t version = 0;
  int64_t lease = 0;
};

struct ModelKv {
  std::string key;
  std::string value;
  int64_t create = 0;
  int64_t mod = 0;
  int64_t version = 0;
  int64_t lease = 0;

  bool operator==(const ModelKv&) const = default;
};

struct ModelEvent {
  bool put = false;
  ModelKv kv;

  bool operator==(const ModelEvent&) const = default;
};

class Model final {
 public:
  using At = std::pair<int64_t, int64_t>;  // main, sub

  int64_t revision = 1;
  int64_t compacted = -1;
  std::map<std::string, std::map<At, ModelVersion>> keys;
  std::map<int64_t, int64_t> leases;  // id -> ttl

  static bool InRange(const std::string& key, const std::string& begin, const std::string& end) {
    if (end.empty()) return key == begin;
    if (end == std::string(1, '\0')) return key >= begin;
    return key >= begin && key < end;
  }

  std::optional<ModelKv> Get(const std::string& key, At before) const {
    const auto found = keys.find(key);
    if (found == keys.end()) return std::nullopt;
    auto at = found->second.lower_bound(before);
    if (at == found->second.begin()) return std::nullopt;
    --at;
    const ModelVersion& v = at->second;
    if (v.tombstone) return std::nullopt;
    return ModelKv{key, v.value, v.create, at->first.first, v.version, v.lease};
  }
  std::vector<ModelKv> Range(const std::string& begin, const std::string& end, At before) const {
    std::vector<ModelKv> found;
    for (const auto& [key, versions] : keys) {
      if (!InRange(key, begin, end)) continue;
      if (const auto kv = Get(key, before)) found.push_back(*kv);
    }
    return found;
  }

  // --- one entry ------------------------------------------------------------------------------
  At now() const { return {revision + 1, sub_}; }
  bool Put(const std::string& key, const std::string& value, int64_t lease) {
    const auto old = Get(key, now());
    ModelVersion v;
    v.value = value;
    v.create = old ? old->create : revision + 1;
    v.version = old ? old->version + 1 : 1;
    v.lease = lease;
    keys[key][now()] = v;
    ++sub_;
    return old.has_value();
  }
  int64_t Delete(const std::string& begin, const std::string& end) {
    const std::vector<ModelKv> doomed = Range(begin, end, now());
    for (const ModelKv& kv : doomed) {
      keys[kv.key][now()] = ModelVersion{.tombstone = true};
      ++sub_;
    }
    return static_cast<int64_t>(doomed.size());
  }
  int64_t Revoke(int64_t lease) {
    int64_t count = 0;
    for (const ModelKv& kv : Range(std::string(1, '\0'), std::string(1, '\0'), now())) {
      if (kv.lease == lease) count += Delete(kv.key, "");
    }
    leases.erase(lease);
    return count;
  }
  bool Commit() {
    const bool changed = sub_ > 0;
    if (changed) ++revision;
    sub_ = 0;
    return changed;
  }

  Outcome Compact(int64_t to) {
    if (to <= compacted) return Outcome::kCompacted;
    if (to > revision) return Outcome::kFutureRevision;
    compacted = to;
    return Outcome::kOk;
  }

  // (main, sub) order.
  std::vector<ModelEvent> History(int64_t from) const {
    std::map<At, ModelEvent> ordered;
    for (const auto& [key, versions] : keys) {
      for (const auto& [at, v] : versions) {
        if (at.first < from || at.first > revision) continue;
        ModelKv kv{key, v.value, v.create, at.first, v.version, v.lease};
        ordered[at] = {!v.tombstone, kv};
      }
    }
    std::vector<ModelEvent> events;
    for (const auto& [at, event] : ordered) events.push_back(event);
    return events;
  }

 private:
  int64_t sub_ = 0;
};

}  // namespace metastore::engine
