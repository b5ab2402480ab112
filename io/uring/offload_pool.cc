#include "io/uring/offload_pool.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "io/base/check.h"
#include "io/uring/errno_status.h"

namespace metastore::io::uring {

Status OffloadInbox::Open() {
  event_fd_ = eventfd(0, EFD_CLOEXEC);
  if (event_fd_ < 0) return FileStatus(errno, "eventfd", "offload inbox");
  return OkStatus();
}

OffloadInbox::~OffloadInbox() {
  CHECK(head_ == nullptr);
  if (event_fd_ >= 0) close(event_fd_);
}

void OffloadInbox::Put(OffloadJob& job) {
  job.next = nullptr;
  // The write stays under the lock: once the reactor has taken the last job it may end and close
  // the descriptor.
  const std::lock_guard lock(mutex_);
  if (tail_ == nullptr) {
    head_ = &job;
  } else {
    tail_->next = &job;
  }
  tail_ = &job;
  Wake();
}

void OffloadInbox::Wake() {
  const uint64_t one = 1;
  const ssize_t wrote = write(event_fd_, &one, sizeof(one));
  CHECK_EQ(wrote, static_cast<ssize_t>(sizeof(one)));
}

OffloadJob* OffloadInbox::Take() {
  const std::lock_guard lock(mutex_);
  tail_ = nullptr;
  return std::exchange(head_, nullptr);
}

OffloadPool::OffloadPool(int threads) {
  CHECK_GT(threads, 0);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

OffloadPool::~OffloadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void OffloadPool::Enqueue(OffloadJob& job) {
  job.next = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (tail_ == nullptr) {
      head_ = &job;
    } else {
      tail_->next = &job;
    }
    tail_ = &job;
  }
  arrived_.notify_one();
}

void OffloadPool::Work() {
  while (true) {
    OffloadJob* job = nullptr;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return head_ != nullptr || stopping_; });
      if (head_ == nullptr) return;
      job = head_;
      head_ = job->next;
      if (head_ == nullptr) tail_ = nullptr;
    }
    job->work(*job);
    job->home->Put(*job);
  }
}

}  // namespace metastore::io::uring
