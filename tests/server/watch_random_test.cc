// Aim: every watcher gets exactly the changes of its range from its start on, in order and once,
// whatever else happens. Method: random changes, compactions, creations, cancels and readers of
// all speeds, on one core and several, with steps of one watcher, of a few and of many, by seed;
// the engine's own account of changes is the oracle.

#include <list>
#include <map>

#include "io/yield_as.h"
#include "tests/server/watch_world.h"

namespace metastore::server {
namespace {

constexpr std::string_view kOpenEnd("\0", 1);

struct Made {
  WatchSpec spec;
  Revision start;
  bool cancelled = false;
};

struct Client {
  Client(WatchTable& table, sim::SimWorld& world) : holder(table, world) {}
  Holder holder;
  std::map<int64_t, Made> made;
};

class WatchRandomTest : public testing::TestWithParam<int> {
 protected:
  WatchRandomTest()
      : seed_(static_cast<uint64_t>(GetParam())),
        world_(seed_, 1 + GetParam() % 3, Seconds(600), kStepWatchers[GetParam() / 3 % 3]),
        prng_(seed_ * 31 + 7) {}

  std::string RandomKey() {
    std::string key(1 + prng_.Below(2), 'a');
    for (char& byte : key) byte = static_cast<char>('a' + prng_.Below(5));
    return key;
  }

  void Change() {
    const size_t value_bytes = prng_.Chance(1, 20) ? 40'000 : prng_.Below(20);
    const std::string value = Concat(++values_, std::string(value_bytes, 'v'));
    const std::string key = RandomKey();
    switch (prng_.Below(8)) {
      case 0:
        return world_.Delete(key);
      case 1:
        return world_.Delete(key, key + "~");
      case 2: {
        engine::TxnOp txn;
        const std::string other = key + "!";
        txn.success.emplace_back(engine::PutOp{.key = key, .value = value});
        txn.success.emplace_back(engine::PutOp{.key = other, .value = value});
        return world_.Apply(std::move(txn));
      }
      default:
        return world_.Put(key, value);
    }
  }

  void Create(Client& client) {
    WatchSpec spec{.key = RandomKey()};
    if (prng_.Chance(1, 2)) spec.range_end = spec.key + "~";
    if (prng_.Chance(1, 8)) spec.range_end = std::string(kOpenEnd);
    spec.prev_kv = prng_.Chance(1, 3);
    spec.no_puts = prng_.Chance(1, 8);
    spec.no_deletes = prng_.Chance(1, 8);
    const auto now = static_cast<uint64_t>(world_.revision().value());
    if (prng_.Chance(1, 2)) spec.start = Revision(static_cast<int64_t>(1 + prng_.Below(now + 5)));
    Made made{.spec = spec, .start = spec.start};
    if (made.start == Revision()) made.start = world_.revision() + 1;
    const int64_t id = client.holder.Create(std::move(spec));
    ASSERT_NE(id, WatchDelivery::kNoId);
    client.made.emplace(id, std::move(made));
  }

  void Compact() {
    const int64_t now = world_.revision().value();
    const Revision to(now - static_cast<int64_t>(prng_.Below(40)));
    if (to <= world_.engine().stats().compacted || to < Revision(2)) return;
    world_.Compact(to);
  }

  // Watchers come and go between the steps of a batch.
  void RunSteps(WatchTable& table) {
    world_.world().Await(table.runtime(), Yields(prng_.Below(8)));
    if (table.live() < table.heard()) ++between_;
  }
  static io::Task<void> Yields(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) co_await io::YieldAs(io::ReadyClass::kBackground);
  }

