#include "tests/sim/reshaping.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/membership.h"

namespace metastore::sim_test {
namespace {

constexpr Duration kEvery = Milliseconds(200);
constexpr Duration kCallTimeout = Seconds(3);
constexpr Duration kRefusedWithin = Seconds(4);
constexpr Duration kEndsWithin = Seconds(15);
constexpr size_t kVotersMin = 2;

std::vector<std::string> PeerUrls(ClusterMember& member) {
  return {Concat("http://", member.node.machine().ip(), ":2380")};
}

const server::Member* FindByUrls(const server::Members& members, ClusterMember& member) {
  for (const auto& [id, known] : members.all()) {
    if (known.peer_urls == PeerUrls(member)) return &known;
  }
  return nullptr;
}

}  // namespace

bool Reshaping::idle() const {
  return under_way_ == 0 && std::ranges::all_of(cluster_.members(), [](const auto& member) {
           return member->standing == Standing::kIn || member->standing == Standing::kOut;
         });
}

bool Reshaping::BeginOne() {
  if (!idle()) return false;
  const std::vector<std::unique_ptr<ClusterMember>>& all = cluster_.members();
  if (prng_.Chance(1, 4)) return Update(*all[prng_.Below(all.size())]);
  std::vector<ClusterMember*> out;
  std::vector<ClusterMember*> in;
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    (member->standing == Standing::kOut ? out : in).push_back(member.get());
  }
  const bool grows = !out.empty() && (in.size() <= kVotersMin || prng_.Chance(1, 2));
  if (grows) {
    ClusterMember& member = *out[prng_.Below(out.size())];
    cluster_.Trace(Concat(member.name, " is to join"));
    member.standing = Standing::kJoining;
    return true;
  }
  if (in.size() <= kVotersMin) return false;
  ClusterMember& member = *in[prng_.Below(in.size())];
  cluster_.Trace(Concat(member.name, " is to leave"));
  member.standing = Standing::kLeaving;
  return true;
}

void Reshaping::BeginReplacing(ClusterMember& member) {
  cluster_.Trace(Concat(member.name, " has lost its disk"));
  cluster_.LoseDisk(member);
  member.standing = Standing::kLeaving;
  member.comes_back = true;
  member.wiped = true;
  member.refused = false;
  member.restart_at = cluster_.world().Now() + Milliseconds(100);
  member.remove_after = cluster_.world().Now() + kRefusedWithin;
}

void Reshaping::Tick() {
  if (under_way_ > 0 || cluster_.world().Now() < next_) return;
  next_ = cluster_.world().Now() + kEvery;
  ClusterMember* const leader = cluster_.Leader();
  if (leader == nullptr) return;
  const server::Members& members = leader->node.state().group().members();
  for (const std::unique_ptr<ClusterMember>& member : cluster_.members()) {
    if (member->standing == Standing::kJoining) PushJoin(*member, members);
    if (member->standing == Standing::kLeaving) PushLeave(*member, members);
  }
}

void Reshaping::PushJoin(ClusterMember& member, const server::Members& members) {
  const server::Member* const known = FindByUrls(members, member);
  if (known == nullptr) {
    server::Member added{.peer_urls = PeerUrls(member)};
    added.id = server::MemberIdOf(added.peer_urls, "etcd-cluster",
                                  static_cast<int64_t>(cluster_.world().Now().ns / 1'000'000));
    added.is_learner = prng_.Chance(2, 3);
    const auto op = added.is_learner ? server::MemberOp::kAddLearner : server::MemberOp::kAdd;
    Ask(op, std::move(added));
    return;
  }
  member.id = known->id;
  member.founder = false;
  if (!member.node.exists()) {
    if (member.restart_at == MonoTime::Max()) cluster_.Start(member);
    return;
  }
  if (known->is_learner) {
    Ask(server::MemberOp::kPromote, {.id = known->id});
    return;
  }
  if (!member.node.serving()) return;
  cluster_.Trace(Concat(member.name, " has joined"));
  ++counts_.joined;
  member.standing = Standing::kIn;
}

void Reshaping::PushLeave(ClusterMember& member, const server::Members& members) {
  const bool to_be_refused = member.wiped && !member.refused;
  if (to_be_refused && member.node.serving()) {
    cluster_.Problem(Concat(member.name, " serves although it has lost its disk"));
  }
  if (to_be_refused && cluster_.world().Now() < member.remove_after) return;
  if (members.Find(member.id) != nullptr) {
    Ask(server::MemberOp::kRemove, {.id = member.id});
    return;
  }
  // It hears of it, or is refused, and ends; a machine that is down will not.
  const MonoTime now = cluster_.world().Now();
  member.removed_at = std::min(member.removed_at, now);
  if (member.node.exists() && !member.refused) {
    const bool late =
        now > faults_over_ && now - std::max(member.removed_at, faults_over_) > kEndsWithin;
    if (late) cluster_.Problem(Concat(member.name, " was removed, but does not end"));
    return;
  }
  cluster_.Trace(Concat(member.name, " has left"));
  ++counts_.left;
  cluster_.LoseDisk(member);
  member.id = NodeId();
  member.restart_at = member.removed_at = MonoTime::Max();
  member.refused = member.wiped = false;
  member.standing = member.comes_back ? Standing::kJoining : Standing::kOut;
  member.comes_back = false;
}

bool Reshaping::Update(ClusterMember& member) {
  if (member.id == NodeId()) return false;
  return Ask(server::MemberOp::kUpdate, {.id = member.id, .peer_urls = PeerUrls(member)});
}

// Through any member that runs; false: none does.
bool Reshaping::Ask(server::MemberOp op, server::Member member) {
  std::vector<SimNode*> running;
  for (const std::unique_ptr<ClusterMember>& one : cluster_.members()) {
    if (one->node.running()) running.push_back(&one->node);
  }
  if (running.empty()) return false;
  SimNode& node = *running[prng_.Below(running.size())];
  const bool asked = node.SpawnCall(Change(node, op, std::move(member)));
  if (asked) ++under_way_;
  return asked;
}

io::Task<void> Reshaping::Change(SimNode& node, server::MemberOp op, server::Member member) {
  ++counts_.calls;
  const Status result =
      co_await ChangeMember(node, op, std::move(member), ++requests_, kCallTimeout);
  if (!result.ok()) ++counts_.refused;
  if (result.ok() && op == server::MemberOp::kUpdate) ++counts_.updated;
  cluster_.Trace(Concat("member change ", static_cast<int>(op), ": ", result.ToString()));
  --under_way_;
}

bool Reshaping::Transfer() {
  ClusterMember* const leader = cluster_.Leader();
  if (leader == nullptr) return false;
  std::vector<NodeId> others;
  for (const auto& [id, member] : leader->node.state().group().members().all()) {
    if (id != leader->id && !member.is_learner) others.push_back(id);
  }
  if (others.empty()) return false;
  ++counts_.transfers;
  if (leader->node.SpawnCall(HandOver(leader->node, others[prng_.Below(others.size())]))) {
    ++under_way_;
  }
  return true;
}

io::Task<void> Reshaping::HandOver(SimNode& node, NodeId target) {
  io::Runtime& runtime = node.machine().runtime();
  server::TransferCall call(runtime, runtime.core(), node.state().group());
  call.target = target;
  call.deadline = runtime.Now() + kCallTimeout;
  const bool arrived = co_await call;
  cluster_.Trace(Concat("transfer: ", arrived ? call.result.ToString() : "not taken"));
  --under_way_;
}

}  // namespace metastore::sim_test
