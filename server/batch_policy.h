// When waiting proposals go to raft: the one decision group commit leaves open.
//
// A policy sees how many proposals wait and says how many to take now, or when to be asked again.
// Owned by the Group, on its state core. Pure: time comes in as a value.
#pragma once

#include <cstddef>

#include "io/base/time.h"

namespace metastore::server {

struct BatchDecision {
  size_t take = 0;                       // proposals to propose now, at most those waiting
  MonoTime ask_again = MonoTime::Max();  // when some are left: at the latest then
};

class BatchPolicy {
 public:
  virtual ~BatchPolicy() = default;
  //   waiting   proposals admitted and not yet proposed, at least 1
  virtual BatchDecision Decide(size_t waiting, MonoTime now) = 0;
};

// Takes whatever waits, at once. What arrives while a flush is under way gathers in the log's next
// frame, so a lone client pays one flush and a thousand share one, without any timer: every delay
// tried on top of a 100 us flush cost more than it saved (storage notes, group commit).
class NaturalBatchPolicy final : public BatchPolicy {
 public:
  BatchDecision Decide(size_t waiting, MonoTime /*now*/) override { return {.take = waiting}; }
};

}  // namespace metastore::server
