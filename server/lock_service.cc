// v3lockpb.Lock: Lock, Unlock.
//
// A lock is a contest (server/contest.h) whose keys have no value. Only the key of the holder tells
// who holds it: what is done under the lock can name it, with its create revision, in a
// transaction's compares.

#include <utility>

#include "lock.pb.h"
#include "server/contest.h"
#include "server/kv_codec.h"
#include "server/method_table.h"

namespace metastore::server {
namespace {

// etcd's text, of newer versions; older ones answer as if the lock were held.
constexpr ClientError kSessionExpired{StatusCode::kUnknown, "mutex: session is expired"};

io::Task<net::GrpcReply> Lock(Edge& edge, net::GrpcRequest& request) {
  v3lockpb::LockRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  Contender contender(edge, request, {.name = message.name(), .lease = LeaseId(message.lease())});
  Status won = co_await contender.Win(kSessionExpired);
  if (!won.ok()) co_return net::GrpcReply{.status = ServiceError(edge, request, won)};
  v3lockpb::LockResponse response;
  const Contender::Look& look = contender.won();
  edge.FillHeader(look.revision, look.term, *response.mutable_header());
  response.set_key(contender.key());
  co_return ReplyWith(response);
}

// Of a key that is not there: nothing happens, as in etcd.
io::Task<net::GrpcReply> Unlock(Edge& edge, net::GrpcRequest& request) {
  v3lockpb::UnlockRequest message;
  Status parsed = ParseRequest(request, message);
  if (!parsed.ok()) co_return net::GrpcReply{.status = std::move(parsed)};
  engine::TxnOp txn;
  txn.success.push_back({engine::DeleteRangeOp{.key = message.key()}});
  WriteResult result = co_await ProposeTxn(edge, request, txn);
  if (!result.ok()) {
    co_return net::GrpcReply{.status = ServiceError(edge, request, result.status())};
  }
  v3lockpb::UnlockResponse response;
  edge.FillHeader(result->applied.revision, result->term, *response.mutable_header());
  co_return ReplyWith(response);
}

constexpr UnaryMethod kMethods[] = {
    {"/v3lockpb.Lock/Lock", Lock},
    {"/v3lockpb.Lock/Unlock", Unlock},
};

}  // namespace

std::span<const UnaryMethod> LockMethods() { return kMethods; }

}  // namespace metastore::server
