// What the services of one edge core share: who this member is, and the way to the state core.
//
// One a core, owned by EdgeCore; used on that core only.
#pragma once

#include "io/runtime.h"
#include "net/grpc.h"
#include "server/config.h"
#include "server/group.h"
#include "server/kv_wire.h"
#include "server/stage_times.h"

namespace etcdserverpb {
class ResponseHeader;
}

namespace google::protobuf {
class MessageLite;
}

namespace metastore::server {

class WatchTable;

struct Identity {
  ClusterId cluster;
  NodeId member;
  uint32_t boot = 0;  // of this member's data directory
};

class Edge final {
 public:
  Edge(io::Runtime& runtime, io::Runtime& state, Group& group, Identity identity,
       const Config& config)
      : runtime_(runtime), state_(state), group_(group), identity_(identity), config_(config) {}

  io::Runtime& runtime() { return runtime_; }
  MonoTime now() const { return runtime_.Now(); }
  // The runtime of the group's core: to be named in cross calls, not to be used here.
  io::Runtime& state() { return state_; }
  Group& group() { return group_; }
  const Identity& identity() const { return identity_; }
  const Config& config() const { return config_; }
  // The watchers of this core, once the EdgeCore has them.
  WatchTable& watches() { return *watches_; }
  void SetWatches(WatchTable& watches) { watches_ = &watches; }
  StageMeter& stages() { return stages_; }
  const StageMeter& stages() const { return stages_; }

  // Unique for ever: the member, its boot, and a counter whose top byte is this core.
  engine::RequestId NextRequestId() {
    return {.node = identity_.member,
            .boot = identity_.boot,
            .counter = (static_cast<uint64_t>(runtime_.core()) << 56) + ++requests_};
  }
  // etcd's: 5 s and two elections.
  Duration request_timeout() const { return Seconds(5) + config_.raft.election_timeout * 2; }
  // The request's own deadline or the request timeout, whichever is earlier; hasleader.
  CallTerms TermsOf(const net::GrpcRequest& request) const;
  WireHeader HeaderOf(Revision revision, Term term) const {
    return {identity_.cluster, identity_.member, revision, term};
  }
  void FillHeader(Revision revision, Term term, etcdserverpb::ResponseHeader& header) const;

 private:
  io::Runtime& runtime_;
  io::Runtime& state_;
  Group& group_;
  const Identity identity_;
  const Config& config_;
  uint64_t requests_ = 0;
  WatchTable* watches_ = nullptr;
  StageMeter stages_;
};

// Parses `request`'s message into `message`.
// Errors: kInternal   with grpc-go's text: not the wire form of that message
Status ParseRequest(const net::GrpcRequest& request, google::protobuf::MessageLite& message);
// An OK reply with `message` encoded.
net::GrpcReply ReplyWith(const google::protobuf::MessageLite& message);
inline net::GrpcReply ReplyError(const ClientError& error) { return {.status = ToStatus(error)}; }

}  // namespace metastore::server
