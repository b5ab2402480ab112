// An engine, its WatchHub, and a WatchTable on each edge core, in a simulated process: what the
// tests of watching share. One core: state and watchers on the same; more: the first has the state.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/memory_engine.h"
#include "io/sim/sim_world.h"
#include "server/change_fanout.h"
#include "server/watch_hub.h"
#include "server/watch_session.h"
#include "server/watch_table.h"

namespace metastore::server {

// "5+a=v" or "5-a", with " was=x" where there is a previous pair.
inline std::string TextOf(const engine::Event& event, bool previous) {
  const bool deletion = event.kind == engine::EventKind::kDelete;
  std::string text =
      Concat(event.kv.mod_revision.value(), deletion ? "-" : "+", event.kv.key.view());
  if (!deletion) text += Concat("=", event.kv.value.view());
  if (previous && event.previous) text += Concat(" was=", event.previous->value.view());
  return text;
}

// Every change ever made.
class ChangeRecord final : public engine::ChangeListener {
 public:
  Detail WantedDetail() const override { return Detail::kPrevious; }
  void OnChanges(Revision /*revision*/, std::span<const engine::Event> events) override {
    changes_.insert(changes_.end(), events.begin(), events.end());
  }
  void OnLeaseGranted(const engine::LeaseInfo& /*lease*/) override {}
  void OnLeaseRevoked(LeaseId /*lease*/) override {}
  void OnCompacted(Revision /*revision*/) override {}
  void OnRestored() override {}

  const std::vector<engine::Event>& changes() const { return changes_; }

 private:
  std::vector<engine::Event> changes_;
};

// One session, and a reader that keeps what it is given.
class Holder final {
 public:
  Holder(WatchTable& table, sim::SimWorld& world)
      : runtime_(table.runtime()), world_(world), gate_(runtime_.scheduler()), session_(table) {}
  ~Holder() {
    stop_.RequestStop();
    world_.Await(runtime_, gate_.Close());
  }

  WatchSession& session() { return session_; }
  int64_t Create(WatchSpec spec) {
    StatusOr<int64_t> id = world_.Await(runtime_, session_.Create(std::move(spec)));
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(WatchDelivery::kNoId);
  }
  // From now on, with a rest of up to `rest_max` after each delivery.
  void StartReading(Duration rest_max = Duration()) {
    gate_.Spawn("read", io::ReadyClass::kClient, Read(rest_max));
  }
  const std::deque<WatchDelivery>& got() const { return got_; }
  const Status& ended() const { return ended_; }

  // Takes what is there now: "created 0", "events 0: 5+a=v 5-b", "progress -1 at 7".
  std::vector<std::string> Texts() {
    if (gate_.running() == 0) StartReading();
    world_.RunFor(Milliseconds(50));
    std::vector<std::string> texts;
    for (const WatchDelivery& delivery : std::exchange(got_, {})) texts.push_back(Text(delivery));
    return texts;
  }
  // The events given to watcher `id`, all deliveries together.
  std::vector<std::string> EventsFor(int64_t id, bool previous) const {
    std::vector<std::string> texts;
    for (const WatchDelivery& delivery : got_) {
      if (delivery.kind != WatchDelivery::Kind::kEvents || delivery.id != id) continue;
      for (const engine::Event& event : EventsOf(delivery)) {
        texts.push_back(TextOf(event, previous));
      }
    }
    return texts;
  }

