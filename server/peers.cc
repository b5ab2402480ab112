#include "server/peers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/config_url.h"
#include "server/group.h"
#include "server/member_rpc.h"
#include "server/metrics_page.h"
#include "server/mutation.h"

namespace metastore::server {
namespace {

// A peer that is cut off is noticed after this, though the system goes on taking bytes for it.
constexpr Duration kSilence = Seconds(5);
constexpr Duration kSnapshotSilence = Seconds(30);
constexpr Duration kRetireAfter = Seconds(2);
constexpr Duration kRpcTimeout = Seconds(5);
// A member that joins has no others to turn to.
constexpr Duration kJoinTimeout = Seconds(3);

// PeerHello::rules. This member elects nobody while a leader may rely on it.
constexpr uint8_t kLeasePromised = 1;

uint8_t RulesOf(const Config& config) { return config.raft.lease_reads ? kLeasePromised : 0; }

std::string_view ReadModeName(uint8_t rules) { return rules == 0 ? "index" : "lease"; }

io::Task<StatusOr<std::unique_ptr<net::PeerStream>>> DialEndpoint(io::Runtime& runtime,
                                                                  net::PeerEndpoint endpoint,
                                                                  net::PeerHello hello,
                                                                  net::PeerStreamOptions options) {
  StatusOr<std::vector<io::Address>> addresses =
      co_await runtime.Resolve(endpoint.host, endpoint.port);
  MS_CO_RETURN_IF_ERROR(addresses.status());
  Status last = UnavailableError(endpoint.host, " has no address");
  for (const io::Address& address : *addresses) {
    StatusOr<std::unique_ptr<net::PeerStream>> stream =
        co_await net::PeerStream::Dial(runtime, address, hello, options);
    if (stream.ok()) co_return stream;
    last = stream.status();
  }
  co_return last;
}

// Heartbeats, votes and answers are small, and late ones cost elections.
net::PeerUrgency UrgencyOf(const raft::Message& message) {
  return message.entries.empty() ? net::PeerUrgency::kUrgent : net::PeerUrgency::kBulk;
}

void AddLink(const net::PeerLink& link, NodeId own, io::MetricList& list) {
  const net::PeerLinkStats& stats = link.stats();
  const std::string to = Concat(absl::Hex(link.peer().value()));
  const std::string from = Concat(absl::Hex(own.value()));
  const io::MetricLabels labels = {{"To", to}};
  const io::MetricLabels both = {{"Local", from}, {"Remote", to}};
  list.Gauge("etcd_network_active_peers", "Whether the link to the member is up.",
             stats.up ? 1.0 : 0.0, both);
  list.Counter("etcd_network_disconnected_peers_total", "Links to the member that were lost.",
               stats.connects_total - (stats.up ? 1 : 0), both);
  list.Gauge("metastore_peer_link_up", "Whether the link to the member is up.",
             stats.up ? 1.0 : 0.0, labels);
  list.Gauge("metastore_peer_queued_bytes", "Messages that wait for the link.",
             static_cast<uint64_t>(stats.queued_bytes), labels);
  list.Counter("etcd_network_peer_sent_bytes_total", "Bytes sent to the member.",
               stats.frames.stored_bytes, labels);
  list.Counter("etcd_network_peer_sent_failures_total", "Attempts and links that ended.",
               stats.failures_total, labels);
  list.Counter("metastore_peer_messages_total", "Messages sent to the member.", stats.sent_total,
               labels);
  list.Counter("metastore_peer_dropped_total", "Messages that the link did not take, or lost.",
               stats.dropped_total, labels);
  list.Counter("metastore_peer_raw_bytes_total", "The same before compression.",
               stats.frames.raw_bytes, labels);
}

}  // namespace

std::vector<net::PeerEndpoint> EndpointsOf(const std::vector<std::string>& peer_urls) {
  std::vector<net::PeerEndpoint> endpoints;
  for (const std::string& text : peer_urls) {
    StatusOr<Url> url = ParseUrl(text);
    if (url.ok()) endpoints.push_back({url->host, url->port});
  }
  return endpoints;
}

Peers::Peers(io::Runtime& runtime, const Config& config, engine::SnapshotStore& snapshots,
             const Identity& identity)
    : runtime_(runtime),
      config_(config),
      snapshots_(snapshots),
      identity_(identity),
      server_(runtime, *this, StreamOptions()),
      intake_(runtime, snapshots),
      gate_(runtime.scheduler()) {}

Peers::~Peers() = default;

Status Peers::Listen() {
  for (const Url& url : config_.member.listen_peer_urls) {
    StatusOr<io::Address> address = BindAddress(url);
    if (!address.ok()) return address.status();
    StatusOr<io::Address> bound = server_.Listen(*address);
    if (!bound.ok()) {
      return Annotate(bound.status(),
                      Concat("--listen-peer-urls: cannot listen on ", url.ToString()));
    }
    addresses_.push_back(*bound);
  }
  return OkStatus();
}

io::Task<void> Peers::Stop() {
  stop_.RequestStop();
  for (const auto& [peer, stop] : snapshots_to_) stop->RequestStop();
  EndAskLeases();
  co_await server_.Shutdown();
  for (auto& [id, link] : links_) {
    co_await link->Stop();
  }
  links_.clear();
  co_await gate_.Close();
}

net::PeerStreamOptions Peers::StreamOptions() const {
  return {.compression = config_.peer.compression, .silence_max = kSilence};
}

// A leader may count on promises only where all give them.
uint8_t Peers::OwnRules() const { return RulesOf(config_); }

net::PeerHello Peers::HelloTo(NodeId peer, net::PeerStreamKind kind) const {
  return {.kind = kind,
          .cluster = identity_.cluster,
          .from = identity_.member,
          .to = peer,
          .incarnation = group_->incarnation(),
          .rules = OwnRules(),
          .reached_at = absl::StrJoin(OwnUrls(), ",")};
}

std::vector<std::string> Peers::OwnUrls() const {
  const Member* member = members_.Find(identity_.member);
  if (member != nullptr) return member->peer_urls;
  std::vector<std::string> urls;
  for (const Url& url : config_.member.initial_advertise_peer_urls) urls.push_back(url.ToString());
  return urls;
}

// --- to peers

bool Peers::Send(GroupId group, const raft::Message& message) {
  const auto found = links_.find(message.to);
  if (found == links_.end()) return false;
  return found->second->Send(UrgencyOf(message),
                             [&](std::string& out) { EncodePeerMessage(group, message, out); });
}

void Peers::Follow(const Members& members) {
  members_ = members;
  for (const auto& [id, member] : members_.all()) {
    if (id != identity_.member) SetLink(member);
    if (member.incarnation != 0) server_.CloseStreamsButOf(id, member.incarnation);
  }
  // Others stay until they are known to have left: a member that replays its log knows fewer.
  for (const NodeId id : members_.removed()) {
    logged_.erase(id);
    const auto found = links_.find(id);
    if (found == links_.end()) continue;
    gate_.Spawn("peers.retire", io::ReadyClass::kBackground, Retire(std::move(found->second)));
    links_.erase(found);
  }
}

void Peers::NotePublished(const MemberAttributes& attributes) {
  if (attributes.incarnation == 0 || members_.Removed(attributes.id)) return;
  const bool first = logged_.emplace(attributes.id, attributes.incarnation).second;
  if (first) server_.CloseStreamsButOf(attributes.id, KnownIncarnation(attributes.id));
}

// Of the data directory that the member first published; 0: it has not yet. What is in the log
// counts before it is applied: after a restart nothing may be, until somebody leads.
uint64_t Peers::KnownIncarnation(NodeId id) const {
  const Member* member = members_.Find(id);
  if (member != nullptr && member->incarnation != 0) return member->incarnation;
  const auto logged = logged_.find(id);
  return logged == logged_.end() ? 0 : logged->second;
}

void Peers::SetLink(const Member& member) {
  std::vector<net::PeerEndpoint> endpoints = EndpointsOf(member.peer_urls);
  const auto found = links_.find(member.id);
  if (found != links_.end()) return found->second->SetEndpoints(std::move(endpoints));
  net::PeerLinkListener& listener = *this;
  auto link = std::make_unique<net::PeerLink>(
      runtime_,
      net::PeerLinkOptions{.hello = HelloTo(member.id, net::PeerStreamKind::kMessages),
                           .endpoints = std::move(endpoints),
                           .stream = StreamOptions()},
      listener);
  link->Start();
  links_.emplace(member.id, std::move(link));
}

// What is still in the link may be the news that its peer has left, and what comes from it a
// question about that.
io::Task<void> Peers::Retire(std::unique_ptr<net::PeerLink> link) {
  co_await io::SleepUntil(runtime_, runtime_.Now() + kRetireAfter, stop_.token());
  server_.CloseStreamsOf(link->peer());
  co_await link->Stop();
}

MonoTime Peers::UpSince(NodeId peer) const {
  const auto found = links_.find(peer);
  const bool up = found != links_.end() && found->second->up();
  return up ? found->second->stats().up_since : MonoTime::Max();
}

// A stream of its snapshot that is older may be to a process that is no more, and end by silence
// only.
void Peers::OnPeerUp(NodeId peer) {
  const auto snapshot = snapshots_to_.find(peer);
  if (snapshot != snapshots_to_.end()) snapshot->second->RequestStop();
  runtime_.log().Info("peer link is up", {{"peer", Concat(absl::Hex(peer.value()))}});
  group_->OnPeerUp();
}

void Peers::OnPeerDown(NodeId peer, const Status& why) {
  // Its words about this member: removed, or with another data directory.
  if (why.code() == StatusCode::kPermissionDenied) return group_->OnRefused(why);
  group_->OnPeerDown(peer);
}

// --- from peers

Status Peers::Admit(const net::PeerHello& hello) {
  const bool stranger = hello.kind == net::PeerStreamKind::kMembers && hello.cluster == ClusterId();
  if (stranger) return OkStatus();  // it asks who belongs to the cluster, in order to join
  if (hello.cluster != identity_.cluster) {
    return FailedPreconditionError("this member belongs to cluster ",
                                   absl::Hex(identity_.cluster.value()), ", not to ",
                                   absl::Hex(hello.cluster.value()));
  }
  if (hello.to != identity_.member) {
    return FailedPreconditionError("this is member ", absl::Hex(identity_.member.value()), ", not ",
                                   absl::Hex(hello.to.value()));
  }
  if (members_.Removed(hello.from) && !Mutated(Mutation::kRemovedGoesOn)) {
    return PermissionDeniedError("the member has been permanently removed from the cluster");
  }
  if (hello.rules != OwnRules()) {
    return FailedPreconditionError(
        "this member was started with --read-mode=", ReadModeName(OwnRules()), ", the other with ",
        ReadModeName(hello.rules), ": it must be the same on all members");
  }
  const uint64_t known = KnownIncarnation(hello.from);
  if (known != 0 && known != hello.incarnation && !Mutated(Mutation::kWipedAccepted)) {
    return PermissionDeniedError(
        "the member is known with another data directory, which held acknowledged writes: it must "
        "not come back without them. Remove it (member remove ",
        absl::Hex(hello.from.value()), ") and add it again as a new one");
  }
  return OkStatus();
}

io::Task<void> Peers::Serve(net::PeerStream& stream) {
  switch (stream.hello().kind) {
    case net::PeerStreamKind::kMessages:
      return ServeMessages(stream);
    case net::PeerStreamKind::kSnapshot:
      return ServeSnapshot(stream);
    case net::PeerStreamKind::kMembers:
      return ServeMembers(stream);
  }
  CHECK_UNREACHABLE();
}

// What it is told may be a vote that it lacks.
void Peers::Meet(const net::PeerHello& hello) {
  if (links_.contains(hello.from) || members_.Find(hello.from) != nullptr) return;
  const auto strangers = std::ranges::count_if(
      links_, [this](const auto& link) { return members_.Find(link.first) == nullptr; });
  Member stranger{.id = hello.from, .peer_urls = absl::StrSplit(hello.reached_at, ',')};
  if (static_cast<size_t>(strangers) >= kStrangersMax) return;
  if (!EndpointsOf(stranger.peer_urls).empty()) SetLink(stranger);
}

io::Task<void> Peers::ServeMessages(net::PeerStream& stream) {
  const net::PeerHello hello = stream.hello();
  Meet(hello);
  while (!stop_.stopped()) {
    StatusOr<net::PeerFrame> frame = co_await stream.Receive();
    if (!frame.ok()) co_return;
    Status taken = net::ForEachPeerMessage(
        frame->body, [&](std::string_view bytes) { return TakeMessage(hello, bytes); });
    if (taken.ok()) continue;
    ++stats_.malformed_total;
    runtime_.log().Warn(
        "closing the stream of a peer",
        {{"peer", Concat(absl::Hex(hello.from.value()))}, {"error", taken.ToString()}});
    co_return;
  }
}

Status Peers::TakeMessage(const net::PeerHello& hello, std::string_view bytes) {
  StatusOr<PeerMessage> decoded = DecodePeerMessage(bytes);
  if (!decoded.ok()) return decoded.status();
  const raft::Message& message = decoded->message;
  const bool snapshot = message.type == raft::MessageType::kSnapshot;  // has a stream of its own
  if (message.from != hello.from || message.to != identity_.member || snapshot) {
    return DataLossError("a peer message that does not belong on its stream");
  }
  ++stats_.received_total;
  if (decoded->group == group_->id()) group_->OnPeerMessage(std::move(decoded->message));
  return OkStatus();
}

io::Task<void> Peers::ServeMembers(net::PeerStream& stream) {
  while (!stop_.stopped()) {
    StatusOr<net::PeerFrame> frame = co_await stream.Receive();
    if (!frame.ok()) co_return;
    Status answered = UnimplementedError("an unknown question");
    if (frame->type == static_cast<uint16_t>(MemberRpc::kList)) {
      if (group_->fenced()) co_return;  // nobody should learn from it
      const std::string list = EncodeMemberList(identity_.cluster, members_, group_->status().conf);
      answered = co_await stream.Send(static_cast<uint16_t>(MemberRpc::kList), list);
    } else if (frame->type == static_cast<uint16_t>(MemberRpc::kChange)) {
      answered = co_await AnswerChange(stream, frame->body);
    } else if (frame->type == static_cast<uint16_t>(MemberRpc::kTerm)) {
      answered = co_await AnswerTerm(stream);
    } else if (frame->type == static_cast<uint16_t>(MemberRpc::kDigest)) {
      answered = co_await AnswerDigest(stream, frame->body);
    } else if (frame->type == static_cast<uint16_t>(MemberRpc::kLeases)) {
      answered = co_await AnswerLeases(stream, frame->body);
    }
    if (!answered.ok()) co_return;
  }
}

io::Task<Status> Peers::AnswerChange(net::PeerStream& stream, std::string_view request) {
  if (stream.hello().from == NodeId()) co_return PermissionDeniedError("only members may ask this");
  StatusOr<MemberChangeRequest> asked = DecodeMemberChangeRequest(request);
  MS_CO_RETURN_IF_ERROR(asked.status());
  MemberCall call(runtime_, runtime_.core(), *group_);
  call.terms.deadline = runtime_.Now() + kRpcTimeout;
  call.id = asked->request;
  call.op = asked->op;
  call.member = std::move(asked->member);
  call.forwarded = true;
  const bool arrived = co_await call;
  if (!arrived) call.Fail(errors::kTooManyRequests);
  const std::string reply = EncodeMemberChangeReply(
      {.result = call.result, .term = call.term, .members = std::move(call.members)});
  Status sent = co_await stream.Send(static_cast<uint16_t>(MemberRpc::kChange), reply);
  co_return sent;
}

// What the former process of who asks has said to this member counts before the answer, or never.
io::Task<Status> Peers::AnswerTerm(net::PeerStream& stream) {
  if (stream.hello().from == NodeId()) co_return PermissionDeniedError("only members may ask this");
  server_.CloseMessagesOf(stream.hello().from);
  StatusOr<TermAnswer> answer = co_await group_->AnswerTerm();
  MS_CO_RETURN_IF_ERROR(answer.status());
  const std::string bytes = EncodeTermAnswer(*answer);
  Status sent = co_await stream.Send(static_cast<uint16_t>(MemberRpc::kTerm), bytes);
  co_return sent;
}

io::Task<Status> Peers::AnswerDigest(net::PeerStream& stream, std::string_view digest) {
  StatusOr<std::string> own = group_->OnDigest(stream.hello().from, digest);
  MS_CO_RETURN_IF_ERROR(own.status());
  Status sent = co_await stream.Send(static_cast<uint16_t>(MemberRpc::kDigest), *own);
  co_return sent;
}

void Peers::AddMetrics(io::MetricList& list) const {
  for (const auto& [id, link] : links_) AddLink(*link, identity_.member, list);
  list.Counter("metastore_peer_received_total", "Messages from members.", stats_.received_total);
  list.Counter("metastore_peer_malformed_total", "Streams closed for what came over them.",
               stats_.malformed_total);
  list.Counter("metastore_peer_refused_total", "Streams refused.", server_.stats().refused_total);
  list.Counter("metastore_snapshots_sent_total", "Snapshots sent to members.",
               stats_.snapshots_sent_total);
  list.Counter("metastore_snapshots_send_failed_total", "Snapshots that could not be sent.",
               stats_.snapshots_failed_total);
  list.Counter("metastore_snapshots_received_total", "Snapshots received from a leader.",
               stats_.snapshots_received_total);
}

// --- questions to the leader

void Peers::Forward(NodeId leader, MemberCall& call) {
  const bool taken = forwards_ < kForwardsMax && !gate_.closed();
  if (taken) {
    ++forwards_;
    gate_.Spawn("peers.forward", io::ReadyClass::kClient, ForwardTo(leader, call));
    return;
  }
  call.Fail(errors::kTooManyRequests);
  call.Return(runtime_);
}

io::Task<void> Peers::ForwardTo(NodeId leader, MemberCall& call) {
  Status asked = co_await AskLeader(leader, call);
  --forwards_;
  if (!asked.ok()) call.Fail(errors::kLeaderChanged);
  call.Return(runtime_);
}

io::Task<Status> Peers::AskLeader(NodeId leader, MemberCall& call) {
  StatusOr<std::unique_ptr<net::PeerStream>> stream =
      co_await DialMember(leader, net::PeerStreamKind::kMembers, stop_.token());
  MS_CO_RETURN_IF_ERROR(stream.status());
  std::string request =
      EncodeMemberChangeRequest({.op = call.op, .request = call.id, .member = call.member});
  StatusOr<std::string> answer =
      co_await AskMember(**stream, MemberRpc::kChange, std::move(request));
  (*stream)->Close();
  MS_CO_RETURN_IF_ERROR(answer.status());
  StatusOr<MemberChangeReply> reply = DecodeMemberChangeReply(*answer);
  MS_CO_RETURN_IF_ERROR(reply.status());
  call.result = std::move(reply->result);
  call.term = reply->term;
  call.members = std::move(reply->members);
  co_return OkStatus();
}

// --- digests

void Peers::ExchangeDigest(NodeId peer, std::string digest) {
  if (std::ranges::find(digests_to_, peer) != digests_to_.end()) return;
  digests_to_.push_back(peer);
  const bool begun = gate_.Spawn("peers.digest", io::ReadyClass::kBackground,
                                 ExchangeDigestWith(peer, std::move(digest)));
  if (!begun) std::erase(digests_to_, peer);
}

// What is lost is asked for again by the group.
io::Task<void> Peers::ExchangeDigestWith(NodeId peer, std::string digest) {
  Status asked = co_await AskDigest(peer, std::move(digest));
  std::erase(digests_to_, peer);
  if (asked.ok() || stop_.stopped()) co_return;
  runtime_.log().Debug("no digest of a member",
                       {{"peer", Concat(absl::Hex(peer.value()))}, {"error", asked.ToString()}});
}

io::Task<Status> Peers::AskDigest(NodeId peer, std::string digest) {
  StatusOr<std::unique_ptr<net::PeerStream>> stream =
      co_await DialMember(peer, net::PeerStreamKind::kMembers, stop_.token());
  MS_CO_RETURN_IF_ERROR(stream.status());
  StatusOr<std::string> answer =
      co_await AskMember(**stream, MemberRpc::kDigest, std::move(digest));
  (*stream)->Close();
  MS_CO_RETURN_IF_ERROR(answer.status());
  if (stop_.stopped() || answer->empty()) co_return OkStatus();
  co_return group_->OnDigest(peer, *answer).status();
}

io::Task<StatusOr<std::unique_ptr<net::PeerStream>>> Peers::DialMember(NodeId peer,
                                                                       net::PeerStreamKind kind,
                                                                       io::StopToken stop) {
  const Member* member = members_.Find(peer);
  Status last = UnavailableError("no address is known of ", absl::Hex(peer.value()));
  if (member == nullptr) co_return last;
  net::PeerStreamOptions options = StreamOptions();
  options.silence_max = kRpcTimeout * 2;
  // Snapshot files are compressed already, and their last sync may take a while.
  if (kind == net::PeerStreamKind::kSnapshot) options = {.silence_max = kSnapshotSilence};
  options.stop = stop;
  const std::vector<net::PeerEndpoint> endpoints = EndpointsOf(member->peer_urls);
  for (const net::PeerEndpoint& endpoint : endpoints) {
    StatusOr<std::unique_ptr<net::PeerStream>> stream =
        co_await DialEndpoint(runtime_, endpoint, HelloTo(peer, kind), options);
    if (stream.ok()) co_return stream;
    last = stream.status();
  }
  co_return last;
}

io::Task<StatusOr<TermAnswer>> AskForTerm(io::Runtime& runtime, const Config& config,
                                          TermQuestion question) {
  const net::PeerHello hello{.kind = net::PeerStreamKind::kMembers,
                             .cluster = question.identity.cluster,
                             .from = question.identity.member,
                             .to = question.to,
                             .incarnation = question.incarnation,
                             .rules = RulesOf(config)};
  const net::PeerStreamOptions options{.handshake_timeout = kJoinTimeout,
                                       .silence_max = kRpcTimeout};
  Status problem = UnavailableError("no peer URL");
  for (const net::PeerEndpoint& endpoint : question.endpoints) {
    StatusOr<std::unique_ptr<net::PeerStream>> stream =
        co_await DialEndpoint(runtime, endpoint, hello, options);
    problem = stream.status();
    if (problem.code() == StatusCode::kPermissionDenied) break;
    if (!stream.ok()) continue;
    StatusOr<std::string> answer = co_await AskMember(**stream, MemberRpc::kTerm, "");
    (*stream)->Close();
    if (answer.ok()) co_return DecodeTermAnswer(*answer);
    problem = answer.status();
  }
  co_return problem;
}

io::Task<StatusOr<ClusterPicture>> AskForMembers(io::Runtime& runtime,
                                                 std::vector<net::PeerEndpoint> endpoints,
                                                 io::StopToken stop) {
  const net::PeerHello hello{.kind = net::PeerStreamKind::kMembers};
  const net::PeerStreamOptions options{
      .handshake_timeout = kJoinTimeout, .silence_max = kJoinTimeout, .stop = stop};
  std::string problems;
  for (const net::PeerEndpoint& endpoint : endpoints) {
    StatusOr<std::unique_ptr<net::PeerStream>> stream =
        co_await DialEndpoint(runtime, endpoint, hello, options);
    Status failed = stream.status();
    if (stream.ok()) {
      StatusOr<std::string> answer = co_await AskMember(**stream, MemberRpc::kList, "");
      (*stream)->Close();
      failed = answer.status();
      if (answer.ok()) {
        StatusOr<MemberList> list = DecodeMemberList(*answer);
        // One that has just restarted may have applied nothing yet.
        const bool knows = list.ok() && !list->members.all().empty();
        if (knows) co_return ClusterPicture{list->cluster, std::move(list->members)};
        failed = list.ok() ? UnavailableError("it knows no member yet") : list.status();
      }
    }
    problems += Concat(problems.empty() ? "" : "; ", endpoint.host, ":", endpoint.port, ": ",
                       StdView(failed.message()));
  }
  co_return UnavailableError("no member of the cluster answers: ", problems);
}

}  // namespace metastore::server
