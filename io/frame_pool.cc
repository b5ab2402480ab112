#include "io/frame_pool.h"

#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MS_FRAME_POOL_OFF 1
#endif
#endif

namespace metastore::io {

#ifdef MS_FRAME_POOL_OFF

void* AllocateFrame(size_t bytes) { return ::operator new(bytes); }
void FreeFrame(void* frame, size_t /*bytes*/) noexcept { ::operator delete(frame); }

#else

namespace {

constexpr size_t kClassBytes = 64;
constexpr size_t kClasses = 16;
constexpr size_t kFreeMax = 4096;  // frames kept a class: 16 classes hold at most 34 MiB a thread

struct FreeFrameLink {
  FreeFrameLink* next;
};

struct Pool {
  FreeFrameLink* head[kClasses] = {};
  size_t count[kClasses] = {};

  ~Pool() {
    for (FreeFrameLink*& link : head) {
      while (link != nullptr) {
        FreeFrameLink* next = link->next;
        ::operator delete(link);
        link = next;
      }
    }
  }
};

thread_local Pool pool;

size_t ClassOf(size_t bytes) { return (bytes + kClassBytes - 1) / kClassBytes - 1; }

}  // namespace

void* AllocateFrame(size_t bytes) {
  const size_t size_class = ClassOf(bytes);
  if (size_class >= kClasses) return ::operator new(bytes);
  FreeFrameLink* link = pool.head[size_class];
  if (link == nullptr) return ::operator new((size_class + 1) * kClassBytes);
  pool.head[size_class] = link->next;
  --pool.count[size_class];
  return link;
}

void FreeFrame(void* frame, size_t bytes) noexcept {
  const size_t size_class = ClassOf(bytes);
  if (size_class >= kClasses || pool.count[size_class] == kFreeMax) {
    ::operator delete(frame);
    return;
  }
  auto* link = static_cast<FreeFrameLink*>(frame);
  link->next = pool.head[size_class];
  pool.head[size_class] = link;
  ++pool.count[size_class];
}

#endif

}  // namespace metastore::io
