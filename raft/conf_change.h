// Membership changes as log entries: values, their coding, and what they ask for. conf_changer.h
// carries them out.
//
// Format of a payload: u8 version (1), u8 transition, varint count, count x (u8 kind, u64 node),
// length-prefixed context. The empty payload of a kConfChangeV2 entry is the change that leaves a
// joint configuration.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"
#include "raft/types.h"

namespace metastore::raft {

enum class ConfChangeKind : uint8_t {
  kAddVoter = 0,    // also promotes a learner
  kRemove = 1,      //
  kUpdate = 2,      // nothing to raft; `context` has the new attributes
  kAddLearner = 3,  // also demotes a voter
};

struct ConfChangeStep {
  ConfChangeKind kind = ConfChangeKind::kAddVoter;
  NodeId node;

  bool operator==(const ConfChangeStep&) const = default;
};

enum class ConfTransition : uint8_t {
  kAuto = 0,           // joint only where more than one step asks for it; left automatically
  kJointImplicit = 1,  // joint, left automatically
  kJointExplicit = 2,  // joint, left by a further (empty) change
};

struct ConfChange {
  ConfTransition transition = ConfTransition::kAuto;
  std::vector<ConfChangeStep> steps;
  std::string context;  // the server's own: names, URLs of the member; up to limits::kEntryBytesMax

  bool operator==(const ConfChange&) const = default;
  bool LeavesJoint() const { return transition == ConfTransition::kAuto && steps.empty(); }
  bool EntersJoint() const { return transition != ConfTransition::kAuto || steps.size() > 1; }
  // Only meaningful where EntersJoint().
  bool AutoLeaves() const { return transition != ConfTransition::kJointExplicit; }
};

Payload EncodeConfChange(const ConfChange& change);
// Errors: kInvalidArgument   not a payload that EncodeConfChange makes
StatusOr<ConfChange> DecodeConfChange(const Payload& payload);

}  // namespace metastore::raft