  void Step() {
    switch (prng_.Below(16)) {
      case 0:
        clients_.emplace_back(world_.table(prng_.Next()), world_.world());
        // Some do not read before the end.
        if (prng_.Chance(2, 3)) {
          clients_.back().holder.StartReading(Milliseconds(static_cast<int64_t>(prng_.Below(9))));
        } else {
          unread_.push_back(&clients_.back());
        }
        return;
      case 1:
        if (prng_.Chance(1, 6)) Compact();
        return;
      case 2:
      case 3:
        if (!clients_.empty()) Create(*std::next(clients_.begin(), Place(clients_.size())));
        return;
      case 4:
        if (!clients_.empty()) Cancel(*std::next(clients_.begin(), Place(clients_.size())));
        return;
      case 5:
        return RunSteps(world_.table(prng_.Next()));
      case 6:
        world_.world().RunFor(Microseconds(static_cast<int64_t>(prng_.Below(3000))));
        return;
      default:
        for (uint64_t i = prng_.Below(6); i > 0; --i) Change();
        return;
    }
  }
  std::ptrdiff_t Place(size_t size) { return static_cast<std::ptrdiff_t>(prng_.Below(size)); }

  void Cancel(Client& client) {
    if (client.made.empty() || !prng_.Chance(1, 3)) return;
    const auto victim = std::next(client.made.begin(), Place(client.made.size()));
    client.holder.session().Cancel(victim->first);
    victim->second.cancelled = true;
  }

  std::vector<std::string> Wanted(const Made& made) const {
    const WatchSpec& spec = made.spec;
    std::vector<std::string> texts;
    for (const engine::Event& event : world_.changes()) {
      const std::string_view key = event.kv.key.view();
      const bool deletion = event.kind == engine::EventKind::kDelete;
      if (event.kv.mod_revision < made.start) continue;
      if (deletion ? spec.no_deletes : spec.no_puts) continue;
      if (spec.range_end.empty() ? key != spec.key : key < spec.key) continue;
      const bool bounded = !spec.range_end.empty() && spec.range_end != kOpenEnd;
      if (bounded && key >= spec.range_end) continue;
      texts.push_back(TextOf(event, spec.prev_kv));
    }
    return texts;
  }

  // Previous pairs below a compaction are gone from history; live ones were seen.
  static std::string WithoutPrevious(const std::string& text) {
    return text.substr(0, text.find(" was="));
  }

  void Check(const Client& client, int64_t id, const Made& made) {
    std::vector<std::string> wanted = Wanted(made);
    const std::vector<std::string> got = client.holder.EventsFor(id, made.spec.prev_kv);
    bool created = false;
    bool ended = made.cancelled;
    for (const WatchDelivery& delivery : client.holder.got()) {
      if (delivery.id != id) continue;
      ASSERT_EQ(created, delivery.kind != WatchDelivery::Kind::kCreated);
      created = true;
      if (delivery.compacted != Revision()) ended = true;
    }
    ASSERT_TRUE(created);
    // One that was cancelled got a beginning of it.
    ASSERT_LE(got.size(), wanted.size());
    if (!ended) ASSERT_EQ(got.size(), wanted.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(WithoutPrevious(got[i]), WithoutPrevious(wanted[i]));
      if (got[i] != wanted[i]) ASSERT_EQ(got[i], WithoutPrevious(wanted[i]));
    }
  }

  static constexpr size_t kStepWatchers[] = {1, 3, engine::kStepRecords};

  const uint64_t seed_;
  WatchWorld world_;
  Prng prng_;
  std::list<Client> clients_;
  std::vector<Client*> unread_;
  int values_ = 0;
  int between_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Seeds, WatchRandomTest, testing::Range(1, 25));

TEST_P(WatchRandomTest, EachGetsItsChangesOnce) {
  for (int i = 0; i < 1200 && !HasFatalFailure(); ++i) Step();
  if (kStepWatchers[GetParam() / 3 % 3] == 1) EXPECT_GT(between_, 0);
  for (Client* client : unread_) client->holder.StartReading();
  world_.world().RunFor(Seconds(5));
  for (const Client& client : clients_) {
    for (const auto& [id, made] : client.made) {
      Check(client, id, made);
      ASSERT_FALSE(HasFatalFailure())
          << "seed " << seed_ << " id " << id << " key " << made.spec.key << " end "
          << made.spec.range_end << " start " << made.start.value();
    }
  }
}

}  // namespace
}  // namespace metastore::server
