// Between etcd's KV messages and the engine's operations and results. Pure functions.
//
// Decoding borrows keys and values from the message, which outlives the operation. Encoding takes
// the results of answer reads in the order of server/answer_reads.h.
#pragma once

#include <span>

#include "engine/command.h"
#include "engine/types.h"
#include "io/base/status.h"
#include "server/errors.h"
#include "server/kv_wire.h"

namespace etcdserverpb {
class CompactionRequest;
class DeleteRangeRequest;
class DeleteRangeResponse;
class PutRequest;
class PutResponse;
class RangeRequest;
class RangeResponse;
class ResponseHeader;
class TxnRequest;
class TxnResponse;
}  // namespace etcdserverpb

namespace metastore::server {

// The client error for a failed engine operation; kOk has none (CHECKed).
const ClientError& ErrorOf(engine::Outcome outcome);

engine::PutOp DecodePut(const etcdserverpb::PutRequest& request);
engine::DeleteRangeOp DecodeDeleteRange(const etcdserverpb::DeleteRangeRequest& request);
// The fields as the wire decoder gives them (kv_wire.h).
RangeFields FieldsOf(const etcdserverpb::RangeRequest& request);
// Errors: errors::kInvalidSortOption   an order or target this API does not have
StatusOr<engine::RangeOp> CheckRange(const RangeFields& fields);
// Errors: as CheckRange; errors::kTooManyOps  nested deeper than limits::kTxnDepthMax;
//         errors::kKeyNotFound  an operation without content (as etcd has it)
StatusOr<engine::TxnOp> DecodeTxn(const etcdserverpb::TxnRequest& request);
// Bytes that admission counts against the quota: of a put, and of a transaction's dearer branch.
uint64_t QuotaCostOf(const engine::PutOp& put);
uint64_t QuotaCostOf(const engine::TxnOp& txn);

// The fields of the answers besides their headers.
void EncodeRange(engine::RangeResult&& result, etcdserverpb::RangeResponse& response);

// Takes answer reads one after the other.
class AnswerReads {
 public:
  explicit AnswerReads(std::span<engine::RangeResult> reads) : reads_(reads) {}
  engine::RangeResult& Next();

 private:
  std::span<engine::RangeResult> reads_;
};

void EncodePut(const engine::PutOp& op, const engine::OpResult& result, AnswerReads& reads,
               etcdserverpb::PutResponse& response);
void EncodeDeleteRange(const engine::DeleteRangeOp& op, const engine::OpResult& result,
                       AnswerReads& reads, etcdserverpb::DeleteRangeResponse& response);
// Sub-answers' headers carry their revision only.
void EncodeTxn(const engine::TxnOp& txn, const engine::OpResult& result, AnswerReads& reads,
               etcdserverpb::TxnResponse& response);

}  // namespace metastore::server
