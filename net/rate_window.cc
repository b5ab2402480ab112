#include "net/rate_window.h"

#include <cstddef>

namespace metastore::net {
namespace {

int64_t SecondOf(MonoTime now) { return now.ns / Seconds(1).ns; }

}  // namespace

void RateWindow::Count(MonoTime now, uint64_t events) {
  const int64_t number = SecondOf(now);
  Second& second = seconds_[static_cast<size_t>(number) % seconds_.size()];
  if (second.number != number) second = {.number = number};
  second.events += events;
}

double RateWindow::PerSecond(MonoTime now) const {
  const int64_t under_way = SecondOf(now);
  uint64_t events = 0;
  for (const Second& second : seconds_) {
    const bool within = second.number >= under_way - kSeconds && second.number < under_way;
    if (within && second.number >= 0) events += second.events;
  }
  return static_cast<double>(events) / static_cast<double>(kSeconds);
}

}  // namespace metastore::net
