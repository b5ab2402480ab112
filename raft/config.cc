#include "raft/config.h"

#include <string>

#include "raft/message.h"

namespace metastore::raft {

Status Config::Validate() const {
  std::string problems;
  const auto require = [&problems](bool holds, std::string_view problem) {
    if (holds) return;
    if (!problems.empty()) problems += '\n';
    problems += problem;
  };
  require(id != kNobody, "raft: id must not be 0");
  require(id != kLocalStorage, "raft: id must not be 2^64 - 1, which names the node's own disk");
  require(heartbeat_ticks >= 1, "raft: heartbeat_ticks must be at least 1");
  require(election_ticks > heartbeat_ticks,
          "raft: election_ticks must be greater than heartbeat_ticks");
  require(read_mode != ReadMode::kLease || check_quorum,
          "raft: read_mode lease needs check_quorum");
  require(read_mode != ReadMode::kLease || lease_margin_ticks >= 1,
          "raft: lease_margin_ticks must be at least 1");
  require(read_mode != ReadMode::kLease || lease_margin_ticks < election_ticks,
          "raft: lease_margin_ticks must be less than election_ticks");
  require(learner_ready_percent <= 100, "raft: learner_ready_percent must be at most 100");
  require(message_bytes_max >= 1, "raft: message_bytes_max must be at least 1");
  require(inflight_messages_max >= 1, "raft: inflight_messages_max must be at least 1");
  require(inflight_bytes_max == 0 || inflight_bytes_max >= message_bytes_max,
          "raft: inflight_bytes_max must be 0 (no bound) or at least message_bytes_max");
  require(uncommitted_bytes_max >= 1, "raft: uncommitted_bytes_max must be at least 1");
  require(apply_bytes_max >= 1, "raft: apply_bytes_max must be at least 1");
  require(reads_max >= 1, "raft: reads_max must be at least 1");
  return problems.empty() ? OkStatus() : InvalidArgumentError(problems);
}

}  // namespace metastore::raft
