#include "server/peer_codec.h"

#include <memory>
#include <utility>

#include "io/base/coding.h"
#include "io/base/limits.h"
#include "server/members.h"

namespace metastore::server {
namespace {

constexpr uint8_t kFormatVersion = 1;
constexpr uint8_t kFlagReject = 1;
constexpr uint8_t kFlagTransfer = 2;
constexpr uint8_t kFlagSnapshot = 4;

bool IsForPeers(uint8_t type) {
  return type >= static_cast<uint8_t>(raft::MessageType::kPropose) &&
         type <= static_cast<uint8_t>(raft::MessageType::kTimeoutNow);
}

bool IsEntryType(uint8_t type) {
  return type <= static_cast<uint8_t>(raft::EntryType::kConfChangeV2);
}

// Some 4 bytes an entry at least, so that a small message cannot ask for much memory.
constexpr size_t kEntryBytesMin = 4;

void PutEntry(const raft::Entry& entry, std::string& out) {
  PutVarint(out, entry.term.value());
  PutVarint(out, entry.index.value());
  PutU8(out, static_cast<uint8_t>(entry.type));
  PutBytes(out, entry.payload.view());
}

bool TakeEntry(Reader& in, raft::Entry& entry) {
  entry.term = Term(in.Varint());
  entry.index = LogIndex(in.Varint());
  const uint8_t type = in.U8();
  const std::string_view payload = in.LengthPrefixed();
  if (!in.ok() || !IsEntryType(type) || payload.size() > limits::kEntryBytesMax) return false;
  entry.type = static_cast<raft::EntryType>(type);
  entry.payload = raft::Payload(payload);
  return true;
}

bool TakeEntries(Reader& in, std::vector<raft::Entry>& entries) {
  const uint64_t count = in.Varint();
  if (!in.ok() || count > in.rest().size() / kEntryBytesMin) return false;
  entries.resize(static_cast<size_t>(count));
  for (raft::Entry& entry : entries) {
    if (!TakeEntry(in, entry)) return false;
  }
  return true;
}

}  // namespace

void EncodePeerMessage(GroupId group, const raft::Message& message, std::string& out) {
  PutU8(out, kFormatVersion);
  PutU8(out, static_cast<uint8_t>(message.type));
  PutU8(out, static_cast<uint8_t>((message.reject ? kFlagReject : 0) |
                                  (message.transfer ? kFlagTransfer : 0) |
                                  (message.snapshot != nullptr ? kFlagSnapshot : 0)));
  PutVarint(out, group.value());
  PutU64(out, message.from.value());
  PutU64(out, message.to.value());
  PutVarint(out, message.term.value());
  PutVarint(out, message.log.term.value());
  PutVarint(out, message.log.index.value());
  PutVarint(out, message.commit.value());
  PutVarint(out, message.reject_hint.value());
  PutVarint(out, message.read_round);
  PutU64(out, message.transferee.value());
  PutVarint(out, message.entries.size());
  for (const raft::Entry& entry : message.entries) PutEntry(entry, out);
  if (message.snapshot == nullptr) return;
  PutVarint(out, message.snapshot->last.term.value());
  PutVarint(out, message.snapshot->last.index.value());
  PutConfState(out, message.snapshot->conf);
}

StatusOr<PeerMessage> DecodePeerMessage(std::string_view bytes) {
  Reader in(bytes);
  const uint8_t version = in.U8();
  if (in.ok() && version != kFormatVersion) {
    return UnimplementedError("a peer message of format version ", version);
  }
  const uint8_t type = in.U8();
  const uint8_t flags = in.U8();
  PeerMessage decoded;
  raft::Message& message = decoded.message;
  decoded.group = GroupId(in.Varint());
  message.from = NodeId(in.U64());
  message.to = NodeId(in.U64());
  message.term = Term(in.Varint());
  message.log.term = Term(in.Varint());
  message.log.index = LogIndex(in.Varint());
  message.commit = LogIndex(in.Varint());
  message.reject_hint = LogIndex(in.Varint());
  message.read_round = in.Varint();
  message.transferee = NodeId(in.U64());
  const bool entries_ok = TakeEntries(in, message.entries);
  if ((flags & kFlagSnapshot) != 0) {
    raft::SnapshotMeta meta;
    meta.last.term = Term(in.Varint());
    meta.last.index = LogIndex(in.Varint());
    meta.conf = TakeConfState(in);
    message.snapshot = std::make_shared<const raft::SnapshotMeta>(std::move(meta));
  }
  message.reject = (flags & kFlagReject) != 0;
  message.transfer = (flags & kFlagTransfer) != 0;
  const bool known = (flags & ~(kFlagReject | kFlagTransfer | kFlagSnapshot)) == 0;
  if (!in.done() || !entries_ok || !known || !IsForPeers(type)) {
    return DataLossError("malformed peer message");
  }
  message.type = static_cast<raft::MessageType>(type);
  return decoded;
}

}  // namespace metastore::server
