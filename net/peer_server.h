// PeerServer: the peer ports: accepts members' streams and hands them to their handler.
//
// Owned by the node, on its state core. Shutdown must complete before it is destroyed.
//
// A member's newer message stream ends its older one: after a power loss the older would linger.
// Snapshot streams run in the background class.
//
// Bounds: kStreamsMax streams at once, those not yet introduced included; further ones are accepted
// and closed at once. Who does not introduce itself is closed after options.handshake_timeout. One
// log line a second at most about what was refused.
#pragma once

#include <memory>
#include <vector>

#include "io/gate.h"
#include "io/runtime.h"
#include "net/peer_stream.h"

namespace metastore::net {

class PeerHandler {
 public:
  virtual ~PeerHandler() = default;
  // Whether who says this hello may speak here. An error is told to the dialler in its words.
  virtual Status Admit(const PeerHello& hello) = 0;
  // Serves an admitted stream. Returns when `stream` ends; it is closed then, and at Shutdown.
  virtual io::Task<void> Serve(PeerStream& stream) = 0;
};

struct PeerServerStats {
  uint64_t accepted_total = 0;
  uint64_t refused_total = 0;  // by Admit, or too many, or not this protocol
  size_t streams = 0;
};

class PeerServer final {
 public:
  static constexpr size_t kStreamsMax = 256;

  // Both outlive it. options.stop is the server's own.
  PeerServer(io::Runtime& runtime, PeerHandler& handler, PeerStreamOptions options);
  ~PeerServer();

  // May be called for several addresses. Returns the address with the port the system chose.
  // Errors: those of io::Runtime::Listen
  //         kFailedPrecondition  shut down
  StatusOr<io::Address> Listen(const io::Address& address);
  // Closes every stream of that member: it has left the cluster.
  void CloseStreamsOf(NodeId member);
  // Closes the streams of that member that come from another data directory than `incarnation`.
  void CloseStreamsButOf(NodeId member, uint64_t incarnation);
  // CloseStreamsOf but for its questions (kMembers): nothing that it had sent there is delivered
  // any more.
  void CloseMessagesOf(NodeId member);
  // Completes when every stream has ended and its handler has returned.
  io::Task<void> Shutdown();

  const PeerServerStats& stats() const { return stats_; }

 private:
  io::Task<void> AcceptLoop(io::Listener& listener);
  io::Task<void> Serve(std::unique_ptr<io::Socket> socket);
  io::Task<Status> ServeIntroduced(PeerStream& stream);

  void Accepted(std::unique_ptr<io::Socket> socket);
  void CloseOlder(const PeerHello& newer);
  void Refused(const Status& why);

  io::Runtime& runtime_;
  PeerHandler& handler_;
  PeerStreamOptions options_;
  PeerServerStats stats_;
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::vector<PeerStream*> streams_;  // admitted
  MonoTime quiet_until_;              // for the log
  io::StopSource stop_;
  io::Gate gate_;
};

}  // namespace metastore::net
