// The appends to one follower that it has not answered yet: a window bounded in messages and in
// bytes.
//
// Owner: Progress. It grows to its bound on demand, so that idle followers cost nothing.
//
// Invariants: 1. indexes ascend. 2. count() <= messages_max; bytes() may pass bytes_max by one
// message.
#pragma once

#include <cstddef>

#include "raft/ring.h"
#include "raft/types.h"

namespace metastore::raft {

class Inflights {
 public:
  Inflights() : Inflights(1, 0) {}
  // bytes_max 0: not bounded in bytes.
  Inflights(size_t messages_max, size_t bytes_max);

  // Notes an append whose last entry is `last`. Not when full().
  void Add(LogIndex last, size_t bytes);
  // Frees every append up to `acked` inclusive.
  void FreeUpTo(LogIndex acked);
  void Reset();

  bool full() const {
    return count() == messages_max_ || (bytes_max_ != 0 && bytes_ >= bytes_max_);
  }
  size_t count() const { return appends_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Append {
    LogIndex last;
    size_t bytes = 0;
  };

  size_t messages_max_;
  size_t bytes_max_;
  size_t bytes_ = 0;
  Ring<Append> appends_;
};

}  // namespace metastore::raft
