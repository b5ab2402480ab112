#include "server/stage_times.h"

#include <algorithm>
#include <cstdio>

#include "io/base/check.h"
#include "io/base/status.h"

namespace metastore::server {

std::array<Duration, kStages> StageTimes::Spans() const {
  return {flight.proposed - began, flight.submitted - flight.proposed,
          flight.durable - flight.submitted, applied - flight.durable, answered - applied};
}

std::string StagesText(const StageTimes& times) {
  std::string text;
  const std::array<Duration, kStages> spans = times.Spans();
  for (size_t stage = 0; stage < kStages; ++stage) {
    char number[32];
    std::snprintf(number, sizeof(number), "%.3f", static_cast<double>(spans[stage].ns) / 1e3);
    text += Concat(stage == 0 ? "" : ",", kStageNames[stage], "=", std::string_view(number));
  }
  return text;
}

void StageLog::Note(LogIndex first, LogIndex last, const FlightTimes& times) {
  CHECK_LE(first, last);
  while (!runs_.empty() && runs_.back().first >= first) runs_.pop_back();
  if (!runs_.empty() && runs_.back().last >= first) runs_.back().last = first - 1;
  if (runs_.size() == kRunsMax) runs_.pop_front();
  runs_.push_back({first, last, times});
}

std::optional<FlightTimes> StageLog::Find(LogIndex index) const {
  const auto run = std::ranges::lower_bound(runs_, index, {}, &Run::last);
  if (run == runs_.end() || run->first > index) return std::nullopt;
  return run->times;
}

void StageLog::Drop(LogIndex applied) {
  while (!runs_.empty() && runs_.front().last <= applied) runs_.pop_front();
}

namespace {

bool Asks(const net::GrpcRequest& request) {
  return request.metadata.Find(StageMeter::kKey) == std::string_view("1");
}

}  // namespace

bool StageMeter::Measures(const net::GrpcRequest& request) {
  const bool takes_next = ++writes_ % kMeasuredEvery == 0;
  return takes_next || Asks(request);
}

void StageMeter::Keep(const net::GrpcRequest& request, const StageTimes& times) {
  kept_.push_back({&request, times});
}

void StageMeter::Finish(const net::GrpcRequest& request, MonoTime now, net::GrpcReply& reply) {
  const auto kept = std::ranges::find(kept_, &request, &Kept::request);
  if (kept == kept_.end()) return;
  kept->times.answered = now;
  const std::array<Duration, kStages> spans = kept->times.Spans();
  for (size_t stage = 0; stage < kStages; ++stage) stages_[stage].Observe(spans[stage]);
  propose_.Observe(kept->times.applied - kept->times.began);
  if (Asks(request)) reply.trailers.Add(kKey, StagesText(kept->times));
  *kept = kept_.back();
  kept_.pop_back();
}

void StageMeter::AddMetrics(io::MetricList& list) const {
  list.Add("raft_propose_duration_ms",
           "Measured writes (one in 16), from their receipt until they are applied.", propose_);
  for (size_t stage = 0; stage < kStages; ++stage) {
    list.Add("metastore_request_stage_seconds", "Stages of measured writes (one in 16).",
             stages_[stage], {{"stage", kStageNames[stage]}});
  }
}

}  // namespace metastore::server
