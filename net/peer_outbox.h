// PeerOutbox: the messages that wait for a link, in frames to be. Pure; owned by one PeerLink.
//
// Invariants
//  1. Messages of one class leave in the order they came.
//  2. Urgent frames go first, but never two in a row while a bulk one waits: neither class waits
//     for more than one frame of the other.
//  3. In the steady state nothing is allocated: buffers come back by Reuse.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "io/base/limits.h"
#include "net/fifo.h"
#include "net/peer_frame.h"

namespace metastore::net {

enum class PeerUrgency : uint8_t { kUrgent, kBulk };

// Messages of one frame, each behind its u32 length, all behind room for the frame's header.
struct PeerBatch {
  std::string bytes;
  size_t messages = 0;
};

class PeerOutbox final {
 public:
  static constexpr size_t kFrameBytes = 256 * limits::kKiB;  // a frame that has them is closed
  static constexpr size_t kUrgentBytesMax = 4 * limits::kMiB;
  static constexpr size_t kMessageBytesMax = kPeerFrameBytesMax - sizeof(uint32_t);

  // Refuses urgent messages from kUrgentBytesMax waiting bytes on, others from `bulk_bytes_max` on.
  explicit PeerOutbox(size_t bulk_bytes_max);

  // Takes one message, whose bytes `encode` appends; at most kMessageBytesMax (CHECKed).
  // False, and nothing is encoded: full.
  bool Add(PeerUrgency urgency, absl::FunctionRef<void(std::string&)> encode);
  bool empty() const { return lanes_[0].batches.empty() && lanes_[1].batches.empty(); }
  // Of messages and their lengths.
  size_t bytes() const { return lanes_[0].bytes + lanes_[1].bytes; }
  // The next frame; not empty (CHECKed).
  PeerBatch Take();
  void Reuse(PeerBatch batch);
  // Drops everything; returns how many messages that were.
  size_t Clear();

 private:
  struct Lane {
    Fifo<PeerBatch> batches;
    size_t bytes = 0;
    size_t bytes_max = 0;
  };
  static constexpr size_t kSparesMax = 4;

  PeerBatch NewBatch();

  std::array<Lane, 2> lanes_;  // by PeerUrgency
  bool urgent_was_last_ = false;
  std::vector<PeerBatch> spares_;
};

// Takes a frame of messages apart: calls `each` with every message, in order.
// Errors: kDataLoss  a length does not fit (the messages before it were given out)
//         else       the first error of `each`, which ends it
Status ForEachPeerMessage(std::string_view body,
                          absl::FunctionRef<Status(std::string_view message)> each);

}  // namespace metastore::net
