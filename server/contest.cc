#include "server/contest.h"

#include <utility>

#include "engine/txn_check.h"
#include "server/answer_reads.h"
#include "server/kv_codec.h"
#include "server/lease_grant.h"
#include "server/mutation.h"
#include "server/watch_session.h"

namespace metastore::server {
namespace {

// Between two reads of which the first failed.
constexpr Duration kRetryPause = Milliseconds(100);

// For a reason that may pass while the client waits, and with nothing done.
bool Passes(const Status& error, bool require_leader) {
  if (error == ToStatus(errors::kNoLeader)) return !require_leader;
  return error == ToStatus(errors::kLeaderChanged) || error == ToStatus(errors::kTimeout) ||
         error == ToStatus(errors::kTimeoutLeaderFailed) ||
         error == ToStatus(errors::kTooManyRequests);
}

void NotePredecessor(const engine::RangeResult& before, Contender::Look& look) {
  if (before.kvs.empty()) return;
  look.predecessor = std::string(before.kvs.front().key.view());
  look.predecessor_created = before.kvs.front().create_revision;
}

// Retries of `request` are of no use any more.
Status GaveUp() { return CancelledError("context canceled"); }

}  // namespace

std::string ContestPrefix(std::string_view name) { return Concat(name, "/"); }

std::string ContestEnd(std::string_view prefix) {
  std::string end(prefix);
  ++end.back();  // '/' and what comes next
  return end;
}

std::string ContenderKey(std::string_view prefix, LeaseId lease) {
  const bool negative = lease.value() < 0;
  const uint64_t bits = static_cast<uint64_t>(lease.value());
  return Concat(prefix, negative ? "-" : "", absl::Hex(negative ? 0 - bits : bits));
}

engine::RangeOp FirstContender(std::string_view prefix, std::string_view end, Revision revision) {
  return {.key = prefix,
          .range_end = end,
          .limit = 1,
          .revision = revision.value(),
          .sort_order = engine::SortOrder::kAscend,
          .sort_target = engine::SortTarget::kCreate};
}

io::Task<WriteResult> ProposeTxn(Edge& edge, const net::GrpcRequest& request,
                                 const engine::TxnOp& txn, std::optional<CallTerms> terms) {
  const engine::Outcome check = engine::CheckTxn(txn, limits::kTxnOpsDefault);
  if (check != engine::Outcome::kOk) co_return ToStatus(ErrorOf(check));
  const Principal principal = PrincipalOf(request);
  Status permitted = Authorise(principal, txn);
  MS_CO_RETURN_IF_ERROR(permitted);
  const engine::Command command{.header = NewHeader(edge, principal), .op = txn};
  Write write{.id = command.header.request,
              .command = raft::Payload(engine::EncodeCommand(command)),
              .quota_cost_bytes = QuotaCostOf(txn),
              .terms = terms};
  if (NeedsAnswerReads(command.op)) write.op = &command.op;
  WriteResult result = co_await Propose(edge, request, std::move(write));
  co_return result;
}

io::Task<StatusOr<ReadTxnAnswer>> ReadPatiently(Edge& edge, const net::GrpcRequest& request,
                                                const engine::TxnOp& txn, bool serializable) {
  while (true) {
    const CallTerms terms = edge.TermsOf(request);
    StatusOr<ReadTxnAnswer> answer = co_await RunReadTxn(edge, terms, txn, serializable);
    if (answer.ok() || !Passes(answer.status(), terms.require_leader)) co_return answer;
    io::Runtime& runtime = edge.runtime();
    const io::WaitResult waited =
        co_await io::SleepUntil(runtime, runtime.Now() + kRetryPause, request.cancelled);
    if (waited == io::WaitResult::kStopped) co_return GaveUp();
  }
}

Status ServiceError(const Edge& edge, const net::GrpcRequest& request, const Status& error) {
  const bool demanded =
      error == ToStatus(errors::kNoLeader) && edge.TermsOf(request).require_leader;
  const bool of_member = demanded || error == ToStatus(errors::kStopped);
  const bool of_store = StdView(error.message()).starts_with("etcdserver: ");
  if (of_member || !of_store) return error;
  return Status(StatusCode::kUnknown, error.message());
}

// --- Contender -----------------------------------------------------------------------------------

Contender::Contender(Edge& edge, const net::GrpcRequest& request, const Claim& claim)
    : edge_(edge),
      request_(request),
      claim_(claim),
      prefix_(ContestPrefix(claim.name)),
      end_(ContestEnd(prefix_)) {}

io::Task<Status> Contender::Win(ClientError lost) {
  Status won = co_await Enter();
  if (won.ok()) {
    won = co_await AwaitTurn(lost);
  }
  if (won.ok() && request_.cancelled.stopped()) won = GaveUp();
  if (!won.ok()) {
    co_await Withdraw();
  }
  co_return won;
}

// A new key; its predecessor is the one that was made last until now. Or what there is of the key
// already, with its value replaced.
engine::TxnOp Contender::MakeEntry() const {
  engine::TxnOp entry;
  entry.compares.push_back({.target = engine::CompareTarget::kCreate, .key = key_});
  entry.success.push_back({engine::RangeOp{.key = prefix_,
                                           .range_end = end_,
                                           .limit = 1,
                                           .sort_order = engine::SortOrder::kDescend,
                                           .sort_target = engine::SortTarget::kCreate,
                                           .keys_only = true}});
  const engine::PutOp put{
      .key = key_, .value = claim_.value.value_or(std::string_view()), .lease = claim_.lease};
  entry.success.push_back({put});
  entry.failure.push_back({engine::RangeOp{.key = key_, .keys_only = true}});
  if (claim_.value.has_value()) {
    engine::TxnOp replace;
    replace.compares.push_back(
        {.target = engine::CompareTarget::kValue, .key = key_, .value = put.value});
    replace.failure.push_back({put});
    entry.failure.push_back({std::move(replace)});
  }
  return entry;
}

io::Task<Status> Contender::Enter() {
  if (claim_.lease == LeaseId()) {
    StatusOr<GrantedLease> granted =
        co_await GrantLease(edge_, request_, LeaseId(), kContestLeaseSeconds);
    MS_CO_RETURN_IF_ERROR(granted.status());
    claim_.lease = granted->lease;
    granted_ = true;
  }
  key_ = ContenderKey(prefix_, claim_.lease);
  const engine::TxnOp entry = MakeEntry();
  WriteResult result = co_await ProposeTxn(edge_, request_, entry);
  MS_CO_RETURN_IF_ERROR(result.status());
  Status noted = NoteEntry(*result);
  MS_CO_RETURN_IF_ERROR(noted);
  if (look_.there) co_return OkStatus();
  Status looked = co_await LookAgain();
  co_return looked;
}

// `look_.there` afterwards: it is a whole one.
Status Contender::NoteEntry(const WriteAnswer& answer) {
  const engine::OpResult& txn = answer.applied.op;
  const engine::RangeResult& read = answer.reads.front();
  entered_ = {.revision = answer.applied.revision, .term = answer.term};
  if (txn.succeeded) {
    created_ = answer.applied.revision;
    if (read.outcome != engine::Outcome::kOk) return OkStatus();
    entered_.there = true;
    NotePredecessor(read, entered_);
    look_ = entered_;
    return OkStatus();
  }
  if (read.outcome != engine::Outcome::kOk) return ToStatus(ErrorOf(read.outcome));
  CHECK(!read.kvs.empty());
  created_ = read.kvs.front().create_revision;
  entered_.revision = txn.nested.front().revision;  // before its value was replaced, as in etcd
  return OkStatus();
}

io::Task<Status> Contender::AwaitTurn(ClientError lost) {
  while (look_.there && !look_.predecessor.empty()) {
    Status changed = co_await AwaitChange();
    MS_CO_RETURN_IF_ERROR(changed);
    if (Mutated(Mutation::kContestGoneIsWon)) co_return OkStatus();
    Status looked = co_await LookAgain();
    MS_CO_RETURN_IF_ERROR(looked);
  }
  if (look_.there) co_return OkStatus();
  created_ = Revision();
  co_return ToStatus(lost);
}

// Until the predecessor's key or the own one is deleted after the look, or that may have been so.
io::Task<Status> Contender::AwaitChange() {
  WatchSession session(edge_.watches());
  for (const std::string* key : {&look_.predecessor, &key_}) {
    WatchSpec spec{.key = *key, .start = look_.revision + 1, .no_puts = true};
    StatusOr<int64_t> id = co_await session.Create(std::move(spec));
    MS_CO_RETURN_IF_ERROR(id.status());
  }
  const io::WaitLimit limit{.stop = request_.cancelled};
  while (true) {
    StatusOr<WatchDelivery> next = co_await session.Next(limit);
    MS_CO_RETURN_IF_ERROR(next.status());
    switch (next->kind) {
      case WatchDelivery::Kind::kCreated:
      case WatchDelivery::Kind::kProgress:
        break;
      case WatchDelivery::Kind::kEvents:
      case WatchDelivery::Kind::kCanceled:
        co_return OkStatus();
      case WatchDelivery::Kind::kRefused:
        co_return InternalError("cannot wait for a predecessor: ", next->reason);
    }
  }
}

io::Task<Status> Contender::LookAgain() {
  const engine::TxnOp txn = MakeLook();
  StatusOr<ReadTxnAnswer> answer = co_await ReadPatiently(edge_, request_, txn, false);
  MS_CO_RETURN_IF_ERROR(answer.status());
  NoteLook(*answer);
  co_return OkStatus();
}

engine::TxnOp Contender::MakeLook() const {
  engine::TxnOp txn;
  txn.success.push_back({engine::RangeOp{.key = key_, .keys_only = true}});
  txn.success.push_back({engine::RangeOp{.key = prefix_,
                                         .range_end = end_,
                                         .limit = 1,
                                         .sort_order = engine::SortOrder::kDescend,
                                         .sort_target = engine::SortTarget::kCreate,
                                         .keys_only = true,
                                         .max_create_revision = created_.value() - 1}});
  return txn;
}

void Contender::NoteLook(const ReadTxnAnswer& answer) {
  const engine::KeyValues& own = answer.ranges[0].kvs;
  look_ = {.revision = answer.revision, .term = answer.term};
  look_.there = !own.empty() && own.front().create_revision == created_;
  NotePredecessor(answer.ranges[1], look_);
}

// By terms of its own: those of the request may have come to their end.
io::Task<void> Contender::Withdraw() {
  const CallTerms terms{.deadline = edge_.now() + edge_.request_timeout()};
  while (granted_ || created_ != Revision()) {
    Status gone = OkStatus();
    if (granted_) {
      gone = co_await RevokeLease(terms);
    } else {
      gone = co_await TakeKeyAway(terms);
    }
    if (gone.ok() || !Passes(gone, false) || edge_.now() >= terms.deadline) co_return;
    co_await io::SleepUntil(edge_.runtime(), edge_.now() + kRetryPause);
  }
}

// Nobody else knows the lease. With it goes its key, even where it is not known whether that was
// made.
io::Task<Status> Contender::RevokeLease(CallTerms terms) {
  const Principal principal = PrincipalOf(request_);
  const engine::Command command{.header = NewHeader(edge_, principal),
                                .op = engine::LeaseRevokeOp{.lease = claim_.lease}};
  Write write{.id = command.header.request,
              .command = raft::Payload(engine::EncodeCommand(command)),
              .terms = terms};
  WriteResult revoked = co_await Propose(edge_, request_, std::move(write));
  co_return revoked.status();
}

// OK: the key is gone, or is the first.
io::Task<Status> Contender::TakeKeyAway(CallTerms terms) {
  while (true) {
    const engine::TxnOp look = MakeLook();
    StatusOr<ReadTxnAnswer> answer = co_await RunReadTxn(edge_, terms, look, false);
    MS_CO_RETURN_IF_ERROR(answer.status());
    NoteLook(*answer);
    if (!look_.there || look_.predecessor.empty()) co_return OkStatus();
    engine::TxnOp txn;
    txn.compares.push_back(
        {.target = engine::CompareTarget::kCreate, .key = key_, .number = created_.value()});
    txn.compares.push_back({.target = engine::CompareTarget::kCreate,
                            .key = look_.predecessor,
                            .number = look_.predecessor_created.value()});
    txn.success.push_back({engine::DeleteRangeOp{.key = key_}});
    WriteResult deleted = co_await ProposeTxn(edge_, request_, txn, terms);
    MS_CO_RETURN_IF_ERROR(deleted.status());
    if (deleted->applied.op.succeeded) co_return OkStatus();
  }
}

}  // namespace metastore::server
