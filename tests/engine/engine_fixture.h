// What the engine's tests share: an engine behind a scheduler, short ways to apply commands and to
// read, and the list of engines the whole suite runs on.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/memory_engine.h"
#include "io/gate.h"
#include "io/scheduler.h"
#include "tests/engine/suspending_engine.h"

namespace metastore::engine {

inline constexpr std::string_view kToEnd("\0", 1);  // range_end: everything from key on

// Runs tasks on a scheduler of its own; no runtime is needed, since the engine asks for none.
class TaskRunner final {
 public:
  TaskRunner() : gate_(scheduler_) {}
  ~TaskRunner() { RunUntilIdle(); }

  io::Scheduler& scheduler() { return scheduler_; }
  io::Gate& gate() { return gate_; }

  // Runs the task to its end; fails the test if it waits for something that never comes.
  template <typename T>
  T Await(io::Task<T> task) {
    std::optional<T> result;
    CHECK(gate_.Spawn("test", io::ReadyClass::kClient, Store(std::move(task), result)));
    while (!result.has_value() && !scheduler_.idle()) scheduler_.RunTurn();
    CHECK(result.has_value());
    RunUntilIdle();
    return *std::move(result);
  }
  void RunUntilIdle() {
    while (!scheduler_.idle()) scheduler_.RunTurn();
  }

  template <typename T>
  static io::Task<void> Store(io::Task<T> task, std::optional<T>& result) {
    T value = co_await std::move(task);
    result.emplace(std::move(value));
  }

 private:
  io::Scheduler scheduler_;
  io::Gate gate_;
};

// An engine with helpers. Entries get ascending indexes.
class EngineBox final {
 public:
  explicit EngineBox(bool suspending, uint64_t hash_seed = 7) {
    const size_t step_records = suspending ? 3 : kStepRecords;
    engine_ = MakeMemoryEngine({.hash_seed = hash_seed, .step_records = step_records});
    if (suspending) engine_ = std::make_unique<SuspendingEngine>(std::move(engine_));
  }
  ~EngineBox() {
    StopMaintenance();
    tasks_.RunUntilIdle();
  }

  Engine& operator*() { return *engine_; }
  Engine* operator->() { return engine_.get(); }
  TaskRunner& tasks() { return tasks_; }
  template <typename T>
  T Await(io::Task<T> task) {
    return tasks_.Await(std::move(task));
  }

  void StartMaintenance() {
    stop_ = std::make_unique<io::StopSource>();
    CHECK(tasks_.gate().Spawn("engine.maintenance", io::ReadyClass::kBackground,
                              engine_->RunMaintenance(stop_->token())));
    tasks_.RunUntilIdle();
  }
  void StopMaintenance() {
    if (stop_ != nullptr) stop_->RequestStop();
    tasks_.RunUntilIdle();
    stop_.reset();
  }

  // --- applying -------------------------------------------------------------------------------
  ApplyResult ApplyBytes(std::string_view bytes) {
    return engine_->Apply({.index = engine_->stats().applied_index + 1, .command = bytes});
  }
  // `leases_until`: of the header.
  ApplyResult Apply(CommandOp op, LogIndex leases_until = LogIndex()) {
    Command command;
    command.header.leases_until = leases_until;
    command.header.request = {.node = NodeId(1), .boot = 1, .counter = ++counter_};
    command.op = std::move(op);
    return ApplyBytes(EncodeCommand(command));
  }
  ApplyResult Put(std::string_view key, std::string_view value, LeaseId lease = LeaseId(0)) {
    PutOp put;
    put.key = key;
    put.value = value;
    put.lease = lease;
    return Apply(put);
  }
  ApplyResult Delete(std::string_view key, std::string_view range_end = {}) {
    DeleteRangeOp op;
    op.key = key;
    op.range_end = range_end;
    return Apply(op);
  }
  ApplyResult Compact(int64_t revision) { return Apply(CompactOp{.revision = Revision(revision)}); }
  ApplyResult Grant(int64_t lease, int64_t ttl = 60) {
    return Apply(LeaseGrantOp{.lease = LeaseId(lease), .ttl_seconds = ttl});
  }
  ApplyResult Revoke(int64_t lease) { return Apply(LeaseRevokeOp{.lease = LeaseId(lease)}); }
  ApplyResult Checkpoint(std::vector<LeaseCheckpoint> checkpoints) {
    return Apply(LeaseCheckpointOp{.checkpoints = std::move(checkpoints)});
  }

