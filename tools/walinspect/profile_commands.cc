// The commands that count and measure: stats and fsync.
#include "tools/walinspect/commands.h"
#include "tools/walinspect/fsync_report.h"
#include "tools/walinspect/scan_run.h"
#include "tools/walinspect/stats.h"

namespace metastore::walinspect {
namespace {

struct Profiler final : wal::LogVisitor {
  Status OnSegment(const wal::ScannedFile& file) override { return feed.OnSegment(file); }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    return feed.OnFrame(file, frame);
  }
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }

  FsyncProfile profile;
  FlushFeed feed{profile};
};

struct Replay final : wal::LogVisitor {
  Replay(const WhatIfSettings& settings, const FsyncProfile& profile)
      : what_if(settings, profile.sizes.Line(), profile.overlapped_us.count() > 0 ? 2 : 1) {}
  Status OnSegment(const wal::ScannedFile& file) override { return feed.OnSegment(file); }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    return feed.OnFrame(file, frame);
  }
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }

  WhatIf what_if;
  FlushFeed feed{what_if};
};

int FsyncCode(const Request& request, const FsyncProfile& profile, wal::Verdict log) {
  const int code = ExitCode(log);
  if (!request.fsync.check || code > kExitTornTail) return code;
  return profile.Verdict() == DiskVerdict::kGood ? kExitClean : kExitSlow;
}

// Null without --what-if. The second walk needs what the first one measured.
io::Task<StatusOr<std::unique_ptr<Replay>>> RunWhatIf(io::Runtime& runtime, const Request& request,
                                                      const FsyncProfile& profile) {
  if (request.fsync.what_if.empty()) co_return std::unique_ptr<Replay>();
  const StatusOr<WhatIfSettings> settings = ParseWhatIf(request.fsync.what_if);
  if (!settings.ok()) co_return settings.status();
  StatusOr<Walked<Replay>> walked = co_await WalkLog<Replay>(
      runtime, request, [&] { return std::make_unique<Replay>(*settings, profile); });
  if (!walked.ok()) co_return walked.status();
  walked->visitor->what_if.Finish();
  co_return std::move(walked->visitor);
}

}  // namespace

io::Task<StatusOr<int>> Stats(io::Runtime& runtime, const Request& request) {
  StatusOr<Walked<LogStatistics>> walked = co_await WalkLog<LogStatistics>(
      runtime, request, [] { return std::make_unique<LogStatistics>(); });
  if (!walked.ok()) co_return walked.status();
  LogStatistics& stats = *walked->visitor;
  stats.FindPins();
  request.print(request.json() ? StatisticsJson(stats, walked->finding)
                               : StatisticsText(stats) + FindingNote(walked->finding));
  co_return ExitCode(walked->finding.verdict);
}

io::Task<StatusOr<int>> Fsync(io::Runtime& runtime, const Request& request) {
  const StatusOr<WhatIfSettings> settings = ParseWhatIf(request.fsync.what_if);
  if (!settings.ok()) co_return settings.status();  // before a long walk
  StatusOr<Walked<Profiler>> walked =
      co_await WalkLog<Profiler>(runtime, request, [] { return std::make_unique<Profiler>(); });
  if (!walked.ok()) co_return walked.status();
  const FsyncProfile& profile = walked->visitor->profile;
  StatusOr<std::unique_ptr<Replay>> replay = co_await RunWhatIf(runtime, request, profile);
  if (!replay.ok()) co_return replay.status();
  const FsyncReport report{.profile = profile,
                           .untimed = walked->visitor->feed.untimed(),
                           .what_if = *replay == nullptr ? nullptr : &(*replay)->what_if};
  request.print(request.json() ? ReportJson(report, walked->finding)
                               : ReportText(report) + FindingNote(walked->finding));
  if (!request.fsync.svg.empty()) {
    const Status written = request.write_file(
        request.fsync.svg, profile.heat.Svg("flush time over time, " + request.directory));
    if (!written.ok()) co_return written;
  }
  co_return FsyncCode(request, profile, walked->finding.verdict);
}

}  // namespace metastore::walinspect
