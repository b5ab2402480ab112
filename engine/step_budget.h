// StepBudget: what one step of a long walk may cost before its coroutine yields: so many records,
// so many bytes, and so long where there is a clock.
//
// A local of one step; walks take it by reference and spend from it. A fresh budget always allows
// something, so every walk advances. Its caps are meant for some 300 us: a background task may get
// four steps in one turn of the reactor, which is to stay below 2 ms. The counts alone keep to that
// while the machine is quiet; the clock is for caches that are cold and processors that are slow.
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/signal.h"

namespace metastore::engine {

inline constexpr size_t kStepRecords = 1024;  // records and versions looked at, 50-300 ns each
inline constexpr size_t kStepBytes = size_t{64} << 10;  // copied, hashed or compressed
inline constexpr size_t kFreedShare = 16;               // freeing bytes costs this much less
inline constexpr Duration kStepTime = Microseconds(300);

class StepBudget final {
 public:
  // `clock` is read every kRecordsPerClockRead records; null: counts alone end the step.
  explicit StepBudget(const io::TimerService* clock, size_t records_max = kStepRecords,
                      Duration time = kStepTime)
      : clock_(clock), records_left_(records_max) {
    if (clock != nullptr) end_ = clock->Now() + time;
  }
  StepBudget(const StepBudget&) = delete;
  StepBudget& operator=(const StepBudget&) = delete;

  // False: the step is over, what was asked for is left to the next. Else it may be done now, even
  // where it is more than what was left.
  bool Spend(size_t records, size_t bytes = 0) {
    if (records_left_ == 0 || bytes_left_ == 0) return false;
    records_left_ -= records < records_left_ ? records : records_left_;
    SpendBytes(bytes);
    since_clock_read_ += records;
    if (clock_ != nullptr && since_clock_read_ >= kRecordsPerClockRead) ReadClock();
    return true;
  }
  // Known only once it was done.
  void SpendBytes(size_t bytes) { bytes_left_ -= bytes < bytes_left_ ? bytes : bytes_left_; }
  // Nothing more in this step.
  void End() { records_left_ = 0; }
  bool spent() const { return records_left_ == 0 || bytes_left_ == 0; }

 private:
  static constexpr size_t kRecordsPerClockRead = 64;

  void ReadClock() {
    since_clock_read_ = 0;
    if (clock_->Now() >= end_) End();
  }

  const io::TimerService* const clock_;
  size_t records_left_;
  size_t bytes_left_ = kStepBytes;
  size_t since_clock_read_ = 0;
  MonoTime end_;
};

}  // namespace metastore::engine
