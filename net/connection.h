// One accepted connection, from its first bytes to its close: the protocol is told by the first
// bytes, as etcd does it on plain ports (HTTP/2 begins with "PRI * HTTP/2.0", RFC 9113 3.4).
//
// Runs as one root task of ClientServer, and for HTTP/2 further ones of its own gate. What
// ConnectionHost lends outlives every connection.
#pragma once

#include <string>
#include <string_view>

#include "io/runtime.h"
#include "net/byte_budget.h"
#include "net/byte_stream.h"
#include "net/grpc.h"
#include "net/grpc_call.h"
#include "net/http1.h"
#include "net/server_options.h"
#include "net/server_stats.h"

namespace metastore::net {

struct ConnectionHost {
  io::Runtime& runtime;
  GrpcHandler& grpc;
  HttpHandler& http;
  const ServerOptions& options;
  ServerStats& stats;
  ByteBudget& held_requests;
  ByteBudget& held_replies;
  GrpcCallPool& calls;
  io::StopToken draining;  // finish what is under way, begin nothing
  io::StopToken stopped;   // end now
  uint64_t hash_seed;      // of tables whose keys the peer chooses
};

enum class Protocol : uint8_t { kUndecided, kHttp2, kHttp1, kNeither };
// What a connection that begins with `first` speaks. Three bytes decide: no HTTP/1 method begins
// with "PRI".
Protocol SniffProtocol(std::string_view first);

// Serves `stream` until it ends; it is closed then. Never fails: whatever goes wrong is the peer's
// loss and is counted.
io::Task<void> ServeConnection(ConnectionHost& host, ByteStream& stream, PortUse use);

// The same once the protocol is known and `first` has been received.
io::Task<void> ServeHttp2(ConnectionHost& host, ByteStream& stream, std::string first);
io::Task<void> ServeHttp1(ConnectionHost& host, ByteStream& stream, std::string first);

}  // namespace metastore::net
