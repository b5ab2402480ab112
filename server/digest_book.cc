#include "server/digest_book.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"
#include "io/base/coding.h"

namespace metastore::server {
namespace {

constexpr uint8_t kDigestVersion = 1;
constexpr size_t kSpansNamed = 4;  // what is beyond is only counted

template <typename Map>
void Bound(Map& map) {
  while (map.size() > DigestBook::kRemembered) map.erase(map.begin());
}

// The revisions of the ranges that differ, neighbours joined.
std::vector<engine::RevisionSpan> DifferingSpans(const engine::StateDigest& own,
                                                 const engine::StateDigest& other) {
  const engine::DigestRanges ranges(own.revision, own.compacted);
  std::vector<engine::RevisionSpan> spans;
  for (size_t i = 0; i < engine::kDigestRanges; ++i) {
    if (own.ranges[i] == other.ranges[i]) continue;
    const engine::RevisionSpan span = ranges.Span(i);
    if (span.first > span.last) continue;
    if (!spans.empty() && spans.back().last + 1 == span.first) {
      spans.back().last = span.last;
    } else {
      spans.push_back(span);
    }
  }
  return spans;
}

void AddPart(std::string& text, std::string_view part) {
  text += Concat(text.empty() ? "" : ", ", part);
}

}  // namespace

std::string EncodeMemberDigest(const MemberDigest& digest) {
  std::string bytes;
  PutU8(bytes, kDigestVersion);
  PutU64(bytes, digest.state.applied_index.value());
  PutU64(bytes, static_cast<uint64_t>(digest.state.revision.value()));
  PutU64(bytes, static_cast<uint64_t>(digest.state.compacted.value()));
  for (const uint64_t range : digest.state.ranges) PutU64(bytes, range);
  PutU64(bytes, digest.state.unversioned);
  PutU64(bytes, digest.membership);
  return bytes;
}

StatusOr<MemberDigest> DecodeMemberDigest(std::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  if (reader.ok() && version != kDigestVersion) {
    return UnimplementedError("a digest of version ", int{version});
  }
  MemberDigest digest;
  digest.state.applied_index = LogIndex(reader.U64());
  digest.state.revision = Revision(static_cast<int64_t>(reader.U64()));
  digest.state.compacted = Revision(static_cast<int64_t>(reader.U64()));
  for (uint64_t& range : digest.state.ranges) range = reader.U64();
  digest.state.unversioned = reader.U64();
  digest.membership = reader.U64();
  if (!reader.done()) return DataLossError("malformed digest");
  return digest;
}

std::string DescribeDifference(const MemberDigest& own, const MemberDigest& other) {
  std::string text;
  const engine::StateDigest& a = own.state;
  const engine::StateDigest& b = other.state;
  if (a.revision != b.revision) {
    AddPart(text, Concat("current revision ", a.revision.value(), " here, ", b.revision.value()));
  }
  if (a.compacted != b.compacted) {
    AddPart(text, Concat("compacted at ", a.compacted.value(), " here, ", b.compacted.value()));
  }
  // Otherwise the ranges are not of the same revisions.
  if (text.empty()) {
    const std::vector<engine::RevisionSpan> spans = DifferingSpans(a, b);
    for (size_t i = 0; i < spans.size() && i < kSpansNamed; ++i) {
      AddPart(text, Concat(i == 0 ? "revisions " : "", spans[i].first.value(), " to ",
                           spans[i].last.value()));
    }
    if (spans.size() > kSpansNamed) {
      AddPart(text,
              Concat(spans.size() - kSpansNamed, " more ranges up to ", spans.back().last.value()));
    }
  }
  if (a.unversioned != b.unversioned) AddPart(text, "leases");
  if (own.membership != other.membership) AddPart(text, "membership");
  return text;
}

std::vector<std::string> CorruptAlarms(NodeId self, const DigestStatus& status) {
  std::vector<std::string> alarms;
  const auto add = [&](NodeId member, std::string_view why) {
    alarms.push_back(Concat("memberID:", member.value(), " alarm:CORRUPT ", why));
  };
  if (!status.fenced.empty()) add(self, status.fenced);
  for (const DigestDifference& difference : status.differing) {
    add(difference.member,
        Concat("its state differs from this member's at index ", difference.index.value(), ": ",
               difference.where, status.in_doubt ? "; no majority agrees" : ""));
  }
  return alarms;
}

std::string CorruptReason(const DigestStatus& status) {
  if (!status.fenced.empty()) return status.fenced;
  if (!status.in_doubt || status.differing.empty()) return {};
  const DigestDifference& first = status.differing.front();
  return Concat("the states of members differ, and no majority agrees: at index ",
                first.index.value(), " from member ", absl::Hex(first.member.value()),
                "'s: ", first.where);
}

void DigestBook::NoteOwn(const MemberDigest& digest, const raft::ConfState& conf) {
  const LogIndex index = digest.state.applied_index;
  CHECK_GT(index, newest());
  own_.emplace(index, Own{digest, conf});
  Bound(own_);
}

void DigestBook::NoteOther(NodeId from, const MemberDigest& digest) {
  CHECK_NE(from, self_);
  others_[digest.state.applied_index][from] = digest;
  Bound(others_);
}

const MemberDigest* DigestBook::OwnAt(LogIndex index) const {
  const auto found = own_.find(index);
  return found == own_.end() ? nullptr : &found->second.digest;
}

const MemberDigest* DigestBook::Find(LogIndex index, NodeId member) const {
  if (member == self_) return OwnAt(index);
  const auto at = others_.find(index);
  if (at == others_.end()) return nullptr;
  const auto found = at->second.find(member);
  return found == at->second.end() ? nullptr : &found->second;
}

std::vector<NodeId> DigestBook::Missing() const {
  std::vector<NodeId> missing;
  if (own_.empty()) return missing;
  const auto& [index, own] = *own_.rbegin();
  for (const auto* members : {&own.conf.voters, &own.conf.voters_outgoing, &own.conf.learners}) {
    for (const NodeId member : *members) {
      const bool known = std::ranges::find(missing, member) != missing.end();
      if (!known && Find(index, member) == nullptr) missing.push_back(member);
    }
  }
  return missing;
}

bool DigestBook::MajorityOf(const std::vector<NodeId>& voters, LogIndex index,
                            const MemberDigest& digest) const {
  const auto agreeing = std::ranges::count_if(voters, [&](NodeId voter) {
    const MemberDigest* said = Find(index, voter);
    return said != nullptr && *said == digest;
  });
  return agreeing > std::ssize(voters) / 2;
}

DigestJudgement DigestBook::Judge(LogIndex index) const {
  const auto found = own_.find(index);
  CHECK(found != own_.end());
  const auto& [own, conf] = found->second;
  const auto by_majority = [&](const MemberDigest& digest) {
    return MajorityOf(conf.voters, index, digest) &&
           (conf.voters_outgoing.empty() || MajorityOf(conf.voters_outgoing, index, digest));
  };
  DigestJudgement judgement;
  judgement.confirmed = by_majority(own);
  const auto others = others_.find(index);
  if (others == others_.end()) return judgement;
  for (const auto& [member, digest] : others->second) {
    if (!conf.Includes(member)) continue;
    (digest == own ? judgement.alike : judgement.differing).push_back(member);
    if (digest != own && by_majority(digest)) judgement.majority = digest;
  }
  if (judgement.majority.has_value()) {
    judgement.verdict = DigestVerdict::kOddOne;
  } else if (!judgement.differing.empty() && !judgement.confirmed) {
    judgement.verdict = DigestVerdict::kInDoubt;
  }
  return judgement;
}

}  // namespace metastore::server
