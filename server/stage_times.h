// Where the time of one write goes: five stages without a gap between them.
//
//   gather   from the decoded request on its client's core until raft and the log have it: the way
//            to the state core, admission, waiting for the pump
//   queue    until its frame is submitted to the disk
//   flush    until that is durable, and everything before it
//   apply    until it is applied
//   send     until its answer is encoded and given to its connection
//
// Not every write is measured: those that ask for it (metadata metastore-stages: 1), and every
// kMeasuredEvery-th of each core. The others cost a branch.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/ids.h"
#include "io/base/time.h"
#include "io/metrics.h"
#include "net/grpc.h"

namespace metastore::server {

inline constexpr size_t kStages = 5;
inline constexpr std::string_view kStageNames[kStages] = {"gather", "queue", "flush", "apply",
                                                          "send"};

// What became of a run of log entries, on the runtime's clock.
struct FlightTimes {
  MonoTime proposed;
  MonoTime submitted;
  MonoTime durable;
  bool operator==(const FlightTimes&) const = default;
};

// The points in the life of one measured write.
struct StageTimes {
  MonoTime began;
  FlightTimes flight;
  MonoTime applied;
  MonoTime answered;

  // By stage, in the order of kStageNames.
  std::array<Duration, kStages> Spans() const;
  bool operator==(const StageTimes&) const = default;
};

// The value of the trailer metastore-stages: gather=1.234,queue=0.000,flush=...,apply=...,send=...
// in microseconds.
std::string StagesText(const StageTimes& times);

// The times of entries that are durable and not yet applied. Owned by Proposals, on the state core.
class StageLog final {
 public:
  // Runs kept at most; the oldest go first: their writes are not measured.
  static constexpr size_t kRunsMax = 4096;

  // Entries [first, last], behind all noted before; where they replace some of those, these count.
  void Note(LogIndex first, LogIndex last, const FlightTimes& times);
  // Of entry `index`; nothing: not known.
  std::optional<FlightTimes> Find(LogIndex index) const;
  // Forgets entries through `applied`.
  void Drop(LogIndex applied);

 private:
  struct Run {
    LogIndex first;
    LogIndex last;
    FlightTimes times;
  };
  std::deque<Run> runs_;  // ascending
};

inline constexpr Duration kStageBounds[] = {
    Microseconds(1),   Microseconds(2),   Microseconds(5),   Microseconds(10),  Microseconds(20),
    Microseconds(50),  Microseconds(100), Microseconds(200), Microseconds(500), Milliseconds(1),
    Milliseconds(2),   Milliseconds(5),   Milliseconds(10),  Milliseconds(20),  Milliseconds(50),
    Milliseconds(100), Milliseconds(200), Milliseconds(500), Seconds(1),        Seconds(5)};

// Chooses which writes are measured, and keeps their histograms. One an edge core, owned by Edge.
class StageMeter final {
 public:
  static constexpr uint64_t kMeasuredEvery = 16;
  static constexpr std::string_view kKey = "metastore-stages";  // of metadata and trailer

  // Whether this write is to be measured; asked once for each.
  bool Measures(const net::GrpcRequest& request);
  // The write succeeded with `times` (but `answered`); its answer follows (Finish).
  void Keep(const net::GrpcRequest& request, const StageTimes& times);
  bool keeps_any() const { return !kept_.empty(); }
  // The request's answer is about to be given to its connection: if it is a kept one, it is
  // counted, and told in a trailer to a client that asked.
  void Finish(const net::GrpcRequest& request, MonoTime now, net::GrpcReply& reply);
  void AddMetrics(io::MetricList& list) const;

 private:
  struct Kept {
    const net::GrpcRequest* request;  // only compared
    StageTimes times;
  };

  uint64_t writes_ = 0;
  std::vector<Kept> kept_;  // a few at a time: answers being encoded
  io::Histogram propose_{kStageBounds, io::SpanUnit::kMilliseconds};
  std::array<io::Histogram, kStages> stages_{
      io::Histogram(kStageBounds), io::Histogram(kStageBounds), io::Histogram(kStageBounds),
      io::Histogram(kStageBounds), io::Histogram(kStageBounds)};
};

}  // namespace metastore::server
