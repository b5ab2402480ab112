// The kernel interface this runtime relies on beyond what liburing 2.3 and the 6.1 headers name, in
// one place, with the assumptions that must hold when those headers are replaced by newer ones.
#pragma once

#include <liburing.h>
#include <linux/stat.h>
#include <sys/uio.h>

#include <cstddef>

namespace metastore::io::uring {

// Oldest kernel with SINGLE_ISSUER, DEFER_TASKRUN and multishot receive together.
inline constexpr int kKernelMajorMin = 6;
inline constexpr int kKernelMinorMin = 1;

// statfs f_type of file systems that live in memory: they accept O_DIRECT since 6.6, but nothing on
// them is durable.
inline constexpr unsigned long kTmpfsMagic = 0x01021994;
inline constexpr unsigned long kRamfsMagic = 0x858458f6;

// A provided-buffer ring is an array of io_uring_buf whose first element's `resv` doubles as the
// tail: the union's zero-length array must start where the struct does, also in C++.
static_assert(offsetof(io_uring_buf_ring, bufs) == 0);
static_assert(offsetof(io_uring_buf_ring, tail) == offsetof(io_uring_buf, resv));
static_assert(sizeof(io_uring_buf) == 16);
static_assert(sizeof(io_uring_sqe) == 64);
static_assert(sizeof(io_uring_cqe) == 16);
// liburing 2.3 declares io_uring_enable_rings but its library does not export it.
inline int EnableRings(io_uring& ring) {
  return io_uring_register(static_cast<unsigned>(ring.ring_fd), IORING_REGISTER_ENABLE_RINGS,
                           nullptr, 0);
}

static_assert(RWF_DSYNC == 0x2);
static_assert(STATX_DIOALIGN == 0x2000);

}  // namespace metastore::io::uring
