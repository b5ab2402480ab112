// Puts of the watch and lease generators: closed loop, or paced by a schedule that does not wait
// for answers (so that a stalled server is seen in the latencies, not hidden by fewer requests).
//
// A put is complete once it was answered and, where the owner says so, delivered to every watcher.
// Every answer is checked: grpc-status 0 and a revision that nobody else got. One thread.
// Limits: kInFlightMax puts that are not complete; a schedule that runs further ahead stands still,
// and its time goes into the latencies.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/acked.h"
#include "bench/load/clock.h"
#include "bench/load/connection.h"
#include "bench/load/faults.h"
#include "bench/load/histogram.h"
#include "bench/load/poller.h"
#include "bench/load/workload.h"

namespace metastore::bench {

struct PutOptions {
  uint64_t connections = 1;
  uint64_t streams = 16;
  double rate = 0;          // puts a second; 0: closed loop
  uint64_t window = 0;      // puts answered but not delivered and those in flight; 0: no bound
  uint64_t deliveries = 0;  // of each put; 0: none are awaited
};

class PutLoad final : public CallSource {
 public:
  static constexpr uint64_t kInFlightMax = 1 << 20;
  static constexpr uint64_t kWaitMaxNs = 1'000'000;

  PutLoad(const PutOptions& options, const Workload& workload, Faults& faults)
      : options_(options),
        workload_(workload),
        faults_(faults),
        random_(NowNs()),
        puts_(kInFlightMax) {}

  // Connects, round the ports. False: the reason is among the faults.
  bool Open(const std::vector<uint16_t>& ports, Poller& poller) {
    for (uint64_t i = 0; i < options_.connections; i++) {
      auto connection =
          std::make_unique<Connection>(workload_, *this, static_cast<uint32_t>(options_.streams));
      if (!connection->Open(ports[i % ports.size()])) {
        faults_.Add("put connection: " + connection->failure());
        return false;
      }
      poller.Add(*connection);
      connections_.push_back(std::move(connection));
    }
    return true;
  }

  // From `now` on puts are issued; latencies count from `measure` until `end`.
  void Start(uint64_t now, uint64_t measure, uint64_t end) {
    running_ = true;
    due_ = now;
    measure_ns_ = measure;
    end_ns_ = end;
  }
  // Issues at most so many in all.
  void LimitTo(uint64_t count) { limit_ = issued_ + count; }
  // Keys in order instead of random ones.
  void InOrder() { in_order_ = true; }
  void Stop() { running_ = false; }
  void SetNow(uint64_t now) { now_ = now; }

  // Begins what may be begun; the owner calls it each turn.
  void Pump(uint64_t now) {
    now_ = now;
    for (const auto& connection : connections_) connection->Pump(now);
  }

  // One watcher got the put of `value_id`. False: it is none of this run.
  bool Delivered(uint64_t value_id) {
    if (value_id <= base_id_ || value_id > base_id_ + issued_) return false;
    Put& put = PutOf(value_id);
    if (put.value_id != value_id || put.deliveries_left == 0) return false;
    put.deliveries_left--;
    if (put.deliveries_left > 0) return true;
    if (put.start_ns >= measure_ns_ && now_ < end_ns_) last_delivery_.Record(now_ - put.start_ns);
    if (put.answered) Complete();
    return true;
  }

  // How long the owner may wait for events before the next Pump.
  uint64_t WaitNs(uint64_t now) const {
    return options_.rate > 0 && running() && due_ > now ? std::min(due_ - now, kWaitMaxNs)
                                                        : kWaitMaxNs;
  }

  bool running() const { return running_ && issued_ < limit_; }
  uint64_t issued() const { return issued_; }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t incomplete() const { return issued_ - complete_; }
  int64_t revision_max() const { return revision_max_; }
  const LatencyHistogram& latency() const { return latency_; }
  const LatencyHistogram& last_delivery() const { return last_delivery_; }

  bool Next(Request* request) override {
    const bool windowed = options_.window != 0 && incomplete() >= options_.window;
    if (!running() || windowed || incomplete() >= kInFlightMax) return false;
    if (options_.rate > 0) {
      if (due_ > now_) return false;
      request->start_ns = due_;
      due_ += static_cast<uint64_t>(1e9 / options_.rate);
    }
    request->op = Op::kPut;
    const uint32_t keys = workload_.space().keys;
    request->key = in_order_ ? static_cast<uint32_t>(issued_ % keys) : random_.Below(keys);
    request->value_id = base_id_ + ++issued_;
    request->floor = revision_max_;
    PutOf(request->value_id) = {.value_id = request->value_id,
                                .start_ns = request->start_ns,
                                .deliveries_left = static_cast<uint32_t>(options_.deliveries)};
    return true;
  }

  void Done(const Request& request, const Answer& answer, const Outcome& outcome) override {
    Put& put = PutOf(request.value_id);
    put.answered = true;
    if (put.deliveries_left == 0) Complete();
    if (outcome.grpc_status != 0) {
      faults_.Add("put: grpc-status " + std::to_string(outcome.grpc_status) + " " +
                  std::string(outcome.message));
      return;
    }
    acknowledged_++;
    if (answer.revision <= request.floor) faults_.Add("put: a revision below an earlier one");
    if (!revisions_.Insert(answer.revision)) faults_.Add("put: a revision was given twice");
    revision_max_ = std::max(revision_max_, answer.revision);
    if (request.start_ns >= measure_ns_ && now_ < end_ns_) {
      latency_.Record(now_ - request.start_ns);
    }
  }

  void Lost(const Request&) override { faults_.Add("put: the connection died"); }

 private:
  struct Put {
    uint64_t value_id = 0;
    uint64_t start_ns = 0;
    uint32_t deliveries_left = 0;
    bool answered = false;
  };

  Put& PutOf(uint64_t value_id) { return puts_[value_id & (kInFlightMax - 1)]; }
  void Complete() { complete_++; }

  const PutOptions options_;
  const Workload& workload_;
  Faults& faults_;
  Random random_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Put> puts_;  // ring by value id
  RevisionSet revisions_;
  LatencyHistogram latency_;
  LatencyHistogram last_delivery_;
  const uint64_t base_id_ = Mix64(NowNs()) >> 24 << 24;
  bool running_ = false;
  bool in_order_ = false;
  uint64_t limit_ = UINT64_MAX;
  uint64_t due_ = 0;
  uint64_t now_ = 0;
  uint64_t measure_ns_ = 0;
  uint64_t end_ns_ = 0;
  uint64_t issued_ = 0;
  uint64_t complete_ = 0;
  uint64_t acknowledged_ = 0;
  int64_t revision_max_ = 0;
};

}  // namespace metastore::bench
