// WhatIf: the requests of a log served again by a model of the commit path with another batch
// policy, depth or batch limit. Pure.
//
// The model: a request arrives where its frame gathered (spread evenly over the gather time), waits
// until the policy (the server's own, server/batch_policy.h) proposes it, gathers into the next
// frame and is answered when that frame's flush ends. A flush takes what the fitted line says for
// its size, times how much slower or quicker than the line the disk was at that moment of the log.
// Limits: arrivals are kept as they were, though clients that wait for answers would come earlier
// if these were quicker; processor time is not modelled. So that both can be judged, the model also
// runs with the settings as they were.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "io/base/status.h"
#include "server/batch_policy.h"
#include "tools/walinspect/flush_feed.h"
#include "tools/walinspect/histogram.h"
#include "tools/walinspect/size_fit.h"

namespace metastore::walinspect {

struct WhatIfSettings {
  server::BatchPolicyKind policy = server::BatchPolicyKind::kNatural;
  uint32_t depth = 1;
  uint32_t batch_max = 0;  // requests a flush at most; 0: no limit
};

// "policy=natural|off|adaptive,depth=1|2,max-batch=N", each part optional.
// Errors: kInvalidArgument  names the part
StatusOr<WhatIfSettings> ParseWhatIf(std::string_view text);
std::string SettingsText(const WhatIfSettings& settings);

struct QueueResult {
  Histogram latency_us;  // of requests
  uint64_t flushes = 0;
  bool saturated = false;  // more came than could be served: the rest was not replayed
};

class QueueModel final {
 public:
  static constexpr size_t kBacklogMax = 1 << 20;  // requests

  QueueModel(const WhatIfSettings& settings, const CostLine& line);

  struct Arrival {
    int64_t at_ns = 0;
    uint32_t bytes = 0;
    double speed = 1;  // of the disk then: a flush takes the line's time times this
  };
  // The policy is asked once about those that arrive at one time.
  void Arrive(const Arrival& arrival);
  // Serves what waits, without further arrivals; the next ones may be of another clock.
  void Drain();
  const QueueResult& result() const { return result_; }

 private:
  struct Batch {
    std::vector<int64_t> arrivals;
    uint64_t bytes = 0;
    int64_t end_ns = 0;
  };

  void AdvanceTo(int64_t until_ns);
  void Ask();
  void Take(size_t count);
  void Pump();
  void Complete(size_t place);

  WhatIfSettings settings_;
  CostLine line_;
  std::unique_ptr<server::BatchPolicy> policy_;
  int64_t now_ns_ = 0;
  int64_t ask_again_ns_ = INT64_MAX;
  double speed_ = 1;
  bool unasked_ = false;  // the policy does not know yet of what waits
  std::deque<Arrival> waiting_;
  std::deque<Batch> gathering_;  // the last may still grow
  std::vector<Batch> in_flight_;
  size_t backlog_ = 0;
  QueueResult result_;
};

class WhatIf final : public FlushSink {
 public:
  // line: of the same log; depth_was: frames in flight it was written with
  WhatIf(const WhatIfSettings& settings, const CostLine& line, uint32_t depth_was);

  void OnFlush(const Flush& flush) override;
  void Finish();

  const QueueResult& measured() const { return measured_; }
  const QueueResult& modelled() const { return as_it_was_.result(); }
  const QueueResult& changed() const { return changed_.result(); }
  const WhatIfSettings& settings() const { return settings_; }

 private:
  // Requests come together that a core finds in one turn.
  static constexpr int64_t kTurnUs = 50;

  WhatIfSettings settings_;
  CostLine line_;
  QueueResult measured_;
  QueueModel as_it_was_;
  QueueModel changed_;
  Epoch epoch_;
};

}  // namespace metastore::walinspect
