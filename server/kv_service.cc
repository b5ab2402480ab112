// etcdserverpb.KV: Range, Put, DeleteRange, Txn, Compact.
//
// Each function is one request on its edge core: decode, permit, refuse early what apply would
// refuse anyway, send it to the state core, encode the answer.

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/txn_check.h"
#include "io/cross_call.h"
#include "io/yield_as.h"
#include "rpc.pb.h"
#include "server/answer_reads.h"
#include "server/authorise.h"
#include "server/kv_codec.h"
#include "server/kv_wire.h"
#include "server/method_table.h"
#include "server/propose.h"
#include "server/read_txn.h"

namespace metastore::server {
namespace {

// A request's operation, which borrows from the request, or from the message where protobuf had to
// parse it.
struct PutRequest {
  Status Parse(const net::GrpcRequest& request) {
    if (DecodePutWire(request.message, op)) return OkStatus();
    MS_RETURN_IF_ERROR(ParseRequest(request, message.emplace()));
    op = DecodePut(*message);
    return OkStatus();
  }

  engine::PutOp op;
  std::optional<etcdserverpb::PutRequest> message;
};

struct RangeRequest {
  Status Parse(const net::GrpcRequest& request) {
    if (DecodeRangeWire(request.message, fields)) return OkStatus();
    MS_RETURN_IF_ERROR(ParseRequest(request, message.emplace()));
    fields = FieldsOf(*message);
    return OkStatus();
  }

  RangeFields fields;
  std::optional<etcdserverpb::RangeRequest> message;
};

io::Task<net::GrpcReply> Put(Edge& edge, net::GrpcRequest& request) {
  PutRequest parsed;
  Status status = parsed.Parse(request);
  if (!status.ok()) co_return net::GrpcReply{.status = std::move(status)};
  const engine::PutOp& put = parsed.op;
  const engine::Outcome check = engine::CheckPut(put);
  if (check != engine::Outcome::kOk) co_return ReplyError(ErrorOf(check));
  const Principal principal = PrincipalOf(request);
  Status permitted = Authorise(principal, put);
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};

  const engine::CommandHeader header = NewHeader(edge, principal);
  Write write{.id = header.request, .quota_cost_bytes = QuotaCostOf(put)};
  write.command = raft::Payload::Uninitialized(engine::EncodedPutBytes(header, put));
  engine::EncodePutTo(header, put, write.command.mutable_data());
  const engine::CommandOp op = put;
  if (put.prev_kv) write.op = &op;
  WriteResult result = co_await Propose(edge, request, std::move(write));
  if (!result.ok()) co_return net::GrpcReply{.status = result.status()};
  const engine::KeyValue* previous = nullptr;
  if (ReadsPrevious(put, result->applied.op) && !result->reads.front().kvs.empty()) {
    previous = &result->reads.front().kvs.front();
  }
  co_return net::GrpcReply{
      .message = EncodePutWire(edge.HeaderOf(result->applied.revision, result->term), previous)};
}

io::Task<net::GrpcReply> DeleteRange(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::DeleteRangeRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  if (message.key().empty()) co_return ReplyError(errors::kEmptyKey);
  const Principal principal = PrincipalOf(request);
  engine::Command command{.header = NewHeader(edge, principal), .op = DecodeDeleteRange(message)};
  const auto& op = std::get<engine::DeleteRangeOp>(command.op);
  Status permitted = Authorise(principal, op);
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};

  Write write{.id = command.header.request,
              .command = raft::Payload(engine::EncodeCommand(command))};
  if (op.prev_kv) write.op = &command.op;
  WriteResult result = co_await Propose(edge, request, std::move(write));
  if (!result.ok()) co_return net::GrpcReply{.status = result.status()};
  etcdserverpb::DeleteRangeResponse response;
  edge.FillHeader(result->applied.revision, result->term, *response.mutable_header());
  AnswerReads reads(result->reads);
  EncodeDeleteRange(op, result->applied.op, reads, response);
  co_return ReplyWith(response);
}

// Whether every range asks for no more than this member's own state; also true of none.
bool AllSerializable(const etcdserverpb::TxnRequest& message) {
  const auto serializable = [](const etcdserverpb::RequestOp& op) {
    return op.request_range().serializable();
  };
  return std::ranges::all_of(message.success(), serializable) &&
         std::ranges::all_of(message.failure(), serializable);
}

io::Task<net::GrpcReply> ReadTxn(Edge& edge, net::GrpcRequest& request, const engine::TxnOp& txn,
                                 bool serializable) {
  StatusOr<ReadTxnAnswer> answer =
      co_await RunReadTxn(edge, edge.TermsOf(request), txn, serializable);
  if (!answer.ok()) co_return net::GrpcReply{.status = answer.status()};
  etcdserverpb::TxnResponse response;
  edge.FillHeader(answer->revision, answer->term, *response.mutable_header());
  AnswerReads reads(answer->ranges);
  EncodeTxn(txn, answer->result, reads, response);
  co_return ReplyWith(response);
}

