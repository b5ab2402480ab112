// Store: freeing everything, in steps. No invariant of the store holds once it has begun.
#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/store.h"
#include "io/base/check.h"

namespace metastore::engine {
namespace {

// Log positions that are forgotten as one record is freed.
constexpr size_t kLogPositions = 64;
// Giving a block of memory back, in records: it may cost a system call. As many as make the budget
// look at its clock.
constexpr size_t kBlockRecords = 64;

}  // namespace

Store::~Store() {
  for (bool freed = false; !freed;) {
    StepBudget budget(nullptr);
    freed = FreeStep(budget);
  }
}

bool Store::FreeStep(StepBudget& budget) {
  while (load_ != nullptr) {
    if (!budget.Spend(1)) return false;
    if (load_->sort.DropRun()) load_.reset();
  }
  if (!FreeLeases(budget)) return false;
  while (!log_.empty()) {
    if (!budget.Spend(1)) return false;
    log_.erase(log_.begin(),
               log_.begin() + static_cast<ptrdiff_t>(std::min(kLogPositions, log_.size())));
  }
  if (!FreeRecords(budget)) return false;
  while (!slab_.FreeBlock() || !index_.FreeSegment()) {
    if (!budget.Spend(kBlockRecords)) return false;
  }
  return true;
}

bool Store::FreeLeases(StepBudget& budget) {
  while (!leases_.empty()) {
    auto& keys = leases_.begin()->second.keys;
    while (!keys.empty()) {
      if (!budget.Spend(1)) return false;
      keys.erase(std::prev(keys.end()));
    }
    if (!budget.Spend(1)) return false;
    leases_.erase(leases_.begin());
  }
  return true;
}

bool Store::FreeRecords(StepBudget& budget) {
  while (true) {
    for (; !freeing_.empty(); freeing_.pop_back()) {
      if (!FreeRecord(freeing_.back(), budget)) return false;
    }
    KeyRecord* records[KeyTree::kTakenMax];
    const size_t count = tree_.TakeFirst(records);
    if (count == 0) return true;
    freeing_.assign(records, records + count);
  }
}

bool Store::FreeRecord(KeyRecord* record, StepBudget& budget) {
  while (record->newest != nullptr) {
    Version* version = record->newest;
    if (!budget.Spend(1, version->value.size() / kFreedShare)) return false;
    record->newest = version->previous;
    FreeVersion(version);
  }
  KeyRecord::Delete(record);
  return true;
}

}  // namespace metastore::engine
