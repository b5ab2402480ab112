// Aim: the engine agrees with an obvious model on everything it answers. Method: seeded random
// entries (puts, deletes, nested transactions, compactions, leases) over a small key space; after
// each the result is compared, and from time to time ranges at random revisions, history, counts,
// leases, and a snapshot restored into a new engine.
#include <algorithm>
#include <set>

#include "engine/txn_check.h"
#include "io/base/prng.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/model.h"

namespace metastore::engine {
namespace {

ModelKv ToModel(const KeyValue& kv) {
  return {std::string(kv.key.view()),
          std::string(kv.value.view()),
          kv.create_revision.value(),
          kv.mod_revision.value(),
          kv.version,
          kv.lease.value()};
}

class Differential {
 public:
  Differential(uint64_t seed, bool suspending)
      : prng_(seed), box_(std::make_unique<EngineBox>(suspending)) {
    suspending_ = suspending;
    for (int i = 0; i < 40; ++i) {
      // Common prefixes, one a prefix of the other, long ones: what the tree's heads must tell
      // apart.
      std::string key =
          i % 3 == 0 ? "/registry/pods/default/" : (i % 3 == 1 ? "k" : std::string(60, 'p'));
      names_.push_back(key + std::string(static_cast<size_t>(i / 7), 'x') + std::to_string(i % 13));
    }
  }

  void Run(int steps) {
    box_->StartMaintenance();
    for (int step = 0; step < steps && !testing::Test::HasFatalFailure(); ++step) {
      OneEntry();
      CheckRange();
      if (prng_.Chance(1, 20)) CheckHistory();
      if (prng_.Chance(1, 50)) CheckState();
      if (prng_.Chance(1, 150)) Restart();
    }
    CheckState();
  }

 private:
  const std::string& Name() { return names_[prng_.Below(names_.size())]; }
  std::string RangeEnd() {
    const uint64_t kind = prng_.Below(4);
    if (kind == 0) return std::string(kToEnd);
    if (kind == 1) return "";
    return Name();
  }
  int64_t LeaseOrNone() {
    return prng_.Chance(1, 3) ? static_cast<int64_t>(prng_.Between(1, 5)) : 0;
  }
  std::string_view Keep(std::string text) {
    kept_.push_back(std::make_unique<std::string>(std::move(text)));
    return *kept_.back();
  }

  void OneEntry() {
    kept_.clear();
    const uint64_t kind = prng_.Below(100);
    if (kind < 45) return OnePut();
    if (kind < 55) return OneDelete();
    if (kind < 80) return OneTxn();
    if (kind < 88) return OneCompact();
    OneLease();
  }

  // --- what the model says a put may do, in etcd's order ---
  Outcome PutKey(const PutOp& put) const {
    if (!put.ignore_value && !put.ignore_lease) return Outcome::kOk;
    return model_.Get(std::string(put.key), model_.now()) ? Outcome::kOk : Outcome::kKeyNotFound;
  }
  Outcome PutLease(const PutOp& put) const {
    const bool known = put.lease == LeaseId(0) || model_.leases.contains(put.lease.value());
    return known ? Outcome::kOk : Outcome::kLeaseNotFound;
  }
  bool ModelPut(const PutOp& put) {
    const std::string key(put.key);
    const auto old = model_.Get(key, model_.now());
    const std::string value = put.ignore_value ? (old ? old->value : "") : std::string(put.value);
    const int64_t lease = put.ignore_lease ? (old ? old->lease : 0) : put.lease.value();
    return model_.Put(key, value, lease);
  }
  PutOp RandomPut() {
    PutOp put;
    put.key = Name();
    put.ignore_value = prng_.Chance(1, 10);
    put.ignore_lease = prng_.Chance(1, 10);
    if (!put.ignore_value) put.value = Keep(std::to_string(prng_.Next()));
    if (!put.ignore_lease) put.lease = LeaseId(LeaseOrNone());
    return put;
  }

