// An epoll set over the connections of a generator. One thread.
//
// A connection that comes to have unsent bytes outside of its own events is flushed again by its
// owner; it is waited for within kTurnsArmed turns.
#pragma once

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/load/clock.h"

namespace metastore::bench {

class Poller final {
 public:
  // A turn handles up to `batch` connections.
  explicit Poller(size_t batch = 512) : poll_(epoll_create1(EPOLL_CLOEXEC)), events_(batch) {}
  ~Poller() {
    if (poll_ >= 0) close(poll_);
  }
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // `connection` (Connection or StreamConnection, open) outlives the poller.
  template <typename T>
  void Add(T& connection) {
    members_.push_back(std::make_unique<MemberOf<T>>(connection));
    epoll_event event{.events = Wanted(*members_.back()), .data = {.ptr = members_.back().get()}};
    epoll_ctl(poll_, EPOLL_CTL_ADD, connection.fd(), &event);
  }

  // Waits up to `timeout_ns` and handles what came. `set_now` gets the time before each.
  template <typename SetNow>
  void Turn(uint64_t timeout_ns, SetNow set_now) {
    // Most change what they wait for only where they are handled.
    if (turns_++ % kTurnsArmed == 0) {
      for (const auto& member : members_) Arm(*member);
    }
    const timespec timeout{.tv_sec = 0, .tv_nsec = static_cast<long>(timeout_ns)};
    const int ready =
        epoll_pwait2(poll_, events_.data(), static_cast<int>(events_.size()), &timeout, nullptr);
    for (int i = 0; i < ready; i++) {
      const epoll_event& event = events_[static_cast<size_t>(i)];
      auto& member = *static_cast<Member*>(event.data.ptr);
      if (!member.alive()) continue;
      const uint64_t now = NowNs();
      set_now(now);
      const bool readable = (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
      if (readable) member.OnReadable(now);
      if ((event.events & EPOLLOUT) != 0 && member.alive()) member.OnWritable(now);
      Arm(member);
    }
  }

  // Of all connections; and why the first of them died.
  uint64_t dead() const { return dead_; }
  const std::string& why_dead() const { return why_dead_; }

 private:
  struct Member {
    virtual ~Member() = default;
    virtual int fd() const = 0;
    virtual bool alive() const = 0;
    virtual bool wants_read() const = 0;
    virtual bool wants_write() const = 0;
    virtual const std::string& failure() const = 0;
    virtual void OnReadable(uint64_t now) = 0;
    virtual void OnWritable(uint64_t now) = 0;
    uint32_t armed = UINT32_MAX;
    bool counted_dead = false;
  };
  template <typename T>
  struct MemberOf final : Member {
    explicit MemberOf(T& it) : connection(it) {}
    int fd() const override { return connection.fd(); }
    bool alive() const override { return connection.alive(); }
    bool wants_read() const override {
      if constexpr (requires { connection.wants_read(); }) return connection.wants_read();
      return true;
    }
    bool wants_write() const override { return connection.wants_write(); }
    const std::string& failure() const override { return connection.failure(); }
    void OnReadable(uint64_t now) override { connection.OnReadable(now); }
    void OnWritable(uint64_t now) override { connection.OnWritable(now); }
    T& connection;
  };

  static constexpr uint64_t kTurnsArmed = 64;

  static uint32_t Wanted(const Member& member) {
    return (member.wants_read() ? uint32_t{EPOLLIN} : 0U) |
           (member.wants_write() ? uint32_t{EPOLLOUT} : 0U);
  }

  void Arm(Member& member) {
    if (!member.alive()) {
      if (member.counted_dead) return;
      member.counted_dead = true;
      dead_++;
      if (why_dead_.empty()) why_dead_ = member.failure();
      epoll_ctl(poll_, EPOLL_CTL_DEL, member.fd(), nullptr);
      return;
    }
    const uint32_t wanted = Wanted(member);
    if (wanted == member.armed) return;
    member.armed = wanted;
    epoll_event event{.events = wanted, .data = {.ptr = &member}};
    epoll_ctl(poll_, EPOLL_CTL_MOD, member.fd(), &event);
  }

  const int poll_;
  std::vector<epoll_event> events_;
  std::vector<std::unique_ptr<Member>> members_;
  uint64_t turns_ = 0;
  uint64_t dead_ = 0;
  std::string why_dead_;
};

}  // namespace metastore::bench
