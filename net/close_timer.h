// CloseTimer: closes a stream at a deadline, so that a wait for the peer ends. And CloseOnStop:
// closes it on a stop.
#pragma once

#include "io/signal.h"
#include "net/byte_stream.h"

namespace metastore::net {

class CloseTimer final {
 public:
  CloseTimer(io::TimerService& timers, ByteStream& stream) : timers_(timers), stream_(stream) {
    alarm_.owner = this;
    alarm_.fired = [](io::Timer& timer) {
      CloseTimer& self = *static_cast<Alarm&>(timer).owner;
      self.expired_ = true;
      self.stream_.Close();
    };
  }
  ~CloseTimer() { timers_.Cancel(alarm_); }
  CloseTimer(const CloseTimer&) = delete;
  CloseTimer& operator=(const CloseTimer&) = delete;

  // Closes the stream `timeout` from now unless cancelled or set again.
  void Set(Duration timeout) {
    timers_.Cancel(alarm_);
    timers_.Arm(alarm_, timers_.Now() + timeout);
  }
  void Cancel() { timers_.Cancel(alarm_); }
  bool expired() const { return expired_; }

 private:
  struct Alarm : io::Timer {
    CloseTimer* owner = nullptr;
  };
  io::TimerService& timers_;
  ByteStream& stream_;
  Alarm alarm_;
  bool expired_ = false;
};

class CloseOnStop final {
 public:
  CloseOnStop(ByteStream& stream, io::StopToken stop) {
    callback_.stream = &stream;
    callback_.stopped = [](io::StopCallback& callback) {
      static_cast<Callback&>(callback).stream->Close();
    };
    if (!stop.Register(callback_)) stream.Close();
  }
  CloseOnStop(const CloseOnStop&) = delete;
  CloseOnStop& operator=(const CloseOnStop&) = delete;

 private:
  struct Callback : io::StopCallback {
    ByteStream* stream = nullptr;
  };
  Callback callback_;
};

}  // namespace metastore::net