  void OnePut() {
    const PutOp put = RandomPut();
    Outcome expected = PutLease(put);
    if (expected == Outcome::kOk) expected = PutKey(put);
    const ApplyResult result = box_->Apply(put);
    ASSERT_EQ(result.outcome, expected);
    if (expected == Outcome::kOk) ASSERT_EQ(result.op.existed, ModelPut(put));
    Same(result);
  }
  void OneDelete() {
    const std::string key = Name();
    const std::string end = RangeEnd();
    const ApplyResult result = box_->Delete(key, end);
    ASSERT_EQ(result.outcome, Outcome::kOk);
    ASSERT_EQ(result.op.deleted, model_.Delete(key, end));
    Same(result);
  }
  void OneCompact() {
    const int64_t to =
        static_cast<int64_t>(prng_.Between(0, static_cast<uint64_t>(model_.revision) + 1));
    const int64_t near = std::max(to, model_.revision - 60);
    ASSERT_EQ(box_->Compact(near).outcome, model_.Compact(near));
  }
  void OneLease() {
    const int64_t id = static_cast<int64_t>(prng_.Between(1, 5));
    const bool known = model_.leases.contains(id);
    if (prng_.Chance(1, 2)) {
      ASSERT_EQ(box_->Grant(id, 60).outcome, known ? Outcome::kLeaseExists : Outcome::kOk);
      model_.leases.emplace(id, 60);
      return;
    }
    const ApplyResult result = box_->Revoke(id);
    ASSERT_EQ(result.outcome, known ? Outcome::kOk : Outcome::kLeaseNotFound);
    if (known) ASSERT_EQ(result.op.deleted, model_.Revoke(id));
    Same(result);
  }
  void Same(const ApplyResult& result) {
    const bool changed = model_.Commit();
    ASSERT_EQ(result.changed, changed);
    ASSERT_EQ(result.revision.value(), model_.revision);
  }

