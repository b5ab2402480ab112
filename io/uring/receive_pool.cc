#include "io/uring/receive_pool.h"

#include <sys/mman.h>

#include <cstring>

#include "io/base/check.h"
#include "io/base/limits.h"
#include "io/uring/errno_status.h"

namespace metastore::io::uring {
namespace {

void* MapMemory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

StatusOr<std::unique_ptr<ReceivePool>> ReceivePool::Create(Ring& ring, size_t buffers) {
  CHECK(buffers >= 2 && buffers <= 32768 && (buffers & (buffers - 1)) == 0);
  std::unique_ptr<ReceivePool> pool(new ReceivePool(ring, buffers));
  MS_RETURN_IF_ERROR(pool->Open());
  return pool;
}

Status ReceivePool::Open() {
  memory_ = static_cast<char*>(MapMemory(buffers_ * limits::kReceiveBytes));
  // The ring itself must start on a page; mmap gives whole pages.
  buffer_ring_ = static_cast<io_uring_buf_ring*>(MapMemory(buffers_ * sizeof(io_uring_buf)));
  if (memory_ == nullptr || buffer_ring_ == nullptr) {
    return FailedPreconditionError("no memory for ", buffers_, " receive buffers of ",
                                   limits::kReceiveBytes, " bytes");
  }
  io_uring_buf_reg request = {};
  request.ring_addr = reinterpret_cast<uint64_t>(buffer_ring_);
  request.ring_entries = static_cast<uint32_t>(buffers_);
  request.bgid = kGroup;
  const int result = io_uring_register_buf_ring(&ring_.raw(), &request, 0);
  if (result < 0) {
    return FailedPreconditionError("io_uring: the kernel refuses the receive buffer ring: ",
                                   ErrnoName(-result));
  }
  registered_ = true;
  io_uring_buf_ring_init(buffer_ring_);
  for (size_t i = 0; i < buffers_; ++i) {
    table_[i].buffer = static_cast<uint16_t>(i);
    table_[i].data = memory_ + i * limits::kReceiveBytes;
    GiveToKernel(static_cast<uint16_t>(i));
  }
  return OkStatus();
}

ReceivePool::~ReceivePool() {
  if (registered_) {
    CHECK_EQ(with_kernel_, buffers_);  // what was lent has been given back
    io_uring_unregister_buf_ring(&ring_.raw(), kGroup);
  }
  if (buffer_ring_ != nullptr) munmap(buffer_ring_, buffers_ * sizeof(io_uring_buf));
  if (memory_ != nullptr) munmap(memory_, buffers_ * limits::kReceiveBytes);
}

void ReceivePool::GiveToKernel(uint16_t buffer) {
  io_uring_buf_ring_add(buffer_ring_, table_[buffer].data,
                        static_cast<unsigned>(limits::kReceiveBytes), buffer,
                        io_uring_buf_ring_mask(static_cast<uint32_t>(buffers_)), 0);
  io_uring_buf_ring_advance(buffer_ring_, 1);
  ++with_kernel_;
}

Received& ReceivePool::Take(uint16_t buffer, uint32_t bytes) {
  CHECK_LT(buffer, buffers_);
  CHECK_GT(with_kernel_, 0u);
  --with_kernel_;
  if (with_kernel_ >= buffers_ / 4) {
    table_[buffer].next = nullptr;
    table_[buffer].bytes = bytes;
    return table_[buffer];
  }
  ++copies_;
  auto* copy = new Received{.data = new char[bytes], .bytes = bytes, .buffer = 0, .copied = true};
  std::memcpy(copy->data, table_[buffer].data, bytes);
  GiveToKernel(buffer);
  return *copy;
}

void ReceivePool::Release(Received& received) {
  if (received.copied) {
    delete[] received.data;
    delete &received;
    return;
  }
  GiveToKernel(received.buffer);
}

ReceivedBytes ReceivePool::Lend(Received& received) {
  return ReceivedBytes(
      {received.data, received.bytes},
      [](void* owner, uint64_t token) {
        static_cast<ReceivePool*>(owner)->Release(*reinterpret_cast<Received*>(token));
      },
      this, reinterpret_cast<uint64_t>(&received));
}

void ReceivePool::ServeStarved() {
  for (size_t budget = with_kernel_; budget > 0 && !starved_.empty(); --budget) {
    auto* connection = static_cast<Starved*>(starved_.front());
    connection->Unlink();
    connection->retry(*connection);
  }
}

}  // namespace metastore::io::uring
