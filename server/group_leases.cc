#include "server/group_leases.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "server/group.h"
#include "server/lease_rpc.h"
#include "server/mutation.h"

namespace metastore::server {
namespace {

// Before the leader is asked again, if nobody else comes to lead earlier.
constexpr Duration kAskAgain = Milliseconds(50);
// What is due is taken together with what comes due in this time.
constexpr Duration kGather = Milliseconds(5);
constexpr Duration kLookEvery = Milliseconds(500);
// Before raft is given anything again after it took nothing (a transfer, too much uncommitted).
constexpr Duration kRefusedPause = Milliseconds(50);
constexpr size_t kListStep = 1024;
// Of request ids: no edge core's, nor the publication's (StateCore::MakeGroupOptions).
constexpr uint64_t kOwnCounters = uint64_t{0xfe} << 56;

static_assert(kLookEvery < Lessor::kPause);

}  // namespace

GroupLeases::GroupLeases(io::Runtime& runtime, engine::Engine& engine, Group& group,
                         PeerTransport& peers, Lessor::Options options)
    : runtime_(runtime),
      engine_(engine),
      group_(group),
      peers_(peers),
      lessor_(runtime, engine, options),
      gate_(runtime.scheduler()) {}

GroupLeases::~GroupLeases() { CHECK_EQ(calls_, 0u); }

void GroupLeases::Start() {
  gate_.Spawn("leases.serve", io::ReadyClass::kClient, ServeLoop());
  gate_.Spawn("leases.upkeep", io::ReadyClass::kBackground, UpkeepLoop());
}

io::Task<void> GroupLeases::Stop() {
  stopping_ = true;
  FailAll(errors::kStopped);
  stop_.RequestStop();
  co_await gate_.Close();
}

// --- calls

void GroupLeases::Ask(LeaseCall& call) {
  ++calls_;
  questions_ += call.questions.size();
  if (const std::optional<ClientError> refusal = RefusalOf(call)) return Fail(call, *refusal);
  if (calls_ > limits::kLeaseCallsMax || questions_ > kQuestionsWaitingMax) {
    return Fail(call, errors::kTooManyRequests);
  }
  if (call.forwarded && !group_.leads()) return Fail(call, errors::kLeaderChanged);
  waiting_.push_back(&call);
  arrived_.NotifyOne();
}

std::optional<ClientError> GroupLeases::RefusalOf(const LeaseCall& call) const {
  return stopping_ ? errors::kStopped : group_.Refusal(call.terms);
}

io::Task<void> GroupLeases::ServeLoop() {
  while (!stop_.stopped()) {
    if (waiting_.empty()) {
      co_await arrived_.Wait(io::WaitLimit{.stop = stop_.token()});
      continue;
    }
    std::vector<LeaseCall*> batch = TakeBatch();
    Status asked;
    if (group_.leads()) {
      asked = co_await AskHere(batch);
    } else {
      asked = co_await AskLeader(batch);
    }
    if (asked.ok()) continue;
    TakeBack(batch);
    co_await leader_changed_.Wait(io::WaitLimit{
        .timers = &runtime_, .deadline = runtime_.Now() + kAskAgain, .stop = stop_.token()});
  }
}

// At least one.
std::vector<LeaseCall*> GroupLeases::TakeBatch() {
  size_t questions = 0;
  size_t count = 0;
  for (const LeaseCall* call : waiting_) {
    questions += call->questions.size();
    if (count > 0 && questions > kLeaseQuestionsMax) break;
    ++count;
  }
  const auto end = waiting_.begin() + static_cast<ptrdiff_t>(count);
  std::vector<LeaseCall*> batch(waiting_.begin(), end);
  waiting_.erase(waiting_.begin(), end);
  return batch;
}

// Not answered: by the next leader maybe.
void GroupLeases::TakeBack(std::span<LeaseCall* const> batch) {
  std::vector<LeaseCall*> kept;
  for (LeaseCall* call : batch) {
    if (const std::optional<ClientError> refusal = RefusalOf(*call)) {
      Fail(*call, *refusal);
    } else if (call->forwarded) {
      Fail(*call, errors::kLeaderChanged);
    } else {
      kept.push_back(call);
    }
  }
  ExpireCalls(kept, runtime_.Now());
  waiting_.insert(waiting_.begin(), kept.begin(), kept.end());
}

// Empties `batch` if it returns OK.
io::Task<Status> GroupLeases::AskHere(std::vector<LeaseCall*>& batch) {
  const Term term = group_.term();
  NoteLeadership();
  for (const LeaseCall* call : batch) {
    if (!lessor_.leads()) break;
    for (const LeaseQuestion& question : call->questions) {
      if (question.renew) lessor_.Hold(question.lease);
    }
  }
  ReadCall confirmation(runtime_, runtime_.core(), group_);
  confirmation.terms.deadline = runtime_.Now() + group_.options().election_timeout * 2;
  confirmation.query.range = engine::RangeOp{.key = std::string_view("\0", 1), .count_only = true};
  if (!Mutated(Mutation::kLeaseUnconfirmed)) {
    const bool arrived = co_await confirmation;
    CHECK(arrived);
    if (!confirmation.result.ok()) co_return confirmation.result.status();
  }
  if (stopping_) co_return ToStatus(errors::kStopped);
  NoteLeadership();
  if (led_ != term) co_return ToStatus(errors::kLeaderChanged);
  for (LeaseCall* call : batch) {
    call->answers.assign(call->questions.size(), {});
    call->open.resize(call->questions.size());
    std::iota(call->open.begin(), call->open.end(), 0u);
    if (!TryAnswer(*call)) aside_.push_back(call);
  }
  batch.clear();
  ProposeClears();
  co_return OkStatus();
}

// False: something of it must be applied first.
bool GroupLeases::TryAnswer(LeaseCall& call) {
  std::erase_if(call.open, [&](uint32_t place) {
    return TryAnswer(call.questions[place], call.answers[place]);
  });
  if (!call.open.empty()) return false;
  Return(call);
  return true;
}

bool GroupLeases::TryAnswer(const LeaseQuestion& question, LeaseAnswer& answer) {
  if (!question.renew) {
    const std::optional<Lessor::Standing> standing = lessor_.Look(question.lease);
    if (standing.has_value()) {
      answer = {true, standing->granted_seconds, standing->remaining_seconds};
    }
    return true;
  }
  switch (lessor_.Renew(question.lease, answer.granted_seconds)) {
    case Lessor::Renewal::kRenewed:
      answer.found = true;
      return true;
    case Lessor::Renewal::kGone:
      return true;
    case Lessor::Renewal::kRevoking:
    case Lessor::Renewal::kCheckpointed:
      return false;
  }
  CHECK_UNREACHABLE();
}

void GroupLeases::AnswerAside() {
  if (aside_.empty() || !lessor_.leads()) return;
  std::erase_if(aside_, [this](LeaseCall* call) { return TryAnswer(*call); });
  ProposeClears();
}

// Empties `batch` if it returns OK.
io::Task<Status> GroupLeases::AskLeader(std::vector<LeaseCall*>& batch) {
  const NodeId leader = group_.leader();
  if (leader == raft::kNobody) co_return ToStatus(errors::kNoLeader);
  std::vector<LeaseQuestion> questions;
  for (const LeaseCall* call : batch) {
    questions.insert(questions.end(), call->questions.begin(), call->questions.end());
  }
  forwarded_total_ += questions.size();
  StatusOr<std::string> bytes = co_await peers_.AskLeases(leader, EncodeLeaseQuestions(questions));
  MS_CO_RETURN_IF_ERROR(bytes.status());
  StatusOr<LeaseReply> reply = DecodeLeaseReply(*bytes);
  MS_CO_RETURN_IF_ERROR(reply.status());
  MS_CO_RETURN_IF_ERROR(reply->result);
  if (reply->answers.size() != questions.size()) {
    co_return DataLossError("the leader answered other questions about leases");
  }
  auto answer = reply->answers.begin();
  for (LeaseCall* call : batch) {
    const auto end = answer + static_cast<ptrdiff_t>(call->questions.size());
    call->answers.assign(answer, end);
    answer = end;
    Return(*call);
  }
  batch.clear();
  co_return OkStatus();
}

void GroupLeases::Return(LeaseCall& call) {
  --calls_;
  questions_ -= call.questions.size();
  call.revision = engine_.stats().revision;
  call.term = group_.term();
  call.Return(runtime_);
}

void GroupLeases::Fail(LeaseCall& call, const ClientError& error) {
  call.Fail(error);
  Return(call);
}

const ClientError& GroupLeases::LateError() const {
  return group_.leader() == raft::kNobody ? errors::kNoLeader : errors::kTimeout;
}

void GroupLeases::ExpireCalls(std::vector<LeaseCall*>& calls, MonoTime now) {
  std::erase_if(calls, [&](LeaseCall* call) {
    if (call->terms.deadline > now) return false;
    Fail(*call, LateError());
    return true;
  });
}

void GroupLeases::FailAll(const ClientError& error) {
  for (std::vector<LeaseCall*>* calls : {&waiting_, &aside_}) {
    for (LeaseCall* call : std::exchange(*calls, {})) Fail(*call, error);
  }
  peers_.EndAskLeases();  // whose calls fail as they come back
}

io::Task<std::vector<LeaseEnd>> GroupLeases::List() {
  std::vector<LeaseEnd> list;
  LeaseId after{INT64_MIN};
  bool more = true;
  while (more && !stop_.stopped()) {
    const std::vector<engine::LeaseInfo> leases = engine_.Leases(after, kListStep);
    for (const engine::LeaseInfo& lease : leases) {
      list.push_back({lease.id, lessor_.EndOf(lease.id).value_or(MonoTime::Max())});
      after = lease.id;
    }
    more = leases.size() == kListStep;
    if (more) {
      co_await io::Yield();
    }
  }
  co_return list;
}

// --- from the group

void GroupLeases::NoteLeadership() {
  const Term term = group_.leading_term();
  if (term == led_ && lessor_.leads() == (term != Term())) return;
  const bool goes_on = lessor_.leads() && Mutated(Mutation::kOldTimesKept);
  if (lessor_.leads() && !goes_on) lessor_.Follow();
  led_ = term;
  TakeBack(std::exchange(aside_, {}));
  if (!waiting_.empty()) arrived_.NotifyOne();
  if (term == Term()) return;
  if (!goes_on) lessor_.Lead();
  full_ = false;
  next_pass_ = runtime_.Now() + lessor_.pass_interval();
  upkeep_wanted_.NotifyAll();
}

void GroupLeases::OnApplied() {
  NoteLeadership();
  AnswerAside();
  if (full_ && lessor_.revoking() < kRevokesUnderWay) upkeep_wanted_.NotifyAll();
}

void GroupLeases::OnLeaderChanged() {
  peers_.EndAskLeases();
  leader_changed_.NotifyAll();
}

void GroupLeases::OnTick(MonoTime now) {
  NoteLeadership();
  ExpireCalls(waiting_, now);
  ExpireCalls(aside_, now);
  AnswerAside();  // where raft had taken no clears
}

// --- the leader's part

io::Task<void> GroupLeases::UpkeepLoop() {
  while (!stop_.stopped()) {
    if (!lessor_.leads()) {
      co_await upkeep_wanted_.Wait(io::WaitLimit{.stop = stop_.token()});
      continue;
    }
    const MonoTime now = runtime_.Now();
    bool more = lessor_.LoadStep(kStep);
    if (now >= refused_until_) {
      more = RevokeStep() || more;
      more = CheckpointStep(now) || more;
    }
    if (more) {
      co_await io::Yield();
      continue;
    }
    const MonoTime next = std::min({lessor_.next_look(), next_pass_, now + kLookEvery});
    co_await upkeep_wanted_.Wait(
        io::WaitLimit{.timers = &runtime_,
                      .deadline = std::max({next, now + kGather, refused_until_}),
                      .stop = stop_.token()});
  }
}

// Whether there may be more to do at once.
bool GroupLeases::RevokeStep() {
  full_ = lessor_.revoking() >= kRevokesUnderWay;
  if (full_) return false;
  expired_.clear();
  lessor_.TakeExpired(std::min(kStep, kRevokesUnderWay - lessor_.revoking()), expired_);
  if (expired_.empty()) return lessor_.next_look() <= runtime_.Now();
  payloads_.clear();
  for (const LeaseId lease : expired_) {
    const engine::Command revoke{.header = NewHeader(),
                                 .op = engine::LeaseRevokeOp{.lease = lease}};
    payloads_.emplace_back(engine::EncodeCommand(revoke));
  }
  if (group_.ProposeLeading(led_, payloads_)) return true;
  lessor_.PutBack(expired_);
  refused_until_ = runtime_.Now() + kRefusedPause;
  return false;
}

bool GroupLeases::CheckpointStep(MonoTime now) {
  if (now < next_pass_) return false;
  std::vector<engine::LeaseCheckpoint> checkpoints;
  const bool more = lessor_.CheckpointStep(kStep, checkpoints);
  // What raft does not take is due again in the next pass.
  if (!checkpoints.empty()) ProposeCheckpoints(std::move(checkpoints));
  if (!more) next_pass_ = now + lessor_.pass_interval();
  return more;
}

void GroupLeases::ProposeClears() {
  std::vector<engine::LeaseCheckpoint> clears;
  lessor_.TakeClears(clears);
  if (clears.empty() || ProposeCheckpoints(clears)) return;
  lessor_.PutBackClears(clears);
}

bool GroupLeases::ProposeCheckpoints(std::vector<engine::LeaseCheckpoint> checkpoints) {
  const engine::Command command{
      .header = NewHeader(),
      .op = engine::LeaseCheckpointOp{.checkpoints = std::move(checkpoints)}};
  payloads_.clear();
  payloads_.emplace_back(engine::EncodeCommand(command));
  return group_.ProposeLeading(led_, payloads_);
}

// Nobody waits for these by their id. Clients' revokes and grants may be in the log before them and
// not yet applied: they concern the leases that there are now, and no later ones of the same ids.
engine::CommandHeader GroupLeases::NewHeader() {
  engine::RequestId request = group_.options().publish_id;
  request.counter = kOwnCounters + ++commands_;
  return {.request = request, .leases_until = engine_.stats().applied_index};
}

}  // namespace metastore::server
