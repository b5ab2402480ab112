#include "server/members.h"

#include <algorithm>
#include <utility>

#include "io/base/coding.h"

namespace metastore::server {
namespace {

constexpr uint8_t kFormatVersion = 1;

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
  if (!reader.done() || version != kFormatVersion) return DataLossError("malformed member");
  return member;
}

std::string EncodeMemberAttributes(const MemberAttributes& attributes) {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutU64(bytes, attributes.id.value());
  PutBytes(bytes, attributes.name);
  PutStrings(bytes, attributes.client_urls);
  return bytes;
}

StatusOr<MemberAttributes> DecodeMemberAttributes(std::string_view bytes) {
  Reader reader(bytes);
  MemberAttributes attributes;
  const uint8_t version = reader.U8();
  attributes.id = NodeId(reader.U64());
  attributes.name = std::string(reader.LengthPrefixed());
  attributes.client_urls = TakeStrings(reader);
  if (!reader.done() || version != kFormatVersion)
    return DataLossError("malformed member attributes");
  return attributes;
}

void Members::SetAttributes(const MemberAttributes& attributes) {
  const auto found = members_.find(attributes.id);
  if (found == members_.end()) return;
  found->second.name = attributes.name;
  found->second.client_urls = attributes.client_urls;
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

std::string Members::Encode(const raft::ConfState& conf) const {
  std::string bytes;
  PutU8(bytes, kFormatVersion);
  PutIds(bytes, conf.voters);
  PutIds(bytes, conf.voters_outgoing);
  PutIds(bytes, conf.learners);
  PutIds(bytes, conf.learners_next);
  PutU8(bytes, conf.auto_leave ? 1 : 0);
  PutVarint(bytes, members_.size());
  for (const auto& [id, member] : members_) PutBytes(bytes, EncodeMember(member));
  return bytes;
}

StatusOr<std::pair<Members, raft::ConfState>> Members::Decode(std::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  raft::ConfState conf;
  conf.voters = TakeIds(reader);
  conf.voters_outgoing = TakeIds(reader);
  conf.learners = TakeIds(reader);
  conf.learners_next = TakeIds(reader);
  conf.auto_leave = reader.U8() != 0;
  Members members;
  const uint64_t count = reader.Varint();
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    StatusOr<Member> member = DecodeMember(reader.LengthPrefixed());
    if (!member.ok()) return member.status();
    members.Put(*std::move(member));
  }
  if (!reader.done() || version != kFormatVersion) return DataLossError("malformed membership");
  return std::pair(std::move(members), std::move(conf));
}

}  // namespace metastore::server
