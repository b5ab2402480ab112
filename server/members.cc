#include "server/members.h"

#include <algorithm>
#include <utility>

namespace metastore::server {
namespace {

// 2 has the incarnation of a member, and the removed ones of a membership.
constexpr uint8_t kFormatVersion = 2;
constexpr uint8_t kMemberVersionMax = 2;
constexpr uint8_t kMemberChangeVersion = 16;  // apart from those of a plain member

void PutStrings(std::string& to, const std::vector<std::string>& strings) {
  PutVarint(to, strings.size());
  for (const std::string& s : strings) PutBytes(to, s);
}

std::vector<std::string> TakeStrings(Reader& from) {
  std::vector<std::string> strings;
  const uint64_t count = from.Varint();
  for (uint64_t i = 0; i < count && from.ok(); ++i) strings.emplace_back(from.LengthPrefixed());
  return strings;
}

// Every id of a list takes 8 bytes, so a short input cannot ask for a long list.
void PutIds(std::string& to, const std::vector<NodeId>& ids) {
  PutVarint(to, ids.size());
  for (const NodeId id : ids) PutU64(to, id.value());
}

std::vector<NodeId> TakeIds(Reader& from) {
  std::vector<NodeId> ids;
  const uint64_t count = from.Varint();
  for (uint64_t i = 0; i < count && from.ok(); ++i) ids.emplace_back(from.U64());
  return ids;
}

bool IsKnown(uint8_t version) { return version >= 1 && version <= kMemberVersionMax; }

bool Has(const std::vector<NodeId>& ids, NodeId id) {
  return std::ranges::find(ids, id) != ids.end();
}

}  // namespace

std::string EncodeMember(const Member& member) {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutU64(bytes, member.id.value());
  PutU8(bytes, member.is_learner ? 1 : 0);
  PutBytes(bytes, member.name);
  PutStrings(bytes, member.peer_urls);
  PutStrings(bytes, member.client_urls);
  PutU64(bytes, member.incarnation);
  return bytes;
}

StatusOr<Member> DecodeMember(std::string_view bytes) {
  Reader reader(bytes);
  Member member;
  const uint8_t version = reader.U8();
  member.id = NodeId(reader.U64());
  member.is_learner = reader.U8() != 0;
  member.name = std::string(reader.LengthPrefixed());
  member.peer_urls = TakeStrings(reader);
  member.client_urls = TakeStrings(reader);
  if (version == kFormatVersion) member.incarnation = reader.U64();
  if (!reader.done() || !IsKnown(version)) return DataLossError("malformed member");
  return member;
}

std::string EncodeMemberChange(const MemberChange& change) {
  std::string bytes;
  PutU8(bytes, kMemberChangeVersion);
  PutU64(bytes, change.request.node.value());
  PutU32(bytes, change.request.boot);
  PutU64(bytes, change.request.counter);
  PutBytes(bytes, EncodeMember(change.member));
  return bytes;
}

StatusOr<MemberChange> DecodeMemberChange(std::string_view bytes) {
  MemberChange change;
  std::string_view member_bytes = bytes;
  if (!bytes.empty() && static_cast<uint8_t>(bytes.front()) == kMemberChangeVersion) {
    Reader reader(bytes);
    reader.U8();
    change.request.node = NodeId(reader.U64());
    change.request.boot = reader.U32();
    change.request.counter = reader.U64();
    member_bytes = reader.LengthPrefixed();
    if (!reader.done()) return DataLossError("malformed membership change");
  }
  StatusOr<Member> member = DecodeMember(member_bytes);
  if (!member.ok()) return member.status();
  change.member = *std::move(member);
  return change;
}

std::string EncodeMemberAttributes(const MemberAttributes& attributes) {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutU64(bytes, attributes.id.value());
  PutBytes(bytes, attributes.name);
  PutStrings(bytes, attributes.client_urls);
  PutU64(bytes, attributes.incarnation);
  return bytes;
}

StatusOr<MemberAttributes> DecodeMemberAttributes(std::string_view bytes) {
  Reader reader(bytes);
  MemberAttributes attributes;
  const uint8_t version = reader.U8();
  attributes.id = NodeId(reader.U64());
  attributes.name = std::string(reader.LengthPrefixed());
  attributes.client_urls = TakeStrings(reader);
  if (version == kFormatVersion) attributes.incarnation = reader.U64();
  if (!reader.done() || !IsKnown(version)) return DataLossError("malformed member attributes");
  return attributes;
}

void Members::SetAttributes(const MemberAttributes& attributes) {
  const auto found = members_.find(attributes.id);
  if (found == members_.end()) return;
  // Whoever let it in: without its former data directory it is not that member.
  const uint64_t known = found->second.incarnation;
  if (known != 0 && known != attributes.incarnation) return;
  found->second.name = attributes.name;
  found->second.client_urls = attributes.client_urls;
  found->second.incarnation = attributes.incarnation;
}

void Members::Apply(const raft::ConfChange& change, const Member& member,
                    const raft::ConfState& conf) {
  for (const raft::ConfChangeStep& step : change.steps) {
    if (step.kind == raft::ConfChangeKind::kRemove) {
      removed_.insert(step.node);
      continue;
    }
    if (step.node != member.id) continue;
    Member& kept = members_.try_emplace(member.id, member).first->second;
    if (step.kind == raft::ConfChangeKind::kUpdate) kept.peer_urls = member.peer_urls;
  }
  Follow(conf);
}

void Members::Follow(const raft::ConfState& conf) {
  std::erase_if(members_, [&](const auto& item) {
    const NodeId id = item.first;
    return !Has(conf.voters, id) && !Has(conf.voters_outgoing, id) && !Has(conf.learners, id) &&
           !Has(conf.learners_next, id);
  });
  for (auto& [id, member] : members_) {
    member.is_learner = Has(conf.learners, id) || Has(conf.learners_next, id);
  }
}

const Member* Members::Find(NodeId id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

void PutConfState(std::string& to, const raft::ConfState& conf) {
  PutIds(to, conf.voters);
  PutIds(to, conf.voters_outgoing);
  PutIds(to, conf.learners);
  PutIds(to, conf.learners_next);
  PutU8(to, conf.auto_leave ? 1 : 0);
}

raft::ConfState TakeConfState(Reader& from) {
  raft::ConfState conf;
  conf.voters = TakeIds(from);
  conf.voters_outgoing = TakeIds(from);
  conf.learners = TakeIds(from);
  conf.learners_next = TakeIds(from);
  conf.auto_leave = from.U8() != 0;
  return conf;
}

std::string Members::Encode(const raft::ConfState& conf) const {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutConfState(bytes, conf);
  PutVarint(bytes, members_.size());
  for (const auto& [id, member] : members_) PutBytes(bytes, EncodeMember(member));
  PutIds(bytes, {removed_.begin(), removed_.end()});
  return bytes;
}

StatusOr<std::pair<Members, raft::ConfState>> Members::Decode(std::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  raft::ConfState conf = TakeConfState(reader);
  Members members;
  const uint64_t count = reader.Varint();
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    StatusOr<Member> member = DecodeMember(reader.LengthPrefixed());
    if (!member.ok()) return member.status();
    members.Put(*std::move(member));
  }
  if (version == kFormatVersion) {
    const std::vector<NodeId> removed = TakeIds(reader);
    members.removed_.insert(removed.begin(), removed.end());
  }
  if (!reader.done() || !IsKnown(version)) return DataLossError("malformed membership");
  return std::pair(std::move(members), std::move(conf));
}

}  // namespace metastore::server
