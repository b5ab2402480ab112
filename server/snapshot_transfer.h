// A snapshot on its way from one member to another, on a stream of its own: the sender's file is
// sent as it is, in checksummed frames, and lies at the receiver durable, verified and not yet in
// effect when both sides return OK.
//
// On the stream (net/peer_stream.h, kind kSnapshot), dialler to dialled unless noted:
//   offer     what is sent: the raft message (peer_codec.h) and the facts of the file
//   resume    (back) the offset from which the receiver wants bytes; or declined, with the reason
//   data      the bytes from there on, at most kSnapshotPieceBytes a frame
//   progress  (back) after each of them: the receiver is alive
//   end       (back) the receiver's verdict, once it has all, or before, if it cannot go on
// Formats: snapshot_transfer.cc. A transfer whose stream breaks is taken up again where it stopped,
// while the receiver's process lives. Memory: one piece at the sender, one of the file's at the
// receiver, and a frame each. The stream's own compression would find nothing: files are
// compressed.
#pragma once

#include <memory>

#include "engine/snapshot_store.h"
#include "io/runtime.h"
#include "net/peer_stream.h"
#include "server/peer_codec.h"

namespace metastore::server {

inline constexpr size_t kSnapshotPieceBytes = 256 * limits::kKiB;

struct SnapshotSendOptions {
  uint64_t bytes_per_second_max = 0;  // 0: no limit
};

// Sends the file that `message`'s snapshot names over `stream`, already introduced, which may be
// closed afterwards. `stop` ends it as closing the stream does, with kCancelled.
// Errors: kNotFound      the store no longer has the file
//         kUnavailable   the stream broke, the receiver cannot take one now, or it got what is not
//         the file here: dial again and repeat, the receiver resumes where it can
//         kDataLoss      the file is damaged here, and no longer among the store's files
//         else           the receiver's words: it declined, or could not store it
io::Task<Status> SendSnapshot(io::Runtime& runtime, net::PeerStream& stream,
                              engine::SnapshotStore& store, const PeerMessage& message,
                              SnapshotSendOptions options, io::StopToken stop);

// The receiving side of one group's snapshots. One transfer at a time: a second stream is declined;
// another offer replaces an interrupted transfer, which keeps its file and a piece of memory until
// then.
class SnapshotIntake final {
 public:
  // Both outlive it.
  SnapshotIntake(io::Runtime& runtime, engine::SnapshotStore& store);
  // No Receive is under way.
  ~SnapshotIntake();

  // Receives over `stream` and returns the raft message to step, its data durable in the store as a
  // received file (SnapshotStore::LoadReceived); or at once, if the store has a snapshot that
  // covers it. What raft does not take must be discarded (SnapshotStore::Discard).
  // Errors: kUnavailable  another is being received or installed, or the stream broke
  //         kDataLoss     what arrived is not what was offered
  //         else          those of the stream and of the disk
  io::Task<StatusOr<PeerMessage>> Receive(net::PeerStream& stream);

 private:
  struct Offer {
    PeerMessage message;
    engine::SnapshotFile facts;
  };

  static StatusOr<Offer> DecodeOffer(const net::PeerStream& stream, const net::PeerFrame& frame);
  io::Task<Status> Take(net::PeerStream& stream, const Offer& offer);
  io::Task<Status> Prepare(const Offer& offer);
  io::Task<Status> Abandon(Status why);
  io::Task<Status> ReceiveRest(net::PeerStream& stream);
  io::Task<Status> StorePiece(const net::PeerFrame& frame);

  io::Runtime& runtime_;
  engine::SnapshotStore& store_;
  std::unique_ptr<engine::SnapshotReceiver> partial_;  // under way, or interrupted
  bool busy_ = false;
};

}  // namespace metastore::server
