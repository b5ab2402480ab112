// OffloadPool: a few threads for calls that block and computing that takes long; OffloadInbox: how
// results come home.
//
// Jobs are intrusive and owned by who enqueues them (a coroutine frame, a file request), so the
// queue is as bounded as those are. Pool threads have no ring of their own: a finished job goes to
// its reactor's inbox under a mutex, and a write to an eventfd, which the reactor keeps a read on,
// wakes it. Offloads are rare; the posts between reactors, which are not, take another way
// (post_ring.h).
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "io/base/status.h"

namespace metastore::io::uring {

class OffloadInbox;

struct OffloadJob {
  void (*work)(OffloadJob& self) = nullptr;      // on a pool thread
  void (*finished)(OffloadJob& self) = nullptr;  // on the reactor, between turns; may free the job
  OffloadInbox* home = nullptr;
  OffloadJob* next = nullptr;
};

class OffloadInbox final {
 public:
  // Errors: kResourceExhausted  no descriptor for the eventfd
  Status Open();
  ~OffloadInbox();

  // Any thread.
  void Put(OffloadJob& job);
  void Wake();
  // The reactor: the finished jobs, linked in order.
  OffloadJob* Take();

  int event_fd() const { return event_fd_; }

 private:
  int event_fd_ = -1;
  std::mutex mutex_;
  OffloadJob* head_ = nullptr;  // under mutex_
  OffloadJob* tail_ = nullptr;  // under mutex_
};

class OffloadPool final {
 public:
  explicit OffloadPool(int threads);
  ~OffloadPool();  // runs what is queued, then joins

  void Enqueue(OffloadJob& job);

 private:
  void Work();

  std::mutex mutex_;
  std::condition_variable arrived_;
  OffloadJob* head_ = nullptr;  // under mutex_
  OffloadJob* tail_ = nullptr;  // under mutex_
  bool stopping_ = false;       // under mutex_
  std::vector<std::thread> threads_;
};

}  // namespace metastore::io::uring
