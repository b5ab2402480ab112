// Group: members compare what they have applied, and the odd one out fences itself.
//
// A leader proposes a comparison now and then. Whoever applies it takes the digest of its state at
// exactly that index, in the background, and tells the others; each judges for itself
// (digest_book.h). Who differs from a majority serves nobody any more, for good: what made its
// state wrong is not known, so an operator decides (fence_mark.h).
//
// A fenced member goes on as a follower: it keeps the log, acknowledges and votes, but never leads.
// Its state is wrong, not its log, of which every frame and every message is checksummed, and
// safety of votes and commits rests on term, vote and log alone. Without its voice a cluster of
// three would stop with the next member that is down. And since it never leads, nothing that it has
// is ever copied to another member. Should it alone still have what was acknowledged, its vote is
// refused to whoever lacks it: the cluster waits, and forgets nothing.

#include <utility>

#include "io/base/hash.h"
#include "server/fence_mark.h"
#include "server/group.h"
#include "server/server_command.h"

namespace metastore::server {
namespace {

// Members that have not answered are asked again so often and so long.
constexpr Duration kAskAgain = Seconds(5);
constexpr Duration kAskFor = Seconds(600);
constexpr Duration kMarkAgain = Seconds(10);

}  // namespace

// Once a tick.
void Group::CompareDigests(MonoTime now) {
  AskForDigests(now);
  if (options_.digest_every == Duration() || !core_->is_leader() || fenced()) return;
  if (now - digest_.compared_at < options_.digest_every || digest_.under_way) return;
  if (members_.all().size() < 2) return;
  const engine::RequestId id{.node = options_.publish_id.node, .boot = options_.publish_id.boot};
  payloads_.clear();
  payloads_.emplace_back(EncodeCompare(id));
  // Nobody waits for it: what raft does not take now it may take at the next tick.
  if (core_->Propose(payloads_).code == raft::ProposeCode::kAccepted) digest_.compared_at = now;
  payloads_.clear();
}

// The entry just applied asks for a digest of the state as it is now.
void Group::BeginDigest() {
  digest_.compared_at = runtime_.Now();
  if (fenced()) return;
  if (digest_.under_way) {
    ++metrics_.digests_skipped;
    return;
  }
  digest_.under_way =
      gate_.Spawn("group.digest", io::ReadyClass::kBackground,
                  TakeDigest(engine_.StartDigest(), conf_, Hash64(members_.Encode(conf_), 0)));
}

io::Task<void> Group::TakeDigest(std::unique_ptr<engine::DigestSource> source, raft::ConfState conf,
                                 uint64_t membership) {
  const MonoTime began = runtime_.Now();
  StatusOr<engine::StateDigest> taken = co_await source->Take(stop_.token());
  source.reset();
  digest_.under_way = false;
  // A snapshot took the state's place: there is nothing left to compare.
  if (!taken.ok() || stopping_ || !failure_.ok()) co_return;
  ++metrics_.digests;
  metrics_.digest_take.Observe(runtime_.Now() - began);
  const LogIndex index = taken->applied_index;
  if (index <= digest_.book.newest()) co_return;
  digest_.book.NoteOwn({.state = *taken, .membership = membership}, conf);
  digest_.taken_at = runtime_.Now();
  digest_.asked_at = MonoTime();
  JudgeDigests(index);
  AskForDigests(runtime_.Now());
}

void Group::AskForDigests(MonoTime now) {
  const LogIndex newest = digest_.book.newest();
  if (newest == LogIndex() || now - digest_.taken_at > kAskFor) return;
  if (digest_.asked_at != MonoTime() && now - digest_.asked_at < kAskAgain) return;
  digest_.asked_at = now;
  const std::string own = EncodeMemberDigest(*digest_.book.OwnAt(newest));
  for (const NodeId member : digest_.book.Missing()) peers_.ExchangeDigest(member, own);
}

StatusOr<std::string> Group::OnDigest(NodeId from, std::string_view digest) {
  if (stopping_ || !failure_.ok()) return std::string();
  StatusOr<MemberDigest> said = DecodeMemberDigest(digest);
  if (!said.ok()) return said.status();
  const LogIndex index = said->state.applied_index;
  if (from == options_.raft.id || members_.Find(from) == nullptr) return std::string();
  digest_.book.NoteOther(from, *said);
  const MemberDigest* own = digest_.book.OwnAt(index);
  if (own == nullptr) return std::string();
  std::string answer = EncodeMemberDigest(*own);
  JudgeDigests(index);
  return answer;
}

void Group::JudgeDigests(LogIndex index) {
  if (digest_.book.OwnAt(index) == nullptr || index < digest_.judged || fenced()) return;
  digest_.judged = index;
  const MemberDigest& own = *digest_.book.OwnAt(index);
  const DigestJudgement judgement = digest_.book.Judge(index);
  if (judgement.verdict == DigestVerdict::kOddOne) {
    return Fence(Concat("the state of this member differs from the majority's at index ",
                        index.value(), ": ", DescribeDifference(own, *judgement.majority)));
  }
  // Until enough have answered, what was known before stands.
  if (judgement.confirmed) {
    digest_.confirmed = index;
    digest_.in_doubt = false;
  } else if (judgement.verdict == DigestVerdict::kInDoubt) {
    digest_.in_doubt = true;
  }
  std::erase_if(digest_.differing,
                [&](const auto& known) { return members_.Find(known.first) == nullptr; });
  for (const NodeId member : judgement.alike) digest_.differing.erase(member);
  for (const NodeId member : judgement.differing) {
    NoteDifference(member, index, DescribeDifference(own, *digest_.book.Find(index, member)));
  }
}

void Group::NoteDifference(NodeId member, LogIndex index, std::string where) {
  DigestDifference& known = digest_.differing[member];
  if (known.index == index) return;
  known = {.member = member, .index = index, .where = std::move(where)};
  ++metrics_.digest_differences;
  runtime_.log().Error("the state of another member differs from this one's",
                       {{"member", Concat(absl::Hex(member.value()))},
                        {"index", index.value()},
                        {"where", known.where}});
}

void Group::Fence(std::string why) {
  digest_.fenced = std::move(why);
  runtime_.log().Error(
      "this member is fenced and serves nobody: remove it, delete its data directory and add it "
      "again as a new one",
      {{"cause", digest_.fenced}});
  core_->SetCampaignAllowed(false);
  core_->StepDown();
  proposals_.FailAll(errors::kCorrupt);
  reads_.FailAll(errors::kCorrupt);
  FailMemberCalls(errors::kCorrupt);
  serving_changed_.NotifyAll();
  gate_.Spawn("group.fence", io::ReadyClass::kBackground, MarkFenced());
  Schedule();
}

io::Task<void> Group::MarkFenced() {
  while (!stop_.stopped()) {
    Status marked = co_await WriteFenceMark(runtime_, options_.data_dir, digest_.fenced);
    if (marked.ok() || stop_.stopped()) co_return;
    runtime_.log().Error("cannot write the fence mark; trying again later",
                         {{"error", marked.ToString()}, {"retry-after-ms", kMarkAgain.ms()}});
    co_await io::SleepUntil(runtime_, runtime_.Now() + kMarkAgain, stop_.token());
  }
}

DigestStatus Group::digest_status() const {
  DigestStatus status;
  status.fenced = digest_.fenced;
  status.confirmed = digest_.confirmed;
  for (const auto& [id, difference] : digest_.differing) {
    if (members_.Find(id) != nullptr) status.differing.push_back(difference);
  }
  status.in_doubt = digest_.in_doubt && !status.differing.empty();
  return status;
}

}  // namespace metastore::server
