#include "raft/message.h"

#include "io/base/check.h"

namespace metastore::raft {

std::string_view Name(MessageType type) {
  switch (type) {
    case MessageType::kPropose:
      return "MsgProp";
    case MessageType::kAppend:
      return "MsgApp";
    case MessageType::kAppendResponse:
      return "MsgAppResp";
    case MessageType::kVote:
      return "MsgVote";
    case MessageType::kVoteResponse:
      return "MsgVoteResp";
    case MessageType::kPreVote:
      return "MsgPreVote";
    case MessageType::kPreVoteResponse:
      return "MsgPreVoteResp";
    case MessageType::kHeartbeat:
      return "MsgHeartbeat";
    case MessageType::kHeartbeatResponse:
      return "MsgHeartbeatResp";
    case MessageType::kSnapshot:
      return "MsgSnap";
    case MessageType::kReadIndex:
      return "MsgReadIndex";
    case MessageType::kReadIndexResponse:
      return "MsgReadIndexResp";
    case MessageType::kTransferLeader:
      return "MsgTransferLeader";
    case MessageType::kTimeoutNow:
      return "MsgTimeoutNow";
    case MessageType::kStorageAppendResponse:
      return "MsgStorageAppendResp";
  }
  CHECK_UNREACHABLE();
}

}  // namespace metastore::raft
