// Raft messages as bytes between members. Pure functions; bytes from peers are never CHECKed.
//
// Layout: u8 version (1) | u8 type | u8 flags | varint group | u64 from | u64 to | varints: term,
// log term, log index, commit, reject hint, read round | u64 transferee | varint count, entries |
// snapshot, if flagged. An entry: varint term, varint index, u8 type, length-prefixed payload. A
// snapshot: varint term, varint index, ConfState (members.h).
#pragma once

#include <string>
#include <string_view>

#include "io/base/status.h"
#include "raft/message.h"

namespace metastore::server {

struct PeerMessage {
  GroupId group;
  raft::Message message;
};

// Appends the encoding to `out`.
void EncodePeerMessage(GroupId group, const raft::Message& message, std::string& out);
// Errors: kDataLoss       not what EncodePeerMessage makes
//         kUnimplemented  a format version this build does not know
StatusOr<PeerMessage> DecodePeerMessage(std::string_view bytes);

}  // namespace metastore::server
