// The text the recorded cluster scripts use for messages, entries and tasks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "raft/conf_change.h"
#include "raft/ready.h"

namespace metastore::raft {

// Where the scripts let the tasks of a node run.
inline constexpr NodeId kAppendThread{UINT64_MAX};
inline constexpr NodeId kApplyThread{UINT64_MAX - 1};

// "v1 l2 r3 u4"
std::string ShowSteps(const std::vector<ConfChangeStep>& steps);
// Errors: kInvalidArgument   names the word that is none of these
StatusOr<std::vector<ConfChangeStep>> ParseSteps(const std::vector<std::string>& lines);
std::string Show(const Entry& entry);
std::string Show(const std::vector<Entry>& entries);
std::string Show(const HardState& state);
std::string Show(const SoftState& state);
std::string Show(const SnapshotMeta& snapshot);
// One line, or more with entries and snapshot, without the last newline.
std::string Show(const Message& message, const std::string& indent = "");
// An append task as a message to the append thread, with its responses if wanted.
std::string ShowAppend(NodeId node, const AppendTask& task, bool responses);
std::string ShowApply(NodeId node, const ApplyTask& task, bool responses);
// The answer that an apply task gives.
std::string ShowApplyResponse(NodeId node, const std::vector<Entry>& entries,
                              const std::string& indent = "");

}  // namespace metastore::raft
