// Peers: snapshots to members and from a leader.
#include <utility>

#include "server/group.h"
#include "server/peers.h"

namespace metastore::server {
namespace {

constexpr int kSnapshotAttempts = 3;
// Before raft hears of a failure, and has it tried again.
constexpr Duration kSnapshotPause = Seconds(1);

}  // namespace

void Peers::SendSnapshot(GroupId group, raft::Message message) {
  const NodeId peer = message.to;
  const auto [found, first] = snapshots_to_.try_emplace(peer);
  if (!first) return;
  found->second = std::make_unique<io::StopSource>();
  gate_.Spawn("peers.snapshot", io::ReadyClass::kBackground,
              SendSnapshotTo({group, std::move(message)}));
}

io::Task<void> Peers::SendSnapshotTo(PeerMessage message) {
  const NodeId peer = message.message.to;
  Status sent;
  for (int attempt = 0; attempt < kSnapshotAttempts && !stop_.stopped(); ++attempt) {
    sent = co_await TrySnapshot(message, snapshots_to_[peer]->token());
    const bool again =
        sent.code() == StatusCode::kUnavailable || sent.code() == StatusCode::kCancelled;
    if (!again) break;
    snapshots_to_[peer] = std::make_unique<io::StopSource>();
    co_await io::SleepUntil(runtime_, runtime_.Now() + Milliseconds(200), stop_.token());
  }
  if (!sent.ok()) {
    co_await io::SleepUntil(runtime_, runtime_.Now() + kSnapshotPause, stop_.token());
  }
  snapshots_to_.erase(peer);
  ++(sent.ok() ? stats_.snapshots_sent_total : stats_.snapshots_failed_total);
  if (stop_.stopped()) co_return;
  const std::string to = Concat(absl::Hex(peer.value()));
  if (sent.ok()) {
    runtime_.log().Info("sent snapshot", {{"peer", to}});
  } else {
    runtime_.log().Warn("could not send a snapshot", {{"peer", to}, {"error", sent.ToString()}});
  }
  group_->OnSnapshotSent(peer, sent.ok());
}

io::Task<Status> Peers::TrySnapshot(const PeerMessage& message, io::StopToken stop) {
  StatusOr<std::unique_ptr<net::PeerStream>> stream =
      co_await DialMember(message.message.to, net::PeerStreamKind::kSnapshot, stop);
  MS_CO_RETURN_IF_ERROR(stream.status());
  const SnapshotSendOptions options{.bytes_per_second_max = config_.peer.snapshot_bytes_per_second};
  Status sent =
      co_await server::SendSnapshot(runtime_, **stream, snapshots_, message, options, stop);
  (*stream)->Close();
  co_return sent;
}

io::Task<void> Peers::ServeSnapshot(net::PeerStream& stream) {
  StatusOr<PeerMessage> received = co_await intake_.Receive(stream);
  if (stop_.stopped()) co_return;
  if (!received.ok()) {
    runtime_.log().Warn("could not receive a snapshot",
                        {{"peer", Concat(absl::Hex(stream.hello().from.value()))},
                         {"error", received.status().ToString()}});
    co_return;
  }
  ++stats_.snapshots_received_total;
  group_->OnPeerMessage(std::move(received->message));
}

}  // namespace metastore::server