  // --- transactions ---
  Compare RandomCompare() {
    Compare compare;
    compare.target = static_cast<CompareTarget>(prng_.Below(5));
    compare.result = static_cast<CompareResult>(prng_.Below(4));
    compare.key = Name();
    if (prng_.Chance(1, 5)) compare.range_end = Keep(RangeEnd());
    const auto kv = model_.Get(std::string(compare.key), model_.now());
    if (compare.target == CompareTarget::kValue) {
      compare.value = kv ? Keep(kv->value) : std::string_view();
    } else if (kv && prng_.Chance(3, 4)) {
      compare.number = Number(compare.target, *kv);
    }
    return compare;
  }
  static int64_t Number(CompareTarget target, const ModelKv& kv) {
    switch (target) {
      case CompareTarget::kVersion:
        return kv.version;
      case CompareTarget::kCreate:
        return kv.create;
      case CompareTarget::kMod:
        return kv.mod;
      case CompareTarget::kLease:
        return kv.lease;
      case CompareTarget::kValue:
        break;
    }
    return 0;
  }
  template <typename T>
  static bool Relates(CompareResult relation, const T& stored, const T& given) {
    switch (relation) {
      case CompareResult::kEqual:
        return stored == given;
      case CompareResult::kGreater:
        return stored > given;
      case CompareResult::kLess:
        return stored < given;
      case CompareResult::kNotEqual:
        return stored != given;
    }
    return false;
  }
  bool Holds(const Compare& compare) const {
    const auto found =
        model_.Range(std::string(compare.key), std::string(compare.range_end), model_.now());
    const bool value = compare.target == CompareTarget::kValue;
    if (found.empty()) return !value && Relates<int64_t>(compare.result, 0, compare.number);
    return std::all_of(found.begin(), found.end(), [&](const ModelKv& kv) {
      if (value) return Relates<std::string>(compare.result, kv.value, std::string(compare.value));
      return Relates<int64_t>(compare.result, Number(compare.target, kv), compare.number);
    });
  }
  TxnOp RandomTxn(int depth) {
    TxnOp txn;
    for (uint64_t i = prng_.Below(3); i > 0; --i) txn.compares.push_back(RandomCompare());
    for (auto* branch : {&txn.success, &txn.failure}) {
      for (uint64_t i = prng_.Below(4); i > 0; --i) branch->push_back(RandomOp(depth));
    }
    return txn;
  }
  Op RandomOp(int depth) {
    const uint64_t kind = prng_.Below(depth < 3 ? 10 : 8);
    if (kind < 4) return Op{RandomPut()};
    if (kind < 6) {
      // To the end of all keys is what the duplicate check does not see; a single key is the common
      // case.
      return DeleteOf(Name(), prng_.Chance(1, 2) ? kToEnd : std::string_view());
    }
    if (kind < 8)
      return RangeOf(Name(), Keep(RangeEnd()), prng_.Chance(1, 5) ? model_.revision : 0);
    return Op{RandomTxn(depth + 1)};
  }
  // Compares all read the state before the transaction, so the path is found before anything is
  // executed.
  struct Path {
    bool success;
    std::vector<Path> nested;
  };
  Path Decide(const TxnOp& txn) const {
    Path path{true, {}};
    for (const Compare& compare : txn.compares) path.success = path.success && Holds(compare);
    for (const Op& op : path.success ? txn.success : txn.failure) {
      if (const auto* inner = std::get_if<TxnOp>(&op.op)) path.nested.push_back(Decide(*inner));
    }
    return path;
  }
  Outcome Allowed(const TxnOp& txn, const Path& path) const {
    size_t nested = 0;
    for (const Op& op : path.success ? txn.success : txn.failure) {
      Outcome outcome = Outcome::kOk;
      if (const auto* put = std::get_if<PutOp>(&op.op)) {
        outcome = PutKey(*put);
        if (outcome == Outcome::kOk) outcome = PutLease(*put);
      } else if (const auto* inner = std::get_if<TxnOp>(&op.op)) {
        outcome = Allowed(*inner, path.nested[nested++]);
      }
      if (outcome != Outcome::kOk) return outcome;
    }
    return Outcome::kOk;
  }
  void OneTxn() {
    TxnOp txn = RandomTxn(0);
    while (CheckTxn(txn, 128) != Outcome::kOk) txn = RandomTxn(0);
    const Path path = Decide(txn);
    const Outcome expected = Allowed(txn, path);
    const ReadPin pin = (*box_)->Pin();
    const ApplyResult result = box_->Apply(txn);
    ASSERT_EQ(result.outcome, expected);
    if (expected == Outcome::kOk) Execute(txn, path, result.op, pin);
    Same(result);
  }
  void Execute(const TxnOp& txn, const Path& path, const OpResult& result, const ReadPin& pin) {
    ASSERT_EQ(result.succeeded, path.success);
    const std::vector<Op>& branch = path.success ? txn.success : txn.failure;
    ASSERT_EQ(result.nested.size(), branch.size());
    size_t nested = 0;
    for (size_t i = 0; i < branch.size(); ++i) {
      const OpResult& op = result.nested[i];
      if (const auto* put = std::get_if<PutOp>(&branch[i].op)) {
        CheckAt(put->key, "", model_.now(), op, pin);
        ASSERT_EQ(op.existed, ModelPut(*put));
      } else if (const auto* deletion = std::get_if<DeleteRangeOp>(&branch[i].op)) {
        CheckAt(deletion->key, deletion->range_end, model_.now(), op, pin);
        ASSERT_EQ(op.deleted,
                  model_.Delete(std::string(deletion->key), std::string(deletion->range_end)));
      } else if (const auto* range = std::get_if<RangeOp>(&branch[i].op)) {
        const Model::At at = range->revision > 0 ? Model::At(range->revision + 1, 0) : model_.now();
        CheckAt(range->key, range->range_end, at, op, pin);
      } else {
        Execute(std::get<TxnOp>(branch[i].op), path.nested[nested++], op, pin);
      }
    }
  }
  // What the op's answer reads afterwards is what the op saw.
  void CheckAt(std::string_view key, std::string_view end, Model::At at, const OpResult& op,
               const ReadPin& pin) {
    RangeQuery query;
    query.range.key = key;
    query.range.range_end = end;
    query.pin = &pin;
    query.at = op.at;
    Compared(box_->Await((*box_)->Range(query)),
             model_.Range(std::string(key), std::string(end), at));
  }
  static void Compared(const RangeResult& result, const std::vector<ModelKv>& expected) {
    ASSERT_EQ(result.outcome, Outcome::kOk);
    std::vector<ModelKv> got;
    for (const KeyValue& kv : result.kvs) got.push_back(ToModel(kv));
    ASSERT_EQ(got, expected);
    ASSERT_EQ(result.count, static_cast<int64_t>(expected.size()));
  }

