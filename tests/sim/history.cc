#include "tests/sim/history.h"

#include <algorithm>

#include "io/base/status.h"

namespace metastore::sim_test {
namespace {

struct Interval {
  MonoTime began;
  MonoTime returned;
  int64_t revision = 0;
  bool is_write = false;
};

}  // namespace

std::vector<std::string> History::CheckOrder() const {
  std::vector<std::string> problems;
  std::map<int64_t, const WriteEvent*> by_revision;
  std::vector<Interval> calls;
  for (const WriteEvent& write : writes_) {
    if (write.revision == 0) continue;  // a delete of nothing
    const auto [at, inserted] = by_revision.emplace(write.revision, &write);
    if (!inserted) {
      problems.push_back(Concat("revision ", write.revision, " was given to ", at->second->key,
                                " and to ", write.key));
    }
    calls.push_back({write.began, write.returned, write.revision, true});
  }
  for (const ReadEvent& read : reads_) {
    calls.push_back({read.began, read.returned, read.header_revision, false});
  }
  std::ranges::sort(calls, {}, &Interval::began);
  std::vector<Interval> ended = calls;
  std::ranges::sort(ended, {}, &Interval::returned);
  int64_t floor = 0;  // greatest revision of any call that had returned
  size_t next = 0;
  for (const Interval& call : calls) {
    for (; next < ended.size() && ended[next].returned < call.began; ++next) {
      floor = std::max(floor, ended[next].revision);
    }
    const bool ordered = call.is_write ? call.revision > floor : call.revision >= floor;
    if (ordered) continue;
    problems.push_back(Concat(call.is_write ? "a write" : "a read", " begun at ", call.began.ns,
                              " got revision ", call.revision, " after ", floor,
                              " had been returned"));
  }
  return problems;
}

}  // namespace metastore::sim_test
