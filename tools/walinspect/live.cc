// walinspect live: the flushes of a running node, again and again.
#include <algorithm>

#include "tools/walinspect/commands.h"
#include "tools/walinspect/live_report.h"
#include "tools/walinspect/node_ring.h"
#include "tools/walinspect/trace_session.h"

namespace metastore::walinspect {
namespace {

// Of each interval the kernel is traced for this long at most: it costs the node something.
constexpr Duration kTraceWindow = Milliseconds(250);

constexpr std::string_view kScreenBegin = "\033[?1049h";
constexpr std::string_view kScreenEnd = "\033[?1049l";

// Redraws from the top, each line to its end, and clears what is left below.
std::string Redrawn(std::string_view text) {
  std::string drawn = "\033[H";
  for (const char c : text) drawn += c == '\n' ? "\033[K\n" : std::string(1, c);
  return drawn + "\033[J";
}

// The events of a stretch of time.
struct Traced {
  MonoTime from;
  MonoTime until;
  std::vector<TraceEvent> events;
};

class LiveView final {
 public:
  LiveView(io::Runtime& runtime, const Request& request) : runtime_(runtime), request_(request) {}

  io::Task<StatusOr<int>> Run() {
    const LiveOptions& options = request_.live;
    if (options.terminal) request_.print(kScreenBegin);
    Status status;
    for (uint64_t shown = 0; options.count == 0 || shown < options.count; ++shown) {
      Status found = Attach(options.count == 1);
      if (!found.ok()) status = std::move(found);
      if (!status.ok()) break;
      const bool stopped = co_await WaitInterval();
      if (stopped) break;
      Refresh();
      if (options.stop.stopped()) break;  // nobody reads any more
    }
    if (options.terminal) request_.print(Concat(kScreenEnd, last_text_));
    if (!status.ok()) co_return status;
    co_return kExitClean;
  }

 private:
  // Finds a node if there is none. Its absence is an error only where there is no second look;
  // what keeps from seeing one is an error only until one was seen.
  Status Attach(bool must) {
    if (node_ != nullptr && node_->Alive()) return OkStatus();
    StatusOr<std::unique_ptr<NodeRing>> found = NodeRing::Find(request_.directory);
    if (found.ok()) {
      node_ = *std::move(found);
      seen_ = node_->ring().written();
      seen_at_ = runtime_.Now();
      split_ = SplitProfile();
      AttachTrace();
      return OkStatus();
    }
    trace_.reset();
    split_absent_ = "the node has ended";
    reason_ = StdView(found.status().message());
    const bool may_come = node_ != nullptr || found.status().code() == StatusCode::kNotFound ||
                          found.status().code() == StatusCode::kUnavailable;
    return may_come && !must ? OkStatus() : found.status();
  }

  void AttachTrace() {
    trace_.reset();
    split_absent_ = "not asked for";
    if (!request_.live.trace) return;
    // The log is core 0's, which is the process's first thread.
    StatusOr<std::unique_ptr<TraceSession>> session = TraceSession::Open(node_->process());
    if (session.ok()) {
      trace_ = *std::move(session);
    } else {
      split_absent_ = StdView(session.status().message());
    }
  }

  // True: stopped meanwhile.
  io::Task<bool> WaitInterval() {
    const LiveOptions& options = request_.live;
    const MonoTime end = runtime_.Now() + options.interval;
    const MonoTime traced = runtime_.Now() + std::min(options.interval, kTraceWindow);
    const bool tracing = trace_ != nullptr && StartTrace();
    if (tracing) {
      const io::WaitResult waited = co_await io::SleepUntil(runtime_, traced, options.stop);
      StopTrace();
      if (waited == io::WaitResult::kStopped) co_return true;
      SplitTraced();
    }
    const io::WaitResult waited = co_await io::SleepUntil(runtime_, end, options.stop);
    co_return waited == io::WaitResult::kStopped;
  }