  // --- comparing state ---
  void CheckRange() {
    const std::string key = Name();
    const std::string end = RangeEnd();
    const int64_t revision =
        static_cast<int64_t>(prng_.Below(static_cast<uint64_t>(model_.revision) + 2));
    const RangeResult result = box_->Range(key, end, revision);
    if (revision > model_.revision) {
      ASSERT_EQ(result.outcome, Outcome::kFutureRevision);
    } else if (revision > 0 && revision < model_.compacted) {
      ASSERT_EQ(result.outcome, Outcome::kCompacted);
    } else {
      const int64_t at = revision > 0 ? revision : model_.revision;
      Compared(result, model_.Range(key, end, {at + 1, 0}));
    }
  }
  void CheckHistory() {
    const int64_t floor = std::max<int64_t>(model_.compacted, 1);
    int64_t next = static_cast<int64_t>(
        prng_.Between(static_cast<uint64_t>(floor), static_cast<uint64_t>(model_.revision)));
    const std::vector<ModelEvent> expected = model_.History(next);
    std::vector<ModelEvent> got;
    while (next <= model_.revision) {
      HistoryQuery query;
      query.from = Revision(next);
      query.events_max = prng_.Between(1, 50);
      const HistoryResult result = box_->Await((*box_)->History(query));
      ASSERT_EQ(result.outcome, Outcome::kOk);
      ASSERT_GT(result.next.value(), next);
      for (const Event& event : result.events) {
        got.push_back({event.kind == EventKind::kPut, ToModel(event.kv)});
      }
      next = result.next.value();
    }
    ASSERT_EQ(got, expected);
  }
  void CheckState() {
    const Stats stats = (*box_)->stats();
    ASSERT_EQ(stats.revision.value(), model_.revision);
    ASSERT_EQ(stats.compacted.value(), model_.compacted);
    ASSERT_EQ(stats.removed, stats.compacted);
    const std::vector<ModelKv> live =
        model_.Range(std::string(kToEnd), std::string(kToEnd), {model_.revision + 1, 0});
    ASSERT_EQ(stats.keys_count, static_cast<int64_t>(live.size()));
    uint64_t bytes = 0;
    for (const ModelKv& kv : live) bytes += kv.key.size() + kv.value.size() + kVersionOverheadBytes;
    ASSERT_EQ(stats.live_bytes, bytes);
    ASSERT_GE(stats.stored_bytes, bytes);
    for (int64_t id = 1; id <= 5; ++id) {
      ASSERT_EQ((*box_)->FindLease(LeaseId(id)).has_value(), model_.leases.contains(id));
      if (!model_.leases.contains(id)) continue;
      const LeaseKeys keys = box_->Await((*box_)->KeysOfLease(LeaseId(id), {}, 1000));
      std::vector<std::string> got;
      for (const io::SharedBytes& key : keys.keys) got.emplace_back(key.view());
      std::vector<std::string> expected;
      for (const ModelKv& kv : live) {
        if (kv.lease == id) expected.push_back(kv.key);
      }
      ASSERT_EQ(got, expected);
    }
  }
  // The run goes on with an engine restored from this one's snapshot.
  void Restart() {
    const uint64_t digest = box_->Digest();
    const std::string stream = box_->Snapshot();
    auto restored = std::make_unique<EngineBox>(suspending_);
    const StatusOr<SnapshotMeta> meta = restored->Restore(stream, prng_.Between(1, 5000));
    ASSERT_TRUE(meta.ok()) << meta.status();
    ASSERT_EQ(restored->Digest(), digest);
    box_ = std::move(restored);
    box_->StartMaintenance();
  }

  Prng prng_;
  bool suspending_;
  std::unique_ptr<EngineBox> box_;
  Model model_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<std::string>> kept_;  // what the entry under way borrows
};

class DifferentialTest : public testing::TestWithParam<EngineKind> {};
MS_ENGINE_SUITE(DifferentialTest);

TEST_P(DifferentialTest, AgreesWithTheModel) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(Concat("seed ", seed));
    Differential run(seed, GetParam() == EngineKind::kSuspending);
    run.Run(1500);
    if (HasFatalFailure()) return;
  }
}

// Equal entries give equal state, wherever removal has got to and whatever the hash seed.
TEST(DeterminismTest, EqualEntriesGiveEqualDigests) {
  EngineBox eager(false);
  EngineBox lazy(true, 99);
  eager.StartMaintenance();
  Prng prng(5);
  for (int i = 0; i < 3000; ++i) {
    const std::string key = Concat("key", prng.Below(100));
    for (EngineBox* box : {&eager, &lazy}) {
      if (i % 7 == 0) {
        box->Delete(key, Concat(key, "5"));
      } else if (i % 50 == 0) {
        box->Compact(box->revision() - 20);
      } else {
        box->Put(key, Concat("v", i));
      }
    }
    if (i % 500 == 0) ASSERT_EQ(eager.Digest(), lazy.Digest()) << i;
  }
  EXPECT_EQ(eager.Digest(), lazy.Digest());
  EXPECT_LT(eager->stats().versions_count, lazy->stats().versions_count);
  EXPECT_EQ(eager.HashKv(0).hash, lazy.HashKv(0).hash);
}

}  // namespace
}  // namespace metastore::engine
