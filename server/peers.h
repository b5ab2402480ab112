// Peers: the other members of the cluster: a link to each, the port they dial, and what goes
// through both.
//
// Owned by the StateCore, on its core. Messages of all groups to one member share its link. Who may
// speak here is judged by cluster, member and data directory: a stranger, one that was removed, and
// one whose disk was wiped are refused, and told why.
//
// A member that was cut off may not know of others that were added meanwhile, and yet be needed to
// elect one of them. So whoever introduces itself with this cluster's id says where it is reached,
// and gets a link for answers, member or not as far as this one knows.
//
// Bounds: those of net/peer_link.h and peer_server.h; one snapshot to a member at a time; at most
// kForwardsMax membership calls on their way to the leader; one digest to a member at a time; links
// to kStrangersMax who are no members that this one knows.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "net/peer_link.h"
#include "net/peer_server.h"
#include "server/config.h"
#include "server/edge.h"
#include "server/member_rpc.h"
#include "server/peer_codec.h"
#include "server/peer_transport.h"
#include "server/snapshot_transfer.h"

namespace metastore::server {

class Group;

struct PeersStats {
  uint64_t received_total = 0;   // messages
  uint64_t malformed_total = 0;  // frames and messages refused
  uint64_t snapshots_sent_total = 0;
  uint64_t snapshots_failed_total = 0;
  uint64_t snapshots_received_total = 0;
};

class Peers final : public PeerTransport, private net::PeerHandler, private net::PeerLinkListener {
 public:
  static constexpr size_t kForwardsMax = 64;
  static constexpr size_t kStrangersMax = 16;

  // All outlive it.
  Peers(io::Runtime& runtime, const Config& config, engine::SnapshotStore& snapshots,
        const Identity& identity);
  ~Peers() override;

  // Whose messages these are; before its Start.
  void Attach(Group& group) { group_ = &group; }
  // Listens on the peer URLs, once the group has started.
  // Errors: those of net::PeerServer::Listen, naming the URL
  Status Listen();
  // Ends all streams and tasks, and returns the calls on their way.
  io::Task<void> Stop();

  bool Send(GroupId group, const raft::Message& message) override;
  void SendSnapshot(GroupId group, raft::Message message) override;
  void Follow(const Members& members) override;
  void NotePublished(const MemberAttributes& attributes) override;
  MonoTime UpSince(NodeId peer) const override;
  void ExchangeDigest(NodeId peer, std::string digest) override;
  void Forward(NodeId leader, MemberCall& call) override;
  io::Task<StatusOr<std::string>> AskLeases(NodeId leader, std::string questions) override;
  void EndAskLeases() override;

  // The links and the port, on /metrics.
  void AddMetrics(io::MetricList& list) const;
  const std::vector<io::Address>& addresses() const { return addresses_; }

 private:
  Status Admit(const net::PeerHello& hello) override;
  io::Task<void> Serve(net::PeerStream& stream) override;
  void OnPeerUp(NodeId peer) override;
  void OnPeerDown(NodeId peer, const Status& why) override;

  io::Task<void> ServeMessages(net::PeerStream& stream);
  io::Task<void> ServeSnapshot(net::PeerStream& stream);
  io::Task<void> ServeMembers(net::PeerStream& stream);
  Status TakeMessage(const net::PeerHello& hello, std::string_view bytes);
  io::Task<Status> AnswerChange(net::PeerStream& stream, std::string_view request);
  io::Task<void> SendSnapshotTo(PeerMessage message);
  io::Task<Status> TrySnapshot(const PeerMessage& message, io::StopToken stop);
  io::Task<Status> AnswerTerm(net::PeerStream& stream);
  io::Task<Status> AnswerDigest(net::PeerStream& stream, std::string_view digest);
  io::Task<void> ExchangeDigestWith(NodeId peer, std::string digest);
  io::Task<Status> AskDigest(NodeId peer, std::string digest);
  io::Task<void> ForwardTo(NodeId leader, MemberCall& call);
  io::Task<Status> AskLeader(NodeId leader, MemberCall& call);
  io::Task<StatusOr<std::unique_ptr<net::PeerStream>>> DialMember(NodeId peer,
                                                                  net::PeerStreamKind kind,
                                                                  io::StopToken stop);
  // --- peers_leases.cc
  io::Task<Status> AnswerLeases(net::PeerStream& stream, std::string_view questions);
  io::Task<StatusOr<std::string>> AskOnLine(std::string questions);
  io::Task<void> Retire(std::unique_ptr<net::PeerLink> link);
  net::PeerHello HelloTo(NodeId peer, net::PeerStreamKind kind) const;
  uint8_t OwnRules() const;
  std::vector<std::string> OwnUrls() const;
  void SetLink(const Member& member);
  void Meet(const net::PeerHello& hello);
  uint64_t KnownIncarnation(NodeId id) const;
  net::PeerStreamOptions StreamOptions() const;

  io::Runtime& runtime_;
  const Config& config_;
  engine::SnapshotStore& snapshots_;
  const Identity identity_;
  Group* group_ = nullptr;
  Members members_;                    // as the group last told
  std::map<NodeId, uint64_t> logged_;  // incarnations of members, as first published in the log
  std::map<NodeId, std::unique_ptr<net::PeerLink>> links_;
  net::PeerServer server_;
  SnapshotIntake intake_;
  std::vector<io::Address> addresses_;
  // Members that one is on its way to, and what ends the attempt.
  std::map<NodeId, std::unique_ptr<io::StopSource>> snapshots_to_;
  std::vector<NodeId> digests_to_;  // members that are being told a digest
  size_t forwards_ = 0;
  struct {
    NodeId to;
    std::unique_ptr<io::StopSource> stop;     // of the stream, also while it is being made
    std::unique_ptr<net::PeerStream> stream;  // kept between questions
    bool asking = false;
    bool ended = false;  // the question under way is to end
  } lease_line_;
  PeersStats stats_;
  io::StopSource stop_;
  io::Gate gate_;
};

struct TermQuestion {
  Identity identity;  // of the member that asks
  uint64_t incarnation = 0;
  NodeId to;
  std::vector<net::PeerEndpoint> endpoints;
};
// Asks a member for its term, for one that repairs itself (log_repair.h).
// Errors: kUnavailable       it does not answer, or cannot now
//         kPermissionDenied  it will not have the member that asks; in its words
io::Task<StatusOr<TermAnswer>> AskForTerm(io::Runtime& runtime, const Config& config,
                                          TermQuestion question);

struct ClusterPicture {
  ClusterId cluster;
  Members members;
};
// The endpoints behind peer URLs; those that are none are left out.
std::vector<net::PeerEndpoint> EndpointsOf(const std::vector<std::string>& peer_urls);
// Asks the members behind `endpoints`, in turn, who belongs to the cluster: for one that wants to
// join and knows neither the cluster's id nor its own, or knows no address. Somebody is named.
// Errors: kUnavailable  none of them answers, or knows any, or `stop`; names each and why
io::Task<StatusOr<ClusterPicture>> AskForMembers(io::Runtime& runtime,
                                                 std::vector<net::PeerEndpoint> endpoints,
                                                 io::StopToken stop);

}  // namespace metastore::server
