#include "engine/lease_walk.h"

#include <algorithm>

#include "engine/store.h"
#include "io/base/check.h"

namespace metastore::engine {

std::optional<LeaseId> LeaseWalk::NextId(const Store& store) const {
  const std::optional<LeaseId> passed = changes_->passed_;
  const auto now =
      passed.has_value() ? store.leases().upper_bound(*passed) : store.leases().begin();
  const auto noted = changes_->before_.begin();  // those passed are dropped
  const bool any_now = now != store.leases().end();
  const bool any_noted = noted != changes_->before_.end();
  if (!any_now && !any_noted) return std::nullopt;
  if (!any_now) return noted->first;
  return any_noted ? std::min(now->first, noted->first) : now->first;
}

std::optional<LeaseInfo> LeaseWalk::Before(const Store& store, LeaseId id) const {
  const auto noted = changes_->before_.find(id);
  if (noted != changes_->before_.end()) return noted->second;
  const Lease* lease = store.FindLease(id);
  CHECK(lease != nullptr);
  return lease->info;
}

void LeaseWalk::Pass(LeaseId id) {
  changes_->passed_ = id;
  changes_->before_.erase(id);
}

}  // namespace metastore::engine