  // --- reading --------------------------------------------------------------------------------
  RangeResult Range(const RangeOp& range) {
    RangeQuery query;
    query.range = range;
    return Await(engine_->Range(query));
  }
  RangeResult Range(std::string_view key, std::string_view range_end = {}, int64_t revision = 0) {
    RangeOp range;
    range.key = key;
    range.range_end = range_end;
    range.revision = revision;
    return Range(range);
  }
  // "value" of a key at a revision; "(none)" if it is not there.
  std::string Get(std::string_view key, int64_t revision = 0) {
    const RangeResult result = Range(key, {}, revision);
    CHECK(result.outcome == Outcome::kOk);
    return result.kvs.empty() ? "(none)" : std::string(result.kvs[0].value.view());
  }
  // "a b c": the keys of a range.
  std::string Keys(std::string_view key, std::string_view range_end, int64_t revision = 0) {
    return JoinKeys(Range(key, range_end, revision));
  }
  static std::string JoinKeys(const RangeResult& result) {
    std::string joined;
    for (const KeyValue& kv : result.kvs) {
      if (!joined.empty()) joined += ' ';
      joined += kv.key.view();
    }
    return joined;
  }
  HistoryResult History(int64_t from) {
    HistoryQuery query;
    query.from = Revision(from);
    return Await(engine_->History(query));
  }
  // "2+a 3-a": revision, put or delete, key.
  static std::string JoinEvents(const HistoryResult& result) {
    std::string joined;
    for (const Event& event : result.events) {
      if (!joined.empty()) joined += ' ';
      joined += Concat(event.kv.mod_revision.value(), event.kind == EventKind::kPut ? "+" : "-",
                       event.kv.key.view());
    }
    return joined;
  }
  int64_t revision() const { return engine_->stats().revision.value(); }
  uint64_t Digest() { return Await(engine_->Digest()); }
  HashResult HashKv(int64_t revision) { return Await(engine_->HashKv(Revision(revision))); }

  // --- snapshots ------------------------------------------------------------------------------
  std::string ReadAll(SnapshotSource& source) {
    std::string stream;
    while (true) {
      const StatusOr<std::string> bytes = Await(source.Next());
      CHECK(bytes.ok());
      if (bytes->empty()) return stream;
      stream += *bytes;
    }
  }
  std::string Snapshot() {
    const std::unique_ptr<SnapshotSource> source =
        engine_->StartSnapshot({.term = Term(3), .server_state = "members"});
    return ReadAll(*source);
  }
  // `piece_bytes` at a time.
  StatusOr<SnapshotMeta> Restore(std::string_view stream, size_t piece_bytes = 100'000) {
    const std::unique_ptr<SnapshotSink> sink = engine_->StartRestore();
    for (size_t at = 0; at < stream.size(); at += piece_bytes) {
      const Status added = Await(sink->Add(stream.substr(at, piece_bytes)));
      if (!added.ok()) return added;
    }
    return Await(sink->Finish());
  }

 private:
  TaskRunner tasks_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<io::StopSource> stop_;
  uint64_t counter_ = 0;
};

// The whole suite runs on the engine itself and on one that suspends at every step, of which each
// is as short as can be.
enum class EngineKind : uint8_t { kPlain, kSuspending };

class EngineTest : public testing::TestWithParam<EngineKind> {
 protected:
  EngineTest() : box_(GetParam() == EngineKind::kSuspending) {}

  EngineBox box_;
};

inline std::string EngineName(const testing::TestParamInfo<EngineKind>& info) {
  return info.param == EngineKind::kPlain ? "Plain" : "Suspending";
}

#define MS_ENGINE_SUITE(Suite) \
  INSTANTIATE_TEST_SUITE_P(    \
      Engines, Suite, testing::Values(EngineKind::kPlain, EngineKind::kSuspending), EngineName)

// --- short forms of ops -----------------------------------------------------------------------

inline Op PutOf(std::string_view key, std::string_view value, int64_t lease = 0) {
  PutOp put;
  put.key = key;
  put.value = value;
  put.lease = LeaseId(lease);
  return Op{put};
}
inline Op DeleteOf(std::string_view key, std::string_view range_end = {}) {
  DeleteRangeOp op;
  op.key = key;
  op.range_end = range_end;
  return Op{op};
}
inline Op RangeOf(std::string_view key, std::string_view range_end = {}, int64_t revision = 0) {
  RangeOp op;
  op.key = key;
  op.range_end = range_end;
  op.revision = revision;
  return Op{op};
}
inline Compare NumberIs(CompareTarget target, std::string_view key, CompareResult result,
                        int64_t number) {
  Compare compare;
  compare.target = target;
  compare.result = result;
  compare.key = key;
  compare.number = number;
  return compare;
}
inline Compare ValueIs(std::string_view key, CompareResult result, std::string_view value) {
  Compare compare;
  compare.target = CompareTarget::kValue;
  compare.result = result;
  compare.key = key;
  compare.value = value;
  return compare;
}
inline TxnOp TxnOf(std::vector<Compare> compares, std::vector<Op> success,
                   std::vector<Op> failure = {}) {
  TxnOp txn;
  txn.compares = std::move(compares);
  txn.success = std::move(success);
  txn.failure = std::move(failure);
  return txn;
}

}  // namespace metastore::engine
