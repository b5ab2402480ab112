#include "tests/net/peer_harness.h"

#include <utility>

namespace metastore::net_test {

PeerMember::PeerMember(sim::SimWorld& world, std::string name, uint64_t id)
    : world_(world), machine_(world.AddMachine(std::move(name))), id_(id) {}

PeerMember::~PeerMember() {
  if (server_ != nullptr) Halt();
}

void PeerMember::Boot(net::PeerStreamOptions options) {
  CHECK(server_ == nullptr);
  io::Runtime& runtime = *machine_.StartProcess()[0];
  halt_ = std::make_unique<io::StopSource>();
  server_ = std::make_unique<net::PeerServer>(runtime, *this, options);
  const StatusOr<io::Address> bound =
      server_->Listen(io::Address{.ip = machine_.ip(), .port = kPeerPort});
  CHECK(bound.ok());
}

net::PeerLinkOptions PeerMember::OptionsTo(const PeerMember& to) const {
  net::PeerLinkOptions options;
  options.hello = {.cluster = kPeerCluster, .from = id_, .to = to.id_, .incarnation = 77};
  options.endpoints = {{.host = to.machine_.name(), .port = kPeerPort}};
  return options;
}

net::PeerLink& PeerMember::Dial(const PeerMember& to) { return Dial(OptionsTo(to)); }

net::PeerLink& PeerMember::Dial(net::PeerLinkOptions options) {
  links_.push_back(std::make_unique<net::PeerLink>(runtime(), std::move(options), *this));
  links_.back()->Start();
  return *links_.back();
}

void PeerMember::Halt() {
  halt_->RequestStop();
  for (const auto& link : links_) world_.Await(runtime(), link->Stop());
  world_.Await(runtime(), server_->Shutdown());
  links_.clear();
  server_.reset();
  machine_.EndProcess();
}

void PeerMember::Kill() {
  machine_.KillProcess();
  Bury();
}

void PeerMember::PowerLoss() {
  machine_.PowerLoss();
  Bury();
}

void PeerMember::Bury() {
  halt_->RequestStop();
  machine_.DrainDead();
  links_.clear();
  server_.reset();
  machine_.EndProcess();
}

Status PeerMember::Admit(const net::PeerHello& hello) {
  if (hello.to != id_ && hello.to != NodeId())
    return FailedPreconditionError("I am another member");
  if (verdict.ok()) admitted.push_back(hello);
  return verdict;
}

io::Task<void> PeerMember::Serve(net::PeerStream& stream) {
  if (hangs_up) co_return;
  ++serving;
  const NodeId from = stream.hello().from;
  const io::StopToken halt = halt_->token();
  Status ended;
  while (ended.ok()) {
    while (!reading && !halt.stopped()) {
      co_await io::SleepUntil(runtime(), runtime().Now() + Milliseconds(10), halt);
    }
    const StatusOr<net::PeerFrame> frame = co_await stream.Receive();
    ended = frame.status();
    if (!frame.ok()) break;
    ++frames;
    ended = net::ForEachPeerMessage(frame->body, [&](std::string_view message) {
      heard.push_back({from, std::string(message)});
      return OkStatus();
    });
  }
  stream_ends.push_back(ended);
  --serving;
}

void PeerMember::OnPeerUp(NodeId) { ++ups; }

void PeerMember::OnPeerDown(NodeId, const Status& why) { downs.push_back(why); }

bool SendText(net::PeerLink& link, net::PeerUrgency urgency, std::string_view message) {
  return link.Send(urgency, [&](std::string& out) { out.append(message); });
}

}  // namespace metastore::net_test
