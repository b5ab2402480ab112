// Fuzz target: bytes as the kernel's trace. Whatever they say, a flush's stages must add up to its
// time, and none may be negative.
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string_view>

#include "io/base/check.h"
#include "tools/walinspect/flush_split.h"
#include "tools/walinspect/trace_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using metastore::walinspect::SplitFlush;
  using metastore::walinspect::TraceEvent;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<TraceEvent> events = metastore::walinspect::ParseTrace(text);
  for (size_t i = 1; i < events.size(); ++i) CHECK_LE(events[i - 1].at_ns, events[i].at_ns);
  // The flush of the corpus' trace, and one as long as it can be.
  for (const int64_t begin_ns : {int64_t{12'230'308'740'000}, int64_t{0}}) {
    const metastore::wal::FlushRecord flush{
        .opened = {begin_ns}, .submitted = {begin_ns}, .completed = {INT64_MAX}, .bytes = 4096};
    const std::optional<SplitFlush> split =
        metastore::walinspect::SplitOf(events, flush, {.thread = 16792, .inodes = {11028690}});
    if (!split) continue;
    for (const int64_t ns : split->stage_ns) CHECK_GE(ns, 0);
    CHECK_EQ(std::accumulate(split->stage_ns.begin(), split->stage_ns.end(), int64_t{0}),
             INT64_MAX - begin_ns);
  }
  return 0;
}
