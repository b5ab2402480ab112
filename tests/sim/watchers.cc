#include "tests/sim/watchers.h"

#include <algorithm>
#include <utility>

namespace metastore::sim_test {
namespace {

constexpr uint32_t kWindow = 64 * limits::kKiB;
constexpr Duration kConnectLimit = Milliseconds(500);
constexpr Duration kPatience = Milliseconds(100);
constexpr Duration kAfterHold = Milliseconds(300);  // to catch up
constexpr Duration kStopLimit = Seconds(60);
constexpr uint64_t kWishesMax = 3;  // of a stream

}  // namespace

Watchers::Watchers(ClusterHarness& cluster, Prng prng, int keys)
    : cluster_(cluster), prng_(prng), keys_(keys), gate_(cluster.client().runtime().scheduler()) {}

Watchers::~Watchers() { Stop(); }

void Watchers::Start(int streams) {
  for (int i = 0; i < streams; ++i) {
    gate_.Spawn("watcher", io::ReadyClass::kClient, RunStream(i));
  }
}

void Watchers::Stop() {
  on_ = false;
  CHECK(cluster_.world().RunUntil([&] { return gate_.running() == 0; }, kStopLimit));
}

io::Task<void> Watchers::RunStream(int number) {
  Stream stream(WatchClient(runtime(), AnyServer(), kWindow));
  stream.name = Concat("watcher ", number);
  for (uint64_t i = prng_.Between(1, kWishesMax); i > 0; --i) stream.wishes.push_back(AnyWish());
  while (on_) {
    Status opened = co_await stream.client.Open(AnyServer(), runtime().Now() + kConnectLimit);
    if (!opened.ok()) {
      co_await Sleep(20);
      continue;
    }
    for (const Wish& wish : stream.wishes) Begin(stream, wish);
    stream.wishes.clear();
    co_await Follow(stream);
    EndLives(stream);
  }
  co_await stream.client.Reset();
}

void Watchers::Begin(Stream& stream, const Wish& wish) {
  WatchLife& life = lives_.emplace_back();
  life.wish = wish;
  life.name = Concat(stream.name, ", ", lives_.size());
  stream.asked.push_back(&life);
  stream.client.Create(wish);
}

// Until its time is over, or the server's answers are.
io::Task<void> Watchers::Follow(Stream& stream) {
  const auto span = static_cast<int64_t>(prng_.Below(1500));
  stream.until = runtime().Now() + Milliseconds(span);
  stream.stays = calm_;
  while (on_ && (stream.stays || runtime().Now() < stream.until)) {
    if (!calm_) {
      co_await Disturb(stream);
    }
    StatusOr<etcdserverpb::WatchResponse> next =
        co_await stream.client.Next(runtime().Now() + kPatience);
    if (!next.ok() && next.status().code() == StatusCode::kDeadlineExceeded) continue;
    if (!next.ok() || !Take(stream, *next)) co_return;
  }
}

io::Task<void> Watchers::Disturb(Stream& stream) {
  if (prng_.Chance(1, 60)) {
    ++holds_;
    stream.client.Hold();
    co_await Sleep(static_cast<int64_t>(prng_.Between(50, 1000)));
    stream.client.Release();
    stream.until = std::max(stream.until, runtime().Now() + kAfterHold);
  }
  if (prng_.Chance(1, 30)) stream.client.AskProgress();
  if (prng_.Chance(1, 60)) {
    stream.client.Cancel(stream.open.empty() ? 7 : stream.open.begin()->first);
  }
}

// What becomes of its watchers: each goes on in the next stream.
void Watchers::EndLives(Stream& stream) {
  for (auto& [id, life] : stream.open) {
    life->whole = stream.stays && !on_;
    Wish wish = life->wish;
    wish.set_start_revision(prng_.Chance(1, 3) ? AnyStart() : life->next());
    stream.wishes.push_back(std::move(wish));
  }
  for (const WatchLife* life : stream.asked) stream.wishes.push_back(life->wish);
  if (!on_ && (!stream.stays || !stream.asked.empty() || stream.open.empty())) {
    problems_.push_back(stream.name + " is not there to the end");
  }
  stream.open.clear();
  stream.asked.clear();
  stream.parts.clear();
}

// --- answers

bool Watchers::Problem(const Stream& stream, std::string_view what,
                       const etcdserverpb::WatchResponse& response) {
  problems_.push_back(Concat(stream.name, ": ", what, ": ", response.ShortDebugString()));
  return false;
}

// False: no server may answer so.
bool Watchers::Take(Stream& stream, const etcdserverpb::WatchResponse& response) {
  if (response.created()) return TakeCreated(stream, response);
  const int64_t id = response.watch_id();
  if (id == -1) {
    TakeProgress(stream, response);
    return true;
  }
  const auto found = stream.open.find(id);
  if (found == stream.open.end()) return Problem(stream, "no such watcher", response);
  WatchLife& life = *found->second;
  if (response.canceled()) {
    TakeCanceled(stream, life, response);
    return true;
  }
  std::vector<mvccpb::Event>& events = stream.parts[id];
  events.insert(events.end(), response.events().begin(), response.events().end());
  if (response.fragment()) return true;
  const auto kind = events.empty() ? Told::Kind::kProgress : Told::Kind::kEvents;
  life.told.push_back({kind, response.header().revision(), std::exchange(events, {})});
  return true;
}

bool Watchers::TakeCreated(Stream& stream, const etcdserverpb::WatchResponse& response) {
  if (stream.asked.empty() || response.canceled()) return Problem(stream, "created", response);
  WatchLife& life = *stream.asked.front();
  stream.asked.pop_front();
  const int64_t wanted = life.wish.start_revision();
  life.start = wanted == 0 ? response.header().revision() + 1 : wanted;
  const bool fresh = stream.open.emplace(response.watch_id(), &life).second;
  return fresh || Problem(stream, "an id in use", response);
}

void Watchers::TakeCanceled(Stream& stream, WatchLife& life,
                            const etcdserverpb::WatchResponse& response) {
  if (response.compact_revision() > 0) {
    life.told.push_back({Told::Kind::kCompacted, response.compact_revision(), {}});
  }
  stream.open.erase(response.watch_id());
  Wish wish = life.wish;
  wish.set_start_revision(life.next());
  Begin(stream, wish);
}

void Watchers::TakeProgress(Stream& stream, const etcdserverpb::WatchResponse& response) {
  for (auto& [id, life] : stream.open) {
    life->told.push_back({Told::Kind::kProgress, response.header().revision(), {}});
  }
}

// --- choices

Watchers::Wish Watchers::AnyWish() {
  Wish wish;
  switch (prng_.Below(4)) {
    case 0:
      wish.set_key(Concat("key", prng_.Below(static_cast<uint64_t>(keys_))));
      break;
    case 1:
      wish.set_key("key1");
      wish.set_range_end("key2");
      break;
    case 2:
      wish.set_key("key3");
      wish.set_range_end(std::string(1, '\0'));
      break;
    default:
      wish.set_key(std::string(1, '\0'));
      wish.set_range_end(std::string(1, '\0'));
  }
  wish.set_start_revision(AnyStart());
  wish.set_prev_kv(prng_.Chance(1, 2));
  wish.set_progress_notify(prng_.Chance(1, 2));
  wish.set_fragment(prng_.Chance(1, 4));
  if (prng_.Chance(1, 8)) wish.add_filters(Wish::NOPUT);
  if (prng_.Chance(1, 8)) wish.add_filters(Wish::NODELETE);
  return wish;
}

// Now, in history, or in the future.
int64_t Watchers::AnyStart() {
  const auto known = static_cast<uint64_t>(cluster_.known_revision());
  if (prng_.Chance(1, 3)) return 0;
  return static_cast<int64_t>(prng_.Between(1, known + 30));
}

io::Address Watchers::AnyServer() {
  auto& members = cluster_.members();
  return {members[prng_.Below(members.size())]->node.machine().ip(), 2379};
}

}  // namespace metastore::sim_test
