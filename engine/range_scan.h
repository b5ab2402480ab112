// RangeScan: one Range over several keys, step by step: collects, counts, then filters, sorts and
// cuts as etcd does.
#pragma once

#include <cstdint>

#include "engine/store.h"
#include "engine/types.h"
#include "engine/walk.h"

namespace metastore::engine {

// A pair as an answer shows it. The value is shared, the key copied.
KeyValue MakeKeyValue(const KeyRecord& record, const Version& version);

// Whether the revision filters of `range` let `version` pass.
bool PassesFilters(const RangeOp& range, const Version& version);

class RangeScan final {
 public:
  // `query` and its views outlive it. `at` is where it reads.
  RangeScan(const RangeQuery& query, Position at, const Store& store);

  // Whether it will look at no more than about `records_max` records, as far as is known now.
  bool Small(size_t records_max) const;
  // True when everything was visited.
  bool Step(const Store& store, StepBudget& budget);
  // Once, after the last step.
  void Finish(RangeResult& result);

 private:
  bool Visit(const KeyRecord& record, StepBudget& budget);
  void Collect(const KeyRecord& record, const Version& version);
  void Sort();

  const RangeOp& range_;
  const Position at_;
  const uint64_t bytes_max_;
  SortOrder order_;           // effective
  uint64_t collect_max_ = 0;  // pairs after which no more are collected
  bool counting_ = false;     // the walk counts; else the count is known, or not wanted
  bool collecting_ = true;
  KeyWalk walk_;
  VersionSearch search_;
  uint64_t live_now_ = 0;  // keys of the range at the latest revision
  int64_t count_ = 0;
  uint64_t bytes_ = 0;
  KeyValues kvs_;
  io::SharedBytes resume_key_;
};

}  // namespace metastore::engine
