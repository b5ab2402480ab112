#include "tools/walinspect/scan_run.h"

#include "io/base/check.h"

namespace metastore::walinspect {
namespace {

constexpr uint64_t kProgressBytes = 16 * limits::kMiB;

// Hands everything on and counts the bytes.
class ProgressVisitor final : public wal::LogVisitor {
 public:
  ProgressVisitor(wal::LogVisitor& inner, const Request& request, uint64_t total)
      : inner_(inner), request_(request), total_(total) {}

  Status OnSegment(const wal::ScannedFile& file) override { return inner_.OnSegment(file); }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    Tell(frame.header.frame_bytes);
    return inner_.OnFrame(file, frame);
  }
  Status OnFooter(const wal::ScannedFile& file, const wal::Footer& footer) override {
    return inner_.OnFooter(file, footer);
  }

 private:
  void Tell(uint64_t bytes) {
    done_ += bytes;
    if (!request_.progress || done_ < next_) return;
    next_ = done_ + kProgressBytes;
    request_.progress(done_, total_);
  }

  wal::LogVisitor& inner_;
  const Request& request_;
  uint64_t total_;
  uint64_t done_ = 0;
  uint64_t next_ = kProgressBytes;
};

}  // namespace

int ExitCode(wal::Verdict verdict) {
  switch (verdict) {
    case wal::Verdict::kClean:
      return kExitClean;
    case wal::Verdict::kTornTail:
      return kExitTornTail;
    case wal::Verdict::kCorrupt:
      return kExitCorrupt;
    case wal::Verdict::kForeign:
      return kExitForeign;
  }
  CHECK_UNREACHABLE();
}

std::string_view FileName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

wal::ScanOptions OptionsOf(const Request& request) {
  return {.directory = request.directory, .identity = request.identity};
}

io::Task<Status> RunScan(wal::LogScan& scan, wal::LogVisitor& visitor, const Request& request) {
  Status opened = co_await scan.OpenFiles();
  if (!opened.ok()) co_return opened;
  if (scan.files().empty())
    co_return NotFoundError(
        "no log segments in the directory; a node's are in DATA-DIR/member/wal");
  Status headers = co_await scan.ReadHeaders();
  if (!headers.ok()) co_return headers;
  uint64_t total = 0;
  for (size_t i : scan.live()) total += scan.files()[i].file->size();
  ProgressVisitor counted(visitor, request, total);
  Status walked = co_await scan.Walk(counted);
  if (request.progress) request.progress(total, total);
  co_return walked;
}

std::string FindingLine(const wal::Finding& finding) {
  std::string line(wal::VerdictText(finding.verdict));
  if (finding.verdict == wal::Verdict::kClean) return line + "\n";
  line += Concat(" ", finding.file, " offset ", finding.offset);
  if (finding.lsn != Lsn()) line += Concat(" frame ", finding.lsn.value());
  line += Concat(": ", finding.detail);
  if (finding.verdict == wal::Verdict::kTornTail) line += " (never acknowledged)";
  if (finding.may_hide_hard_state) line += " (a hard state may be hidden)";
  return line + "\n";
}

std::string FindingNote(const wal::Finding& finding) {
  if (finding.verdict == wal::Verdict::kClean) return "";
  return Concat("log: ", FindingLine(finding));
}

}  // namespace metastore::walinspect