 private:
  static std::string Text(const WatchDelivery& delivery) {
    switch (delivery.kind) {
      case WatchDelivery::Kind::kCreated:
        return Concat("created ", delivery.id);
      case WatchDelivery::Kind::kRefused:
        return Concat("refused: ", delivery.reason);
      case WatchDelivery::Kind::kProgress:
        return Concat("progress ", delivery.id, " at ", delivery.revision.value());
      case WatchDelivery::Kind::kCanceled:
        return Concat("canceled ", delivery.id, " compacted ", delivery.compacted.value());
      case WatchDelivery::Kind::kEvents:
        break;
    }
    std::string text = Concat("events ", delivery.id, ":");
    for (const engine::Event& event : EventsOf(delivery)) text += " " + TextOf(event, true);
    return text;
  }
  io::Task<void> Read(Duration rest_max) {
    const io::WaitLimit limit{.stop = stop_.token()};
    while (true) {
      StatusOr<WatchDelivery> next = co_await session_.Next(limit);
      if (!next.ok()) {
        ended_ = next.status();
        co_return;
      }
      got_.push_back(*std::move(next));
      if (rest_max == Duration()) continue;
      const auto rest =
          static_cast<int64_t>(runtime_.Random() % static_cast<uint64_t>(rest_max.ns));
      co_await io::SleepUntil(runtime_, runtime_.Now() + Duration(rest), stop_.token());
    }
  }

  io::Runtime& runtime_;
  sim::SimWorld& world_;
  io::StopSource stop_;
  io::Gate gate_;
  WatchSession session_;
  std::deque<WatchDelivery> got_;
  Status ended_;
};

class WatchWorld final {
 public:
  explicit WatchWorld(uint64_t seed, int cores, Duration progress_interval = Seconds(600),
                      size_t step_watchers = engine::kStepRecords)
      : world_(seed), machine_(world_.AddMachine("n")), cores_(machine_.StartProcess(cores)) {
    engine_ = engine::MakeMemoryEngine({.hash_seed = 7});
    hub_ = std::make_unique<WatchHub>(*cores_[0], *engine_, [this] { return member; });
    fanout_.Add(record_);
    fanout_.Add(*hub_);
    engine_->SetListener(&fanout_);
    for (int core = cores == 1 ? 0 : 1; core < cores; ++core) {
      tables_.push_back(std::make_unique<WatchTable>(
          WatchTable::Parts{.runtime = *cores_[static_cast<size_t>(core)],
                            .state = *cores_[0],
                            .hub = *hub_,
                            .progress_interval = progress_interval,
                            .leader_interval = Seconds(1),
                            .step_watchers = step_watchers}));
      tables_.back()->Start();
    }
  }
  ~WatchWorld() {
    for (const auto& table : tables_) world_.Await(table->runtime(), table->Close());
    tables_.clear();
    hub_.reset();
    world_.Await(*cores_[0], engine_->Close());
    engine_.reset();
    machine_.EndProcess();
  }

  sim::SimWorld& world() { return world_; }
  WatchTable& table(size_t edge = 0) { return *tables_[edge % tables_.size()]; }
  WatchHub& hub() { return *hub_; }
  engine::Engine& engine() { return *engine_; }
  const std::vector<engine::Event>& changes() const { return record_.changes(); }
  void Run() { world_.RunFor(Milliseconds(50)); }

  void Apply(engine::CommandOp op) {
    engine::Command command;
    command.header.request = {.node = NodeId(1), .boot = 1, .counter = ++counter_};
    command.op = std::move(op);
    const engine::ApplyResult applied = engine_->Apply(
        {.index = engine_->stats().applied_index + 1, .command = EncodeCommand(command)});
    EXPECT_EQ(applied.outcome, engine::Outcome::kOk);
  }
  void Put(std::string_view key, std::string_view value) {
    Apply(engine::PutOp{.key = key, .value = value});
  }
  void Delete(std::string_view key, std::string_view range_end = {}) {
    engine::DeleteRangeOp op;
    op.key = key;
    op.range_end = range_end;
    Apply(op);
  }
  void Compact(Revision revision) { Apply(engine::CompactOp{.revision = revision}); }
  Revision revision() const { return engine_->stats().revision; }

  WatchMember member;  // what the hub is told

 private:
  sim::SimWorld world_;
  sim::SimMachine& machine_;
  std::vector<io::Runtime*> cores_;
  std::unique_ptr<engine::Engine> engine_;
  ChangeRecord record_;
  ChangeFanout fanout_;
  std::unique_ptr<WatchHub> hub_;
  std::vector<std::unique_ptr<WatchTable>> tables_;
  uint64_t counter_ = 0;
};

}  // namespace metastore::server
