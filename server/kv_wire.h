// Put and Range between their wire form and the engine, without protobuf's message objects: most
// requests are one of the two, and parsing into objects copies every key and value. Pure functions.
//
// The decoders know the fields of the API in any order and number, as protobuf reads them. Whatever
// else a message holds (unknown fields, other wire types, malformed bytes) they leave to protobuf,
// which alone decides what is malformed.
//
// Format: protocol buffers' encoding of the messages in server/proto/rpc.proto.
#pragma once

#include <string>
#include <string_view>

#include "engine/command.h"
#include "engine/types.h"

namespace metastore::server {

// What stands at the head of every response.
struct WireHeader {
  ClusterId cluster;
  NodeId member;
  Revision revision;
  Term term;
};

// RangeRequest's fields that need a check before they are an engine's (DecodeRange in kv_codec.h).
struct RangeFields {
  engine::RangeOp op;  // without sort_order and sort_target
  int64_t sort_order = 0;
  int64_t sort_target = 0;
  bool serializable = false;
};

// A PutRequest; `put` borrows from `bytes`. False: protobuf has to parse it; `put` is unspecified.
bool DecodePutWire(std::string_view bytes, engine::PutOp& put);
// A RangeRequest, likewise.
bool DecodeRangeWire(std::string_view bytes, RangeFields& range);

// A PutResponse; `previous` null: without prev_kv.
std::string EncodePutWire(const WireHeader& header, const engine::KeyValue* previous);
// A RangeResponse; header.revision is ignored in favour of the result's.
std::string EncodeRangeWire(const WireHeader& header, const engine::RangeResult& result);

}  // namespace metastore::server
