#include "tests/sim/leaseholders.h"

#include <algorithm>
#include <utility>

namespace metastore::sim_test {
namespace {

constexpr int64_t kIdsOfHolder = 100;
constexpr uint64_t kIds = 4;  // that a holder chooses among: they come again soon
constexpr size_t kHeldMax = 5;
constexpr uint64_t kKeys = 4;  // of a holder
constexpr uint64_t kCallMinMs = 300;
constexpr uint64_t kCallMaxMs = 3000;
constexpr int64_t kLongSeconds = 10;
constexpr Duration kStopLimit = Seconds(60);
constexpr int64_t kRetryUs = 20'000;

Duration Share(Duration span, uint64_t per_cent) {
  return Nanoseconds(span.ns / 100 * static_cast<int64_t>(per_cent));
}

}  // namespace

Leaseholders::Leaseholders(ClusterHarness& cluster, Prng prng, LeaseholderOptions options)
    : cluster_(cluster),
      prng_(prng),
      options_(options),
      gate_(cluster.client().runtime().scheduler()) {}

Leaseholders::~Leaseholders() { Stop(); }

void Leaseholders::Start() {
  for (int i = 1; i <= options_.holders; ++i) {
    gate_.Spawn("leaseholder", io::ReadyClass::kClient, RunHolder(i));
  }
}

void Leaseholders::Stop() {
  on_ = false;
  CHECK(cluster_.world().RunUntil([&] { return gate_.running() == 0; }, kStopLimit));
}

io::Task<void> Leaseholders::RunHolder(int number) {
  Holder holder(LeaseClient(runtime(), AnyServer()));
  holder.number = number;
  while (on_) {
    if (calm_ && !holder.calm) {
      co_await BecomeCalm(holder);
    }
    std::vector<int64_t> due = Due(holder);
    if (!due.empty()) {
      co_await KeepAlive(holder, std::move(due));
    } else if (!calm_) {
      co_await AnyAction(holder);
    } else if (!holder.held.empty() && prng_.Chance(1, 10)) {
      co_await Look(holder, AnyHeld(holder));
    }
    MonoTime next = Now() + Microseconds(static_cast<int64_t>(prng_.Between(
                                100, static_cast<uint64_t>(options_.pause_max.ns / 1000))));
    for (const auto& [lease, held] : holder.held) next = std::min(next, held.next);
    co_await Sleep(std::max<int64_t>((next - Now()).ns / 1000, 100));
  }
  co_await holder.client.Reset();
}

io::Task<void> Leaseholders::AnyAction(Holder& holder) {
  const uint64_t draw = prng_.Below(20);
  if (draw < 5) {
    if (holder.held.size() < kHeldMax) co_await Grant(holder, AnyId(holder));
  } else if (draw < 9) {
    co_await Attach(holder, AnyHeld(holder));
  } else if (draw < 11) {
    co_await Look(holder, AnyHeld(holder));
  } else if (draw < 12) {
    co_await Revoke(holder, AnyHeld(holder));
  } else if (draw < 13) {
    const int64_t lease = AnyHeld(holder);
    gate_.Spawn("revoke", io::ReadyClass::kClient, RevokeBeside(lease));
    Drop(holder, lease);
    co_await Sleep(static_cast<int64_t>(prng_.Below(3000)));
    co_await Grant(holder, lease);
  } else if (draw < 14) {
    Drop(holder, AnyHeld(holder));
  } else if (draw < 16) {
    co_await KeepAlive(holder, std::vector<int64_t>(1, AnyId(holder)));
  }
}

// --- calls

io::Task<void> Leaseholders::Grant(Holder& holder, int64_t lease) {
  const uint64_t ttl_max = static_cast<uint64_t>(options_.ttl_seconds_max);
  co_await GrantFor(holder, lease, static_cast<int64_t>(prng_.Between(1, ttl_max)));
}

io::Task<void> Leaseholders::GrantFor(Holder& holder, int64_t lease, int64_t ttl) {
  const MonoTime sent = Now();
  StatusOr<int64_t> granted = co_await holder.client.Grant(lease, ttl, Deadline());
  if (granted.ok()) {
    const int64_t raised =
        std::max(ttl, ((cluster_.options().election * 3).ns / 2 + 999'999'999) / 1'000'000'000);
    Note(LeaseTold::Kind::kGranted, *granted, sent, raised);
    Hold(holder, *granted, raised);
  } else if (StdView(granted.status().message()).find("lease already exists") !=
             std::string::npos) {
    Note(LeaseTold::Kind::kThere, lease, sent);
  } else {
    co_await MoveOn(holder);
  }
}

io::Task<void> Leaseholders::KeepAlive(Holder& holder, std::vector<int64_t> leases) {
  const MonoTime sent = Now();
  StatusOr<std::vector<int64_t>> ttls = co_await holder.client.KeepAliveAll(leases, Deadline());
  if (!ttls.ok()) {
    co_await MoveOn(holder);
    co_return;
  }
  for (size_t i = 0; i < leases.size(); ++i) {
    const int64_t ttl = (*ttls)[i];
    Note(ttl == 0 ? LeaseTold::Kind::kGone : LeaseTold::Kind::kRenewed, leases[i], sent, ttl);
    const auto found = holder.held.find(leases[i]);
    if (found == holder.held.end()) continue;
    found->second.next = sent + found->second.every;
    if (ttl > 0) continue;
    holder.held.erase(found);
    if (!calm_ && prng_.Chance(1, 2)) co_await Grant(holder, leases[i]);
  }
}

io::Task<void> Leaseholders::Look(Holder& holder, int64_t lease) {
  const MonoTime sent = Now();
  StatusOr<LeaseTimes> times = co_await holder.client.TimeToLive(lease, Deadline());
  if (!times.ok()) {
    co_await MoveOn(holder);
    co_return;
  }
  Note(times->ttl < 0 ? LeaseTold::Kind::kGone : LeaseTold::Kind::kLooked, lease, sent, times->ttl);
}

// At times to none.
io::Task<void> Leaseholders::Attach(Holder& holder, int64_t lease) {
  if (prng_.Chance(1, 8)) lease = 0;
  const MonoTime sent = Now();
  const std::string value = Concat("lease value ", ++values_);
  cluster_.workload().history().Asked(value);
  const std::string key = Concat(kLeaseKeys, holder.number, "/", prng_.Below(kKeys));
  const MonoTime deadline = Deadline();
  Status put = co_await holder.client.Put(key, lease, deadline, value);
  if (put.ok()) {
    if (lease != 0) Note(LeaseTold::Kind::kThere, lease, sent);
  } else if (put.code() == StatusCode::kNotFound) {
    Note(LeaseTold::Kind::kGone, lease, sent);
  } else {
    co_await MoveOn(holder);
  }
}

io::Task<void> Leaseholders::Revoke(Holder& holder, int64_t lease) {
  const MonoTime sent = Now();
  Drop(holder, lease);
  Status revoked = co_await holder.client.Revoke(lease, Deadline());
  NoteRevoke(revoked, lease, sent);
  if (!revoked.ok()) co_await MoveOn(holder);
}

io::Task<void> Leaseholders::RevokeBeside(int64_t lease) {
  LeaseClient client(runtime(), AnyServer());
  const MonoTime sent = Now();
  Status revoked = co_await client.Revoke(lease, Deadline());
  NoteRevoke(revoked, lease, sent);
  co_await client.Reset();
}

void Leaseholders::NoteRevoke(const Status& status, int64_t lease, MonoTime sent) {
  if (status.ok() || status.code() == StatusCode::kNotFound) {
    Note(LeaseTold::Kind::kGone, lease, sent);
  } else {
    ++unanswered_;
  }
}

io::Task<void> Leaseholders::MoveOn(Holder& holder) {
  ++unanswered_;
  co_await holder.client.Reset();
  holder.client.MoveTo(AnyServer());
  co_await Sleep(kRetryUs);
}

// --- leases

// Kept alive at all kinds of intervals: often, just before the end, and too late.
void Leaseholders::Hold(Holder& holder, int64_t lease, int64_t ttl_seconds) {
  const Duration ttl = Seconds(ttl_seconds);
  Held& held = holder.held[lease];
  held.ttl_seconds = ttl_seconds;
  held.every = prng_.Chance(1, 4)
                   ? ttl + Microseconds(static_cast<int64_t>(prng_.Below(20'000)) - 8'000)
                   : Share(ttl, prng_.Between(15, 95));
  held.next = Now() + held.every;
  held.until = Now() + Share(ttl, prng_.Between(50, 500));
}

void Leaseholders::Drop(Holder& holder, int64_t lease) {
  if (holder.held.erase(lease) > 0) holder.last = lease;
}

io::Task<void> Leaseholders::BecomeCalm(Holder& holder) {
  holder.calm = true;
  co_await GrantFor(holder, 0, kLongSeconds);
  std::erase_if(holder.held, [&](const auto& one) {
    return one.second.ttl_seconds == kLongSeconds || prng_.Chance(1, 2);
  });
  for (auto& [lease, held] : holder.held) {
    held.every = Share(Seconds(held.ttl_seconds), prng_.Chance(1, 2) ? 25 : 80);
    held.next = Now();
    held.until = MonoTime::Max();
    kept_.insert(lease);
  }
  ++calm_holders_;
}

std::vector<int64_t> Leaseholders::Due(Holder& holder) {
  std::vector<int64_t> over;
  std::vector<int64_t> due;
  for (const auto& [lease, held] : holder.held) {
    if (held.until <= Now()) {
      over.push_back(lease);
    } else if (held.next <= Now()) {
      due.push_back(lease);
    }
  }
  for (const int64_t lease : over) Drop(holder, lease);
  return due;
}

void Leaseholders::Note(LeaseTold::Kind kind, int64_t lease, MonoTime sent, int64_t seconds) {
  told_.push_back(
      {.kind = kind, .lease = lease, .sent = sent, .answered = Now(), .seconds = seconds});
}

// Of its own; 0: the server chooses one.
int64_t Leaseholders::AnyId(const Holder& holder) {
  if (prng_.Chance(1, 10)) return 0;
  return holder.number * kIdsOfHolder + static_cast<int64_t>(prng_.Below(kIds));
}

// Or the one that was dropped last, or any of its ids where it has none.
int64_t Leaseholders::AnyHeld(const Holder& holder) {
  if (holder.last != 0 && prng_.Chance(1, 5)) return holder.last;
  if (holder.held.empty()) return holder.number * kIdsOfHolder;
  auto at = holder.held.begin();
  std::advance(at, prng_.Below(holder.held.size()));
  return at->first;
}

io::Address Leaseholders::AnyServer() {
  std::vector<io::Address> servers;
  for (const auto& member : cluster_.members()) {
    const bool serves = member->standing == Standing::kIn || member->standing == Standing::kLeaving;
    if (serves) servers.push_back({member->node.machine().ip(), 2379});
  }
  return servers[prng_.Below(servers.size())];
}

MonoTime Leaseholders::Deadline() {
  const uint64_t ms = prng_.Between(kCallMinMs, kCallMaxMs);
  return runtime().Now() + Milliseconds(static_cast<int64_t>(ms));
}

}  // namespace metastore::sim_test
