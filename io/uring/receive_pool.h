// ReceivePool: the receive buffers all connections of a core share: a provided-buffer ring from
// which the kernel takes one per arrival, so that idle connections hold no memory.
//
// Fairness: when the kernel is left with few buffers, what arrives is copied out and its buffer
// given back at once (bounded per connection, see uring_socket.h), so no connection can
// starve the others. A connection whose receive still ended for want of a buffer is linked as
// starved and armed again when there are some.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io/base/status.h"
#include "io/signal.h"
#include "io/socket.h"
#include "io/uring/ring.h"

namespace metastore::io::uring {

// One arrival; in the pool's table, or on the heap where the bytes were copied out.
struct Received {
  Received* next = nullptr;
  char* data = nullptr;
  uint32_t bytes = 0;
  uint16_t buffer = 0;
  bool copied = false;
};

// A connection waiting for a buffer.
struct Starved : ListLink {
  void (*retry)(Starved& self) = nullptr;
};

class ReceivePool final {
 public:
  // buffers   a power of two, at most 32768, each of limits::kReceiveBytes
  // Errors: kFailedPrecondition  no memory, or the kernel refuses the buffer ring
  static StatusOr<std::unique_ptr<ReceivePool>> Create(Ring& ring, size_t buffers);
  ~ReceivePool();
  ReceivePool(const ReceivePool&) = delete;
  ReceivePool& operator=(const ReceivePool&) = delete;

  // The kernel filled `buffer` with `bytes`: owned by the caller until Release.
  Received& Take(uint16_t buffer, uint32_t bytes);
  void Release(Received& received);
  // `received` as what a Receive gives; released when that is destroyed.
  ReceivedBytes Lend(Received& received);

  void AddStarved(Starved& connection) { starved_.PushBack(connection); }
  // Between turns: arms again as many starved connections as there are buffers.
  void ServeStarved();

  size_t with_kernel() const { return with_kernel_; }
  uint64_t copies() const { return copies_; }

  static constexpr uint16_t kGroup = 0;

 private:
  ReceivePool(Ring& ring, size_t buffers) : ring_(ring), buffers_(buffers), table_(buffers) {}
  Status Open();
  void GiveToKernel(uint16_t buffer);

  Ring& ring_;
  const size_t buffers_;
  std::vector<Received> table_;
  char* memory_ = nullptr;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  bool registered_ = false;
  size_t with_kernel_ = 0;
  uint64_t copies_ = 0;
  ListHead starved_;
};

}  // namespace metastore::io::uring