io::Task<net::GrpcReply> Txn(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::TxnRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  StatusOr<engine::TxnOp> decoded = DecodeTxn(message);
  if (!decoded.ok()) co_return net::GrpcReply{.status = decoded.status()};
  const engine::Outcome check = engine::CheckTxn(*decoded, edge.config().request.txn_ops_max);
  if (check != engine::Outcome::kOk) co_return ReplyError(ErrorOf(check));
  const Principal principal = PrincipalOf(request);
  engine::Command command{.header = NewHeader(edge, principal), .op = *std::move(decoded)};
  const auto& txn = std::get<engine::TxnOp>(command.op);
  Status permitted = Authorise(principal, txn);
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};
  if (IsReadOnly(txn)) {
    net::GrpcReply reply = co_await ReadTxn(edge, request, txn, AllSerializable(message));
    co_return reply;
  }

  Write write{.id = command.header.request,
              .command = raft::Payload(engine::EncodeCommand(command))};
  write.quota_cost_bytes = QuotaCostOf(txn);
  if (NeedsAnswerReads(command.op)) write.op = &command.op;
  WriteResult result = co_await Propose(edge, request, std::move(write));
  if (!result.ok()) co_return net::GrpcReply{.status = result.status()};
  etcdserverpb::TxnResponse response;
  edge.FillHeader(result->applied.revision, result->term, *response.mutable_header());
  AnswerReads reads(result->reads);
  EncodeTxn(txn, result->applied.op, reads, response);
  co_return ReplyWith(response);
}

constexpr size_t kHeavyAnswerBytes = 256 * limits::kKiB;

bool IsHeavy(const engine::RangeResult& result) {
  size_t bytes = 0;
  for (const engine::KeyValue& kv : result.kvs) {
    bytes += kv.key.size() + kv.value.size();
    if (bytes > kHeavyAnswerBytes) return true;
  }
  return false;
}

io::Task<net::GrpcReply> Range(Edge& edge, net::GrpcRequest& request) {
  RangeRequest parsed;
  Status status = parsed.Parse(request);
  if (!status.ok()) co_return net::GrpcReply{.status = std::move(status)};
  if (parsed.fields.op.key.empty()) co_return ReplyError(errors::kEmptyKey);
  StatusOr<engine::RangeOp> range = CheckRange(parsed.fields);
  if (!range.ok()) co_return net::GrpcReply{.status = range.status()};
  Status permitted =
      Authorise(PrincipalOf(request), Access{Permission::kRead, range->key, range->range_end});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};

  ReadCall call(edge.runtime(), edge.state().core(), edge.group());
  call.terms = edge.TermsOf(request);
  call.serializable = parsed.fields.serializable;
  call.query.range = *range;
  const bool arrived = co_await call;
  if (!arrived) co_return ReplyError(errors::kTooManyRequests);
  if (!call.result.ok()) co_return net::GrpcReply{.status = call.result.status()};
  const engine::RangeResult& result = call.result->range;
  if (result.outcome != engine::Outcome::kOk) co_return ReplyError(ErrorOf(result.outcome));
  if (IsHeavy(result)) {
    // Encoding it takes milliseconds: hundreds of such answers must not stand before a put.
    co_await io::YieldAs(io::ReadyClass::kBackground);
  }
  co_return net::GrpcReply{
      .message = EncodeRangeWire(edge.HeaderOf(result.revision, call.result->term), result)};
}

io::Task<void> WaitRemoved(Edge& edge, Revision revision, io::WaitLimit limit,
                           io::WaitResult& result) {
  limit.timers = &edge.state();
  result = co_await edge.group().WaitRemoved(revision, limit);
}

io::Task<net::GrpcReply> Compact(Edge& edge, net::GrpcRequest& request) {
  etcdserverpb::CompactionRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  const Principal principal = PrincipalOf(request);
  Status permitted = Authorise(principal, Access{Permission::kAdminister, {}, {}});
  if (!permitted.ok()) co_return net::GrpcReply{.status = std::move(permitted)};

  const engine::CompactOp op{.revision = Revision(message.revision()),
                             .physical = message.physical()};
  engine::Command command{.header = NewHeader(edge, principal), .op = op};
  Write write{.id = command.header.request,
              .command = raft::Payload(engine::EncodeCommand(command))};
  WriteResult result = co_await Propose(edge, request, std::move(write));
  if (!result.ok()) co_return net::GrpcReply{.status = result.status()};
  if (op.physical) {
    io::WaitResult removed = io::WaitResult::kStopped;
    const io::WaitLimit limit{.deadline = edge.TermsOf(request).deadline};
    io::CrossTask wait(edge.runtime(), edge.state(),
                       [&] { return WaitRemoved(edge, op.revision, limit, removed); });
    const bool arrived = co_await wait;
    if (!arrived) co_return ReplyError(errors::kTooManyRequests);
    if (removed == io::WaitResult::kTimedOut) co_return ReplyError(errors::kTimeout);
    if (removed == io::WaitResult::kStopped) co_return ReplyError(errors::kStopped);
  }
  etcdserverpb::CompactionResponse response;
  edge.FillHeader(result->applied.revision, result->term, *response.mutable_header());
  co_return ReplyWith(response);
}

constexpr UnaryMethod kMethods[] = {
    {"/etcdserverpb.KV/Range", Range},
    {"/etcdserverpb.KV/Put", Put},
    {"/etcdserverpb.KV/DeleteRange", DeleteRange},
    {"/etcdserverpb.KV/Txn", Txn},
    {"/etcdserverpb.KV/Compact", Compact},
};

}  // namespace

std::span<const UnaryMethod> KvMethods() { return kMethods; }

}  // namespace metastore::server
