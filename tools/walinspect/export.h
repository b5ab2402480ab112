// Exporters of a log's flushes for other programs: JSON lines, Prometheus text, a Chrome trace.
// Each prints while the log is walked, but for Prometheus, which sums up. README.md has the
// schemas.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "io/base/status.h"
#include "tools/walinspect/flush_feed.h"

namespace metastore::walinspect {

class Exporter : public FlushSink {
 public:
  using Print = std::function<void(std::string_view)>;
  // Once, after the last flush.
  virtual void Finish(const wal::Finding& finding) = 0;
};

// "json": one object a flush, schema "walinspect.flush/1" on each line.
// "prometheus": histograms of gather time, flush time, bytes and requests.
// "chrome-trace": for chrome://tracing and Perfetto: each flush a complete event on the track of
// its depth slot, its gathering on a track beside it. Errors: kInvalidArgument  another format
StatusOr<std::unique_ptr<Exporter>> MakeExporter(std::string_view format, Exporter::Print print);

}  // namespace metastore::walinspect
