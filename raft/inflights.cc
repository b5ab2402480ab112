#include "raft/inflights.h"

#include "io/base/check.h"

namespace metastore::raft {

Inflights::Inflights(size_t messages_max, size_t bytes_max)
    : messages_max_(messages_max), bytes_max_(bytes_max) {
  CHECK_GT(messages_max, 0u);
}

void Inflights::Add(LogIndex last, size_t bytes) {
  CHECK(!full());
  appends_.push_back({last, bytes});
  bytes_ += bytes;
}

void Inflights::FreeUpTo(LogIndex acked) {
  while (!appends_.empty() && appends_.front().last <= acked) {
    bytes_ -= appends_.front().bytes;
    appends_.pop_front();
  }
}

void Inflights::Reset() {
  appends_.clear();
  bytes_ = 0;
}

}  // namespace metastore::raft
