#include "raft/inflights.h"

#include <algorithm>

#include "io/base/check.h"

namespace metastore::raft {

Inflights::Inflights(size_t messages_max, size_t bytes_max)
    : messages_max_(messages_max), bytes_max_(bytes_max) {
  CHECK_GT(messages_max, 0u);
}

void Inflights::Add(LogIndex last, size_t bytes) {
  CHECK(!full());
  if (count_ == ring_.size()) Grow();
  ring_[(head_ + count_) % ring_.size()] = {last, bytes};
  ++count_;
  bytes_ += bytes;
}

void Inflights::Grow() {
  constexpr size_t kFirstSize = 8;
  std::vector<Append> larger(std::min(messages_max_, std::max(kFirstSize, 2 * ring_.size())));
  for (size_t i = 0; i < count_; ++i) larger[i] = ring_[(head_ + i) % ring_.size()];
  ring_ = std::move(larger);
  head_ = 0;
}

void Inflights::FreeUpTo(LogIndex acked) {
  while (count_ > 0 && ring_[head_].last <= acked) {
    bytes_ -= ring_[head_].bytes;
    head_ = (head_ + 1) % ring_.size();
    --count_;
  }
}

void Inflights::Reset() {
  head_ = 0;
  count_ = 0;
  bytes_ = 0;
}

}  // namespace metastore::raft
