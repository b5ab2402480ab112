// LeaseWalk: all leases as they were when it was made, in steps, while leases come and go.
//
// Leases have no versions. So the store notes for each walk, before a lease changes that the walk
// has not passed yet, what it was (LeaseChanges): as much as changes while the walk lasts.
#pragma once

#include <memory>
#include <optional>

#include "absl/container/btree_map.h"
#include "engine/step_budget.h"
#include "engine/types.h"

namespace metastore::engine {

class Store;

class LeaseChanges final {
 public:
  // `before`: the lease as it is now; null if there is none. Only the first change matters.
  void Note(LeaseId id, const LeaseInfo* before) {
    if (passed_.has_value() && id <= *passed_) return;
    before_.try_emplace(id, before == nullptr ? std::nullopt : std::optional<LeaseInfo>(*before));
  }
  size_t size() const { return before_.size(); }

 private:
  friend class LeaseWalk;
  std::optional<LeaseId> passed_;  // the walk is done with all leases up to this
  absl::btree_map<LeaseId, std::optional<LeaseInfo>> before_;
};

class LeaseWalk final {
 public:
  explicit LeaseWalk(std::shared_ptr<LeaseChanges> changes) : changes_(std::move(changes)) {}

  // Calls visit(lease) in the order of ids. True once all were visited. `store` is the one the
  // changes are noted by.
  template <typename Visit>
  bool Step(const Store& store, StepBudget& budget, const Visit& visit) {
    while (budget.Spend(1)) {
      const std::optional<LeaseId> id = NextId(store);
      if (!id.has_value()) return true;
      const std::optional<LeaseInfo> lease = Before(store, *id);
      Pass(*id);
      if (lease.has_value()) visit(*lease);
    }
    return false;
  }

 private:
  // The lowest id not passed that there is or was.
  std::optional<LeaseId> NextId(const Store& store) const;
  std::optional<LeaseInfo> Before(const Store& store, LeaseId id) const;
  void Pass(LeaseId id);

  const std::shared_ptr<LeaseChanges> changes_;
};

}  // namespace metastore::engine
