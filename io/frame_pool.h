// Where coroutine frames come from: free lists by 64-byte size class up to 1 KiB, one set a thread;
// larger frames and what exceeds a list's cap go to the heap. Compiled out under AddressSanitizer,
// which must see every free.
//
// A frame may be freed on another thread than it came from: the block simply joins that thread's
// list.
#pragma once

#include <cstddef>

namespace metastore::io {

void* AllocateFrame(size_t bytes);
void FreeFrame(void* frame, size_t bytes) noexcept;

}  // namespace metastore::io
