// PeerLink: this member's messages to one other, over a stream that it dials again and again.
//
// Owned by the node's set of peers, on its state core. Messages are opaque and may get lost when
// the link breaks, as raft expects; they are never repeated, and come in the order of their class.
// What is sent while a frame is on its way shares the next one. Urgent messages (heartbeats,
// votes, answers) overtake bulk ones, which are cut into frames of about kBulkFrameBytes, so that a
// heartbeat waits for one such frame at most.
//
// Bounds: options.queue_bytes_max of waiting bulk messages and PeerOutbox::kUrgentBytesMax of
// urgent ones, plus a message each and the frame on its way; a full or broken link refuses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "io/gate.h"
#include "io/runtime.h"
#include "net/peer_outbox.h"
#include "net/peer_stream.h"

namespace metastore::net {

struct PeerEndpoint {
  std::string host;  // a name or an IP literal
  uint16_t port = 0;
  bool operator==(const PeerEndpoint&) const = default;
};

struct PeerLinkOptions {
  PeerHello hello;                      // of kind kMessages; `to` is the peer
  std::vector<PeerEndpoint> endpoints;  // tried in turn
  PeerStreamOptions stream;             // silence_max of 0 becomes kSilenceMax; stop is the link's
  size_t queue_bytes_max = 64 * limits::kMiB;
  Duration retry_min = Milliseconds(50);  // between attempts, doubling with jitter up to
  Duration retry_max = Seconds(1);
};

// The type of the frames that carry messages.
inline constexpr uint16_t kPeerMessagesType = 1;

struct PeerLinkStats {
  bool up = false;
  uint64_t connects_total = 0;
  uint64_t failures_total = 0;  // attempts and established links that ended
  uint64_t sent_total = 0;      // messages
  uint64_t dropped_total = 0;   // refused by a full or broken link, or lost with it
  size_t queued_bytes = 0;      // waiting
  MonoTime up_since;
  PeerFrameStats frames;  // of all connections so far
  Status last_error;
};

// Hears of the link's state, on its core, never inside a call of its own.
class PeerLinkListener {
 public:
  virtual ~PeerLinkListener() = default;
  virtual void OnPeerUp(NodeId peer) = 0;
  // `why` names what the peer or the network said. Called for each failed attempt too. Once for
  // each OnPeerUp, then also at Stop (kCancelled).
  virtual void OnPeerDown(NodeId peer, const Status& why) = 0;
};

class PeerLink final {
 public:
  static constexpr size_t kBulkFrameBytes = PeerOutbox::kFrameBytes;
  static constexpr Duration kSilenceMax = Seconds(5);

  // `runtime` and `listener` outlive it.
  PeerLink(io::Runtime& runtime, PeerLinkOptions options, PeerLinkListener& listener);
  ~PeerLink();

  void Start();
  // Completes when its tasks have ended; drops what waits. Waits for an attempt to connect (1 s at
  // most) and for the system's resolver, which cannot be called off.
  io::Task<void> Stop();

  // Queues one message, whose bytes `encode` appends; at most
  // PeerOutbox::kMessageBytesMax (CHECKed).
  // False, and nothing is encoded: the link is down or full.
  bool Send(PeerUrgency urgency, absl::FunctionRef<void(std::string&)> encode);
  // The peer has moved: the next attempt goes there, and a link that is up is made anew. The same
  // ones again change nothing.
  void SetEndpoints(std::vector<PeerEndpoint> endpoints);

  NodeId peer() const { return options_.hello.to; }
  bool up() const { return stats_.up; }
  const PeerLinkStats& stats() const { return stats_; }

 private:
  io::Task<void> Run();
  io::Task<Status> Connect(std::unique_ptr<PeerStream>& stream);
  io::Task<Status> Serve(PeerStream& stream);
  io::Task<void> SendFrames(PeerStream& stream);
  io::Task<Status> SendBatch(PeerStream& stream);
  io::Task<void> WatchEnd(PeerStream& stream);
  io::Task<void> Rest(Duration pause);

  void End(Status why);
  void WentDown(const Status& why);
  Duration NextPause(Duration last, Duration lasted) const;

  io::Runtime& runtime_;
  PeerLinkOptions options_;
  PeerLinkListener& listener_;
  PeerOutbox outbox_;
  PeerStream* stream_ = nullptr;  // while up
  Status end_;                    // of that one: the first reason
  bool watching_ = false;         // WatchEnd runs
  bool moved_ = false;            // SetEndpoints since the attempt began
  size_t endpoint_ = 0;           // next to try
  PeerFrameStats past_frames_;    // of earlier connections
  io::Signal wanted_;             // something to do for the one task that waits
  PeerLinkStats stats_;
  io::StopSource stop_;
  io::Gate gate_;
};

}  // namespace metastore::net
