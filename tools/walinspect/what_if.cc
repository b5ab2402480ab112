#include "tools/walinspect/what_if.h"

#include <algorithm>
#include <charconv>

#include "io/base/check.h"

namespace metastore::walinspect {
namespace {

bool ParsePolicy(std::string_view value, server::BatchPolicyKind& policy) {
  const std::optional<server::BatchPolicyKind> called = server::BatchPolicyCalled(value);
  if (called.has_value()) policy = *called;
  return called.has_value();
}

bool ParseCount(std::string_view value, uint32_t first, uint32_t last, uint32_t& count) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), count);
  return error == std::errc() && end == value.data() + value.size() && count >= first &&
         count <= last;
}

constexpr uint32_t kBatchLimit = 1'000'000;
constexpr uint32_t kRequestBytesMin = 7;  // the least that a record takes

server::BatchOptions OptionsFor(const WhatIfSettings& settings) {
  server::BatchOptions options;
  if (settings.batch_max > 0) options.size_max = settings.batch_max;
  return options;
}

}  // namespace

StatusOr<WhatIfSettings> ParseWhatIf(std::string_view text) {
  WhatIfSettings settings;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const size_t equals = std::min(part.find('='), part.size());
    const std::string_view key = part.substr(0, equals);
    const std::string_view value = part.substr(std::min(equals + 1, part.size()));
    const bool good =
        (key == "policy" && ParsePolicy(value, settings.policy)) ||
        (key == "depth" && ParseCount(value, 1, limits::kWalDepthMax, settings.depth)) ||
        (key == "max-batch" && ParseCount(value, 1, kBatchLimit, settings.batch_max));
    if (!good) {
      return InvalidArgumentError(
          "not a part of --what-if (policy=natural|off|adaptive, depth=1|2, max-batch=N): ", part);
    }
  }
  return settings;
}

std::string SettingsText(const WhatIfSettings& settings) {
  std::string text =
      Concat("policy=", server::BatchPolicyName(settings.policy), ",depth=", settings.depth);
  if (settings.batch_max > 0) text += Concat(",max-batch=", settings.batch_max);
  return text;
}

QueueModel::QueueModel(const WhatIfSettings& settings, const CostLine& line)
    : settings_(settings),
      line_(line),
      policy_(server::MakeBatchPolicy(settings.policy, OptionsFor(settings))) {}

void QueueModel::Arrive(const Arrival& arrival) {
  if (result_.saturated) return;
  if (arrival.at_ns > now_ns_) {
    if (unasked_) Ask();
    AdvanceTo(arrival.at_ns);
    now_ns_ = arrival.at_ns;
  }
  speed_ = arrival.speed;
  waiting_.push_back(arrival);
  unasked_ = true;
  result_.saturated = ++backlog_ > kBacklogMax;
}

void QueueModel::Drain() {
  if (!result_.saturated) {
    if (unasked_) Ask();
    AdvanceTo(INT64_MAX);
  }
  waiting_.clear();
  gathering_.clear();
  in_flight_.clear();
  backlog_ = 0;
  now_ns_ = 0;
  ask_again_ns_ = INT64_MAX;
}

// Everything that happens up to `until_ns`.
void QueueModel::AdvanceTo(int64_t until_ns) {
  while (true) {
    const auto first = std::ranges::min_element(in_flight_, {}, &Batch::end_ns);
    const int64_t end_ns = first == in_flight_.end() ? INT64_MAX : first->end_ns;
    const int64_t next_ns = std::min(end_ns, ask_again_ns_);
    if (next_ns == INT64_MAX || next_ns > until_ns) return;
    now_ns_ = std::max(now_ns_, next_ns);
    if (next_ns == end_ns) Complete(static_cast<size_t>(first - in_flight_.begin()));
    Ask();
  }
}

void QueueModel::Complete(size_t place) {
  const Batch done = std::move(in_flight_[place]);
  in_flight_.erase(in_flight_.begin() + static_cast<ptrdiff_t>(place));
  for (int64_t arrived_ns : done.arrivals) {
    result_.latency_us.Add(static_cast<uint64_t>(std::max<int64_t>(now_ns_ - arrived_ns, 0)) /
                           1000);
  }
  backlog_ -= done.arrivals.size();
  Pump();
}

void QueueModel::Ask() {
  ask_again_ns_ = INT64_MAX;
  unasked_ = false;
  while (!waiting_.empty()) {
    const server::BatchDecision decision =
        policy_->Decide({.waiting = waiting_.size(),
                         .flushing = !gathering_.empty() || !in_flight_.empty(),
                         .now = MonoTime{now_ns_}});
    if (decision.take == 0) {
      if (decision.ask_again != MonoTime::Max()) ask_again_ns_ = decision.ask_again.ns;
      return;
    }
    Take(std::min(decision.take, waiting_.size()));
    Pump();
  }
}

void QueueModel::Take(size_t count) {
  const size_t batch_max = settings_.batch_max == 0 ? SIZE_MAX : settings_.batch_max;
  for (; count > 0; --count) {
    const Arrival& arrival = waiting_.front();
    const bool full = gathering_.empty() || gathering_.back().arrivals.size() >= batch_max ||
                      gathering_.back().bytes + arrival.bytes > limits::kFrameBytesMax / 2;
    if (full) gathering_.emplace_back().bytes = wal::kFrameHeaderBytes;
    gathering_.back().arrivals.push_back(arrival.at_ns);
    gathering_.back().bytes += arrival.bytes;
    waiting_.pop_front();
  }
}

void QueueModel::Pump() {
  while (in_flight_.size() < settings_.depth && !gathering_.empty()) {
    Batch batch = std::move(gathering_.front());
    gathering_.pop_front();
    const double us = line_.At(wal::RoundUpToBlock(batch.bytes)) * speed_;
    batch.end_ns = now_ns_ + std::max<int64_t>(static_cast<int64_t>(us * 1000), 1000);
    ++result_.flushes;
    in_flight_.push_back(std::move(batch));
  }
}

WhatIf::WhatIf(const WhatIfSettings& settings, const CostLine& line, uint32_t depth_was)
    : settings_(settings),
      line_(line),
      as_it_was_({.depth = depth_was}, line),
      changed_(settings, line) {}

void WhatIf::OnFlush(const Flush& flush) {
  if ((flush.flags & wal::kFramePromiseOnly) != 0) return;
  if (flush.epoch != epoch_) Finish();
  epoch_ = flush.epoch;
  ++measured_.flushes;
  // Each wrote a record. A header may say anything.
  const uint32_t count = std::clamp(flush.requests, 1u, flush.body_bytes / kRequestBytesMin + 1);
  const int64_t begin_ns = flush.submitted_mono.ns - int64_t{flush.gather_us} * 1000;
  const double usual_us = std::max(line_.At(flush.bytes), 1.0);
  QueueModel::Arrival arrival{.bytes = flush.body_bytes / count,
                              .speed = static_cast<double>(flush.flush_us) / usual_us};
  for (uint32_t i = 0; i < count; ++i) {
    const int64_t after_us = int64_t{flush.gather_us} * i / count / kTurnUs * kTurnUs;
    arrival.at_ns = begin_ns + after_us * 1000;
    const int64_t latency_ns = flush.end_ns() - arrival.at_ns;
    measured_.latency_us.Add(static_cast<uint64_t>(std::max<int64_t>(latency_ns, 0)) / 1000);
    as_it_was_.Arrive(arrival);
    changed_.Arrive(arrival);
  }
}

void WhatIf::Finish() {
  as_it_was_.Drain();
  changed_.Drain();
}

}  // namespace metastore::walinspect
