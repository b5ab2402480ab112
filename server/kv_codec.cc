#include "server/kv_codec.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "io/base/check.h"
#include "io/base/limits.h"
#include "rpc.pb.h"
#include "server/answer_reads.h"

namespace metastore::server {
namespace {

using engine::Outcome;

// etcd's cost of one put beside its key and value.
constexpr uint64_t kPutOverheadBytes = 256;

std::string Own(const io::SharedBytes& bytes) { return std::string(bytes.view()); }

void EncodeKeyValue(const engine::KeyValue& kv, mvccpb::KeyValue& to) {
  to.set_key(Own(kv.key));
  to.set_value(Own(kv.value));
  to.set_create_revision(kv.create_revision.value());
  to.set_mod_revision(kv.mod_revision.value());
  to.set_version(kv.version);
  to.set_lease(kv.lease.value());
}

// protobuf's enums have sentinels, so these tables stand where a switch would be.
std::optional<engine::SortOrder> SortOrderOf(int64_t value) {
  if (value < 0 || value > static_cast<int64_t>(engine::SortOrder::kDescend)) return std::nullopt;
  return static_cast<engine::SortOrder>(value);
}
std::optional<engine::SortTarget> SortTargetOf(int64_t value) {
  if (value < 0 || value > static_cast<int64_t>(engine::SortTarget::kValue)) return std::nullopt;
  return static_cast<engine::SortTarget>(value);
}

static_assert(static_cast<int>(engine::SortOrder::kDescend) ==
              etcdserverpb::RangeRequest_SortOrder_DESCEND);
static_assert(static_cast<int>(engine::SortTarget::kValue) ==
              etcdserverpb::RangeRequest_SortTarget_VALUE);
static_assert(static_cast<int>(engine::CompareResult::kNotEqual) ==
              etcdserverpb::Compare_CompareResult_NOT_EQUAL);
static_assert(static_cast<int>(engine::CompareTarget::kLease) ==
              etcdserverpb::Compare_CompareTarget_LEASE);

// An unknown relation or target compares as etcd's zero values do.
engine::Compare DecodeCompare(const etcdserverpb::Compare& compare) {
  engine::Compare decoded{.key = compare.key(), .range_end = compare.range_end()};
  const int result = compare.result();
  const int target = compare.target();
  if (result >= 0 && result <= static_cast<int>(engine::CompareResult::kNotEqual)) {
    decoded.result = static_cast<engine::CompareResult>(result);
  }
  if (target >= 0 && target <= static_cast<int>(engine::CompareTarget::kLease)) {
    decoded.target = static_cast<engine::CompareTarget>(target);
  }
  switch (decoded.target) {
    case engine::CompareTarget::kVersion:
      decoded.number = compare.version();
      break;
    case engine::CompareTarget::kCreate:
      decoded.number = compare.create_revision();
      break;
    case engine::CompareTarget::kMod:
      decoded.number = compare.mod_revision();
      break;
    case engine::CompareTarget::kValue:
      decoded.value = compare.value();
      break;
    case engine::CompareTarget::kLease:
      decoded.number = compare.lease();
      break;
  }
  return decoded;
}

StatusOr<engine::TxnOp> DecodeTxnAt(const etcdserverpb::TxnRequest& request, size_t depth);

StatusOr<engine::Op> DecodeOp(const etcdserverpb::RequestOp& op, size_t depth) {
  if (op.has_request_range()) {
    StatusOr<engine::RangeOp> range = CheckRange(FieldsOf(op.request_range()));
    if (!range.ok()) return range.status();
    return engine::Op{*range};
  }
  if (op.has_request_put()) return engine::Op{DecodePut(op.request_put())};
  if (op.has_request_delete_range()) {
    return engine::Op{DecodeDeleteRange(op.request_delete_range())};
  }
  if (op.has_request_txn()) {
    StatusOr<engine::TxnOp> txn = DecodeTxnAt(op.request_txn(), depth + 1);
    if (!txn.ok()) return txn.status();
    return engine::Op{*std::move(txn)};
  }
  return ToStatus(errors::kKeyNotFound);  // odd, but etcd's
}

template <typename Ops>
Status DecodeOps(const Ops& from, size_t depth, std::vector<engine::Op>& to) {
  to.reserve(static_cast<size_t>(from.size()));
  for (const etcdserverpb::RequestOp& op : from) {
    StatusOr<engine::Op> decoded = DecodeOp(op, depth);
    if (!decoded.ok()) return decoded.status();
    to.push_back(*std::move(decoded));
  }
  return OkStatus();
}

StatusOr<engine::TxnOp> DecodeTxnAt(const etcdserverpb::TxnRequest& request, size_t depth) {
  if (depth > limits::kTxnDepthMax) return ToStatus(errors::kTooManyOps);
  engine::TxnOp txn;
  txn.compares.reserve(static_cast<size_t>(request.compare_size()));
  for (const etcdserverpb::Compare& compare : request.compare()) {
    txn.compares.push_back(DecodeCompare(compare));
  }
  MS_RETURN_IF_ERROR(DecodeOps(request.success(), depth, txn.success));
  MS_RETURN_IF_ERROR(DecodeOps(request.failure(), depth, txn.failure));
  return txn;
}

uint64_t CostOf(const std::vector<engine::Op>& ops) {
  uint64_t cost = 0;
  for (const engine::Op& op : ops) {
    if (const auto* put = std::get_if<engine::PutOp>(&op.op)) cost += QuotaCostOf(*put);
    if (const auto* txn = std::get_if<engine::TxnOp>(&op.op)) cost += QuotaCostOf(*txn);
  }
  return cost;
}

// Fills one ResponseOp by the kind of its operation.
class OpEncoder {
 public:
  OpEncoder(const engine::OpResult& result, AnswerReads& reads, etcdserverpb::ResponseOp& to)
      : result_(result), reads_(reads), to_(to) {}

