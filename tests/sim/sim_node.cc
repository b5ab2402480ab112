#include "tests/sim/sim_node.h"

#include <utility>

namespace metastore::sim_test {
namespace {

constexpr Duration kStopLimit = Seconds(60);

}  // namespace

SimNode::~SimNode() {
  if (dead()) {
    Bury();
  } else if (exists()) {
    Stop();
  }
}

void SimNode::Start(server::Config config) {
  CHECK(!exists());
  const std::vector<io::Runtime*> cores = machine_.StartProcess(config.runtime.reactors);
  gate_ = std::make_unique<io::Gate>(cores[0]->scheduler());
  looks_ = std::make_unique<io::Gate>(cores[0]->scheduler());
  watch_ = std::make_unique<io::StopSource>();
  node_ = std::make_unique<server::Node>(cores, std::move(config));
  start_status_.reset();
  failure_ = OkStatus();
  running_ = stop_requested_ = ended_ = false;
  gate_->Spawn("life", io::ReadyClass::kCritical, Life());
}

io::Task<void> SimNode::Life() {
  Status started = co_await node_->Start();
  start_status_ = started;
  if (started.ok()) {
    running_ = true;
    gate_->Spawn("watch", io::ReadyClass::kCritical, WatchFailure());
    while (!stop_requested_) {
      co_await stop_wanted_.Wait();
    }
    running_ = false;
    co_await looks_->Close();
  }
  watch_->RequestStop();
  co_await node_->Stop(Seconds(1));
  ended_ = true;
}

io::Task<void> SimNode::WatchFailure() {
  Status failure = co_await node_->WaitFailed(watch_->token());
  if (failure.ok()) co_return;
  failure_ = failure;
  RequestStop();
}

Status SimNode::Await(Duration limit) {
  sim::SimWorld& world = machine_.world();
  const bool decided = world.RunUntil([&] { return dead() || serving() || ended(); }, limit);
  if (dead()) return AbortedError("died while starting");
  if (start_status_.has_value() && !start_status_->ok()) return *start_status_;
  if (!failure_.ok()) return failure_;
  if (!decided) return DeadlineExceededError("does not serve in time\n", world.PrintLogs());
  return OkStatus();
}

bool SimNode::SpawnLook(io::Task<void> look) {
  return running() && looks_->Spawn("look", io::ReadyClass::kBackground, std::move(look));
}

bool SimNode::SpawnCall(io::Task<void> call) {
  return running() && gate_->Spawn("call", io::ReadyClass::kClient, std::move(call));
}

void SimNode::Kill() {
  if (!dead()) machine_.KillProcess();
  Bury();
}

void SimNode::PowerLoss() {
  if (!dead()) machine_.PowerLoss();
  if (dead()) Bury();
}

void SimNode::Bury() {
  CHECK(dead());
  RequestStop();
  machine_.DrainDead();
  if (!ended()) std::fprintf(stderr, "%s", machine_.world().PrintLogs(40).c_str());
  Remove();
}

void SimNode::RequestStop() {
  stop_requested_ = true;
  stop_wanted_.NotifyAll();
}

std::string SimNode::Show() {
  if (!exists()) return "no process";
  if (!running()) return "not started or stopping";
  const server::GroupStatus status = state().group().status();
  std::string text = Concat(
      status.is_leader ? "leads" : "follows", " in term ", status.term.value(), ", leader ",
      absl::Hex(status.leader.value()), ", committed ", status.committed.value(), ", applied ",
      status.applied.value(), ", repair term ", status.repair_term.value(), ", voters");
  for (const NodeId voter : status.conf.voters) text += Concat(" ", absl::Hex(voter.value()));
  return text;
}

void SimNode::Remove() {
  CHECK(ended());
  node_.reset();
  looks_.reset();
  gate_.reset();
  watch_.reset();
  machine_.EndProcess();
}

void SimNode::Stop() {
  sim::SimWorld& world = machine_.world();
  RequestStop();
  CHECK(world.RunUntil([&] { return ended() || dead(); }, kStopLimit));
  if (dead()) return Bury();
  world.RunFor(Milliseconds(1));  // what the last tasks have queued
  Remove();
}

io::Task<Status> ChangeMember(SimNode& node, server::MemberOp op, server::Member member,
                              uint64_t number, Duration timeout) {
  io::Runtime& runtime = node.machine().runtime();
  const server::Identity& identity = node.state().identity();
  server::MemberCall call(runtime, runtime.core(), node.state().group());
  call.terms.deadline = runtime.Now() + timeout;
  call.id = {.node = identity.member, .boot = identity.boot, .counter = UINT64_MAX - number};
  call.op = op;
  call.member = std::move(member);
  const bool arrived = co_await call;
  co_return arrived ? call.result : UnavailableError("the node ended first");
}

}  // namespace metastore::sim_test
