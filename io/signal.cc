#include "io/signal.h"

namespace metastore::io {

bool StopToken::stopped() const { return source_ != nullptr && source_->stopped_; }

bool StopToken::Register(StopCallback& callback) const {
  if (source_ == nullptr) return true;
  if (source_->stopped_) return false;
  source_->callbacks_.PushBack(callback);
  return true;
}

void StopSource::RequestStop() {
  if (stopped_) return;
  stopped_ = true;
  while (!callbacks_.empty()) {
    auto* callback = static_cast<StopCallback*>(callbacks_.front());
    callback->Unlink();
    callback->stopped(*callback);
  }
}

void SignalWait::Start() {
  link_.wait = stop_.wait = deadline_.wait = this;
  if (signal_ != nullptr) signal_->waits_.PushBack(link_);
  if (limit_.deadline != MonoTime::Max()) {
    CHECK(limit_.timers != nullptr);
    deadline_.fired = [](Timer& timer) {
      static_cast<Deadline&>(timer).wait->Finish(WaitResult::kTimedOut);
    };
    limit_.timers->Arm(deadline_, limit_.deadline);
  }
  stop_.stopped = [](StopCallback& callback) {
    static_cast<Stop&>(callback).wait->Finish(WaitResult::kStopped);
  };
  CHECK(limit_.stop.Register(stop_));  // await_ready saw no stop and nothing ran since
}

void SignalWait::Finish(WaitResult result) {
  link_.Unlink();
  stop_.Unlink();
  if (deadline_.armed()) limit_.timers->Cancel(deadline_);
  result_ = result;
  suspension_.Wake();
}

void Signal::NotifyOne() {
  if (waits_.empty()) return;
  static_cast<SignalWait::Link*>(waits_.front())->wait->Finish(WaitResult::kNotified);
}

void Signal::NotifyAll() {
  while (!waits_.empty()) NotifyOne();
}

}  // namespace metastore::io
