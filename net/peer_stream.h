// PeerStream: one connection between two members, introduced: frames both ways.
//
// Who dials sends a hello frame first; who is dialled judges it and answers with a welcome frame or
// a refusal that names the reason, then closes. Only after that other frames flow. Types from
// kPeerReservedTypes up are the stream's own; formats: peer_stream.cc.
//
// Owned by one object on one core. At most one Send and one Receive at a time (CHECKed). Close, or
// the runtime's stop, ends both with kCancelled; only then may the stream be destroyed.
//
// A stream of kMessages carries the user's frames one way only, from the dialler (CHECKed). The
// dialled side's Receive answers with a sign of life about once a second while anything arrives, so
// that the dialler's Receive, which must wait all the time, sees a dead, stuck or cut-off peer by
// silence_max even where the system goes on taking its bytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "io/base/ids.h"
#include "io/runtime.h"
#include "net/peer_frame.h"

namespace metastore::net {

// What a stream is for. Values are part of the format.
enum class PeerStreamKind : uint8_t {
  kMessages = 1,  // raft messages, dialler to dialled only
  kSnapshot = 2,  // one snapshot of one group
  kMembers = 3,   // questions about the membership, by members and by those that want to join
};

// Frame types of a stream's user are below.
inline constexpr uint16_t kPeerReservedTypes = 0xff00;
// The least time between two signs of life.
inline constexpr Duration kPeerAliveEvery = Seconds(1);

// Who dials and whom it means to reach.
inline constexpr size_t kPeerReachedAtMax = 512;

struct PeerHello {
  PeerStreamKind kind = PeerStreamKind::kMessages;
  ClusterId cluster;         // 0: not known yet (kMembers only)
  NodeId from;               // 0: likewise
  NodeId to;                 // 0: whoever answers (kMembers only)
  uint64_t incarnation = 0;  // of the dialler's data directory: a wiped disk has another one
  uint8_t rules = 0;         // of the cluster, as the user numbers them: the same on all members
  // Where the dialler is reached, as the user writes it; left out if it is longer than
  // kPeerReachedAtMax bytes.
  std::string reached_at;

  bool operator==(const PeerHello&) const = default;
};

struct PeerStreamOptions {
  PeerCompression compression = PeerCompression::kOff;
  // Of connecting and of the introduction. Connecting gets 1 s of it at most.
  Duration handshake_timeout = Seconds(5);
  // A Receive got nothing, or the system took nothing (512 KiB at most) of a Send, for so long: the
  // stream ends with kUnavailable. 0: never. For kMessages at least 3 x kPeerAliveEvery.
  Duration silence_max;
  // Closes the stream, also while it is being made.
  io::StopToken stop;
};

class PeerStream final {
 public:
  // Connects and introduces this member.
  // Errors: kUnavailable         not reachable, or closed under way
  //         kDeadlineExceeded    no answer in handshake_timeout
  //         kFailedPrecondition, kPermissionDenied, kUnimplemented   refused: the code and the
  //         words of the one who was dialled
  //         kDataLoss            it does not speak this protocol
  //         kCancelled           options.stop, or the runtime's
  static io::Task<StatusOr<std::unique_ptr<PeerStream>>> Dial(io::Runtime& runtime,
                                                              io::Address address, PeerHello hello,
                                                              PeerStreamOptions options);
  // The dialled side: waits for the hello on a connection just accepted. Errors: as above, but that
  // a hello of another version (kUnimplemented) is answered with a refusal.
  static io::Task<StatusOr<std::unique_ptr<PeerStream>>> Accept(io::Runtime& runtime,
                                                                std::unique_ptr<io::Socket> socket,
                                                                PeerStreamOptions options);
  // The dialled side, once, first: lets it in (OK), or tells it why not; then it is closed.
  // Errors: as of Send
  io::Task<Status> Answer(Status verdict);

  ~PeerStream();

  // Completes when the frame is in the system's hands. `body` stays in place until then.
  // Errors: kUnavailable  broken, or stuck too long
  io::Task<Status> Send(uint16_t type, std::string_view body);
  // The same without copying the body, which lies in `frame` behind kPeerFrameHeaderBytes of room;
  // that is overwritten.
  io::Task<Status> SendInPlace(uint16_t type, std::string& frame);
  // The dialler of kMessages, when it has sent nothing else for kPeerAliveEvery.
  io::Task<Status> SendAlive();
  // The next frame, valid until the next Receive.
  // Errors: kUnavailable  the stream is closed by the other side, broken, or was silent too long
  //         kDataLoss     damaged on the way, or against the protocol
  io::Task<StatusOr<PeerFrame>> Receive();
  void Close();

  const PeerHello& hello() const { return hello_; }
  const io::Address& address() const { return address_; }
  const PeerFrameStats& sent() const { return encoder_.stats(); }

 private:
  struct Alarm : io::Timer {
    PeerStream* owner = nullptr;
  };
  struct CloseOnStop : io::StopCallback {
    PeerStream* owner = nullptr;
  };

  PeerStream(io::Runtime& runtime, std::unique_ptr<io::Socket> socket, bool dialled,
             PeerStreamOptions options);

  io::Task<Status> Introduce();
  io::Task<Status> AwaitHello();
  io::Task<Status> Refuse(Status verdict);
  io::Task<Status> SendBytes(std::string_view bytes);
  io::Task<StatusOr<PeerFrame>> ReceiveAny();
  io::Task<Status> ReceiveBytes();

  void CheckMaySend(uint16_t type) const;
  std::string_view Encode(uint16_t type, std::string_view body);
  void WatchFrom(MonoTime& since);
  void OnWatch();
  void EndBecause(Status why);
  Status Explain(const Status& failure) const;

  io::Runtime& runtime_;
  const std::unique_ptr<io::Socket> socket_;
  const io::Address address_;
  const bool dialled_;
  const PeerStreamOptions options_;
  PeerHello hello_;
  PeerFrameEncoder encoder_;
  PeerFrameDecoder decoder_;
  std::string out_;
  bool sending_ = false;
  bool introduced_ = false;
  bool closed_ = false;
  MonoTime alive_at_;         // when a sign of life was last sent by the dialled side
  MonoTime receiving_since_;  // waiting for bytes; 0: not
  MonoTime sending_since_;    // likewise for the system to take some
  Status ended_;              // why this side closed it by itself
  Alarm handshake_;
  Alarm watch_;
  CloseOnStop close_on_stop_;
};

}  // namespace metastore::net