  bool StartTrace() {
    const Status started = trace_->Start();
    traced_ = {.from = runtime_.Now(), .until = {}, .events = {}};
    if (!started.ok()) LoseTrace(started);
    return started.ok();
  }
  void StopTrace() {
    traced_.until = runtime_.Now();
    StatusOr<std::string> text = trace_->Stop();
    if (!text.ok()) return LoseTrace(text.status());
    traced_.events = ParseTrace(*text);
  }
  void LoseTrace(const Status& why) {
    trace_.reset();
    split_absent_ = StdView(why.message());
  }

  void SplitTraced() {
    for (const TraceEvent& event : traced_.events) {
      if (event.kind == TraceKind::kLost) split_.AddLost(event.sectors);
    }
    StatusOr<std::set<uint64_t>> inodes = LogInodes(request_.directory);
    const SplitSubject subject{.thread = node_->process(),
                               .inodes = inodes.ok() ? *std::move(inodes) : std::set<uint64_t>()};
    const wal::FlushRingReader& ring = node_->ring();
    for (uint64_t i = ring.oldest(); i < ring.written(); ++i) {
      const std::optional<wal::FlushRecord> flush = ring.Read(i);
      if (!flush || flush->submitted < traced_.from || flush->completed > traced_.until) continue;
      const std::optional<SplitFlush> split = SplitOf(traced_.events, *flush, subject);
      split ? split_.Add(*split) : split_.AddUnsplit();
    }
    traced_.events.clear();
  }

  void Refresh() {
    if (node_ == nullptr) {
      Show(WaitingText(request_.directory, reason_),
           [&] { return WaitingJson(runtime_.WallNow(), reason_); });
      return;
    }
    const std::unique_ptr<LiveSnapshot> snapshot = TakeSnapshot();
    const LiveReport report{.snapshot = *snapshot,
                            .directory = request_.directory,
                            .split = trace_ != nullptr ? &split_ : nullptr,
                            .split_absent = split_absent_};
    const LiveOptions& options = request_.live;
    const size_t rows = options.terminal && options.rows ? options.rows() : 0;
    if (options.terminal) last_text_ = LiveText(report, 0);
    Show(request_.json() ? std::string() : LiveText(report, rows),
         [&] { return LiveJson(report); });
  }

  std::unique_ptr<LiveSnapshot> TakeSnapshot() {
    auto snapshot = std::make_unique<LiveSnapshot>();
    const wal::FlushRingReader& ring = node_->ring();
    snapshot->at = runtime_.WallNow();
    snapshot->process = node_->process();
    snapshot->running = node_->Alive();
    snapshot->written = ring.written();
    for (uint64_t i = ring.oldest(); i < snapshot->written; ++i) {
      const std::optional<wal::FlushRecord> flush = ring.Read(i);
      if (!flush) {
        ++snapshot->missed;
      } else {
        snapshot->Add(*flush, i >= seen_);
      }
    }
    const MonoTime now = runtime_.Now();
    snapshot->recent_span = now - seen_at_;
    seen_ = snapshot->written;
    seen_at_ = now;
    return snapshot;
  }

  void Show(const std::string& text, const std::function<std::string()>& json) {
    if (request_.json()) {
      request_.print(json());
    } else {
      request_.print(request_.live.terminal ? Redrawn(text) : text + "\n");
    }
  }

  io::Runtime& runtime_;
  const Request& request_;
  std::unique_ptr<NodeRing> node_;  // the last one, also when it has ended
  std::string reason_;              // why there is none
  std::unique_ptr<TraceSession> trace_;
  std::string split_absent_;  // why there is none
  Traced traced_;
  SplitProfile split_;
  uint64_t seen_ = 0;  // of the ring, at the last refresh
  MonoTime seen_at_ = runtime_.Now();
  std::string last_text_;
};

}  // namespace

io::Task<StatusOr<int>> Live(io::Runtime& runtime, const Request& request) {
  LiveView view(runtime, request);
  StatusOr<int> code = co_await view.Run();
  co_return code;
}

}  // namespace metastore::walinspect