  void operator()(const engine::RangeOp& /*op*/) {
    etcdserverpb::RangeResponse& response = *to_.mutable_response_range();
    response.mutable_header()->set_revision(result_.revision.value());
    EncodeRange(std::move(reads_.Next()), response);
  }
  void operator()(const engine::PutOp& op) {
    etcdserverpb::PutResponse& response = *to_.mutable_response_put();
    response.mutable_header()->set_revision(result_.revision.value());
    EncodePut(op, result_, reads_, response);
  }
  void operator()(const engine::DeleteRangeOp& op) {
    etcdserverpb::DeleteRangeResponse& response = *to_.mutable_response_delete_range();
    response.mutable_header()->set_revision(result_.revision.value());
    EncodeDeleteRange(op, result_, reads_, response);
  }
  void operator()(const engine::TxnOp& txn) {
    etcdserverpb::TxnResponse& response = *to_.mutable_response_txn();
    response.mutable_header()->set_revision(result_.revision.value());
    EncodeTxn(txn, result_, reads_, response);
  }

 private:
  const engine::OpResult& result_;
  AnswerReads& reads_;
  etcdserverpb::ResponseOp& to_;
};

}  // namespace

const ClientError& ErrorOf(engine::Outcome outcome) {
  static constexpr ClientError kUndecodable{StatusCode::kUnknown,
                                            "etcdserver: command not understood"};
  static constexpr ClientError kTooManyKeys{StatusCode::kInvalidArgument,
                                            "etcdserver: too many keys changed by one request"};
  switch (outcome) {
    case Outcome::kOk:
      break;
    case Outcome::kMalformed:
    case Outcome::kUnsupported:
      return kUndecodable;
    case Outcome::kKeyEmpty:
      return errors::kEmptyKey;
    case Outcome::kKeyNotFound:
      return errors::kKeyNotFound;
    case Outcome::kValueProvided:
      return errors::kValueProvided;
    case Outcome::kLeaseProvided:
      return errors::kLeaseProvided;
    case Outcome::kLeaseNotFound:
      return errors::kLeaseNotFound;
    case Outcome::kLeaseExists:
      return errors::kLeaseExists;
    case Outcome::kLeaseTtlTooLarge:
      return errors::kLeaseTtlTooLarge;
    case Outcome::kCompacted:
      return errors::kCompacted;
    case Outcome::kFutureRevision:
      return errors::kFutureRevision;
    case Outcome::kDuplicateKey:
      return errors::kDuplicateKey;
    case Outcome::kTooManyKeys:
      return kTooManyKeys;
    case Outcome::kTooManyOps:
      return errors::kTooManyOps;
    case Outcome::kStateReplaced:
      return errors::kLeaderChanged;  // clients retry it
  }
  CHECK_UNREACHABLE();
}

engine::PutOp DecodePut(const etcdserverpb::PutRequest& request) {
  return {.key = request.key(),
          .value = request.value(),
          .lease = LeaseId(request.lease()),
          .prev_kv = request.prev_kv(),
          .ignore_value = request.ignore_value(),
          .ignore_lease = request.ignore_lease()};
}

engine::DeleteRangeOp DecodeDeleteRange(const etcdserverpb::DeleteRangeRequest& request) {
  return {.key = request.key(), .range_end = request.range_end(), .prev_kv = request.prev_kv()};
}

RangeFields FieldsOf(const etcdserverpb::RangeRequest& request) {
  return {.op = {.key = request.key(),
                 .range_end = request.range_end(),
                 .limit = request.limit(),
                 .revision = request.revision(),
                 .keys_only = request.keys_only(),
                 .count_only = request.count_only(),
                 .min_mod_revision = request.min_mod_revision(),
                 .max_mod_revision = request.max_mod_revision(),
                 .min_create_revision = request.min_create_revision(),
                 .max_create_revision = request.max_create_revision()},
          .sort_order = request.sort_order(),
          .sort_target = request.sort_target(),
          .serializable = request.serializable()};
}

StatusOr<engine::RangeOp> CheckRange(const RangeFields& fields) {
  const std::optional<engine::SortOrder> order = SortOrderOf(fields.sort_order);
  const std::optional<engine::SortTarget> target = SortTargetOf(fields.sort_target);
  if (!order.has_value() || !target.has_value()) return ToStatus(errors::kInvalidSortOption);
  engine::RangeOp range = fields.op;
  range.sort_order = *order;
  range.sort_target = *target;
  return range;
}

StatusOr<engine::TxnOp> DecodeTxn(const etcdserverpb::TxnRequest& request) {
  return DecodeTxnAt(request, 1);
}

uint64_t QuotaCostOf(const engine::PutOp& put) {
  return kPutOverheadBytes + put.key.size() + put.value.size();
}

uint64_t QuotaCostOf(const engine::TxnOp& txn) {
  return std::max(CostOf(txn.success), CostOf(txn.failure));
}

engine::RangeResult& AnswerReads::Next() {
  CHECK(!reads_.empty());
  engine::RangeResult& next = reads_.front();
  reads_ = reads_.subspan(1);
  return next;
}

void EncodeRange(engine::RangeResult&& result, etcdserverpb::RangeResponse& response) {
  response.mutable_kvs()->Reserve(static_cast<int>(result.kvs.size()));
  for (const engine::KeyValue& kv : result.kvs) EncodeKeyValue(kv, *response.add_kvs());
  response.set_more(result.more);
  response.set_count(result.count);
}

void EncodePut(const engine::PutOp& op, const engine::OpResult& result, AnswerReads& reads,
               etcdserverpb::PutResponse& response) {
  if (!ReadsPrevious(op, result)) return;
  const engine::RangeResult& read = reads.Next();
  if (!read.kvs.empty()) EncodeKeyValue(read.kvs.front(), *response.mutable_prev_kv());
}

void EncodeDeleteRange(const engine::DeleteRangeOp& op, const engine::OpResult& result,
                       AnswerReads& reads, etcdserverpb::DeleteRangeResponse& response) {
  response.set_deleted(result.deleted);
  if (!ReadsPrevious(op, result)) return;
  for (const engine::KeyValue& kv : reads.Next().kvs) EncodeKeyValue(kv, *response.add_prev_kvs());
}

void EncodeTxn(const engine::TxnOp& txn, const engine::OpResult& result, AnswerReads& reads,
               etcdserverpb::TxnResponse& response) {
  response.set_succeeded(result.succeeded);
  const std::vector<engine::Op>& branch = result.succeeded ? txn.success : txn.failure;
  CHECK_EQ(branch.size(), result.nested.size());
  for (size_t i = 0; i < branch.size(); ++i) {
    OpEncoder encoder(result.nested[i], reads, *response.add_responses());
    std::visit(encoder, branch[i].op);
  }
}

}  // namespace metastore::server
