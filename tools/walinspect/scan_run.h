// Reading a directory for a command: one walk over the log through wal::LogScan, progress shown
// meanwhile, the verdict as an exit code and as a line.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tools/walinspect/commands.h"

namespace metastore::walinspect {

int ExitCode(wal::Verdict verdict);
std::string_view FileName(std::string_view path);
wal::ScanOptions OptionsOf(const Request& request);

// Opens `scan`, walks it through `visitor` and tells request.progress how far it is.
// Errors: kNotFound  no segment is in the directory; else those of reading it
io::Task<Status> RunScan(wal::LogScan& scan, wal::LogVisitor& visitor, const Request& request);

// What a walk found, and what its visitor has gathered.
template <typename Visitor>
struct Walked {
  std::unique_ptr<Visitor> visitor;
  wal::Finding finding;
};

// A running node may recycle a segment under the scan: damage counts only if it is found again.
inline constexpr int kScanAttempts = 3;

// Walks the log of `request` through a visitor of `make`; anew, through another one, while it looks
// damaged. Errors: as RunScan
template <typename Visitor>
io::Task<StatusOr<Walked<Visitor>>> WalkLog(io::Runtime& runtime, const Request& request,
                                            std::function<std::unique_ptr<Visitor>()> make) {
  for (int attempt = 1;; ++attempt) {
    Walked<Visitor> walked{.visitor = make(), .finding = {}};
    wal::LogScan scan(runtime, OptionsOf(request));
    Status scanned = co_await RunScan(scan, *walked.visitor, request);
    if (!scanned.ok()) co_return scanned;
    walked.finding = scan.finding();
    if (walked.finding.verdict == wal::Verdict::kCorrupt && attempt < kScanAttempts) continue;
    co_return std::move(walked);
  }
}

// "CLEAN", or the verdict with file, offset and reason; ends the line.
std::string FindingLine(const wal::Finding& finding);
// A line for people who asked for something else than the verdict: empty when clean.
std::string FindingNote(const wal::Finding& finding);

}  // namespace metastore::walinspect
