// engine_bench: what the state machine costs a put, by number of distinct keys, beside a std::map
// of strings.
//
//   engine_bench [puts]           default 2,000,000 of 256 bytes for each row
//   engine_bench steps [puts]     instead: how long the steps of long walks are
//
// Expected before measuring: an update of a random key among a million misses the cache in the
// index's bucket, the record and its newest version's value (freed by nobody): 2-3 misses of 80-100
// ns, and writes 350 fresh bytes, some 60 ns; so 250-400 ns where std::map needs 20 comparisons,
// 1-1.7 us. With one key all is in cache: about 100 ns. Batches of 256 go through Prefetch first,
// as the node pump does; --no-prefetch rows show what that is worth. One thread, no I/O. Figures:
// ns a put, median of three rounds.
//
// Reads of a random key: `get` awaits Range, `try` calls TryRange, `batch` calls PrefetchRanges for
// each 16 first. Expected: four misses one after the other (bucket, record, version, value), 400 to
// 700 ns; overlapped, 100 to 150 ns and two allocations.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/memory_engine.h"
#include "io/base/prng.h"
#include "io/gate.h"

namespace metastore::engine {
namespace {

constexpr size_t kBatch = 256;
constexpr size_t kValueBytes = 256;

// Of this thread's processor time, so that other work on the machine counts less.
double NanosecondsNow() {
  timespec now;
  CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// Half of it compresses well.
std::string HalfRandom(Prng& prng, size_t bytes) {
  std::string text(bytes, 'v');
  for (size_t i = 0; i < bytes / 2; ++i) text[i] = static_cast<char>(prng.Next());
  return text;
}

std::string KeyOf(uint64_t number) {
  char text[40];
  std::snprintf(text, sizeof text, "/registry/pods/%012llu",
                static_cast<unsigned long long>(number));
  return text;
}

template <typename T>
io::Task<void> Store(io::Task<T> task, std::optional<T>& result) {
  T value = co_await std::move(task);
  result.emplace(std::move(value));
}

template <typename T>
T Await(io::Task<T> task) {
  io::Scheduler scheduler;
  io::Gate gate(scheduler);
  std::optional<T> result;
  CHECK(gate.Spawn("bench", io::ReadyClass::kClient, Store(std::move(task), result)));
  while (!scheduler.idle()) scheduler.RunTurn();
  return *std::move(result);
}

struct Workload {
  uint64_t keys = 1;
  uint64_t puts = 0;
  bool prefetch = true;
  bool fresh = false;  // every put creates a key, in random order
};

class EngineRun {
 public:
  explicit EngineRun(const Workload& load)
      : load_(load), engine_(MakeMemoryEngine({.hash_seed = 1})) {
    if (load.fresh) return;
    for (uint64_t i = 0; i < load.keys; ++i) Apply(Encoded(i * 7919 % load.keys));
  }

  // ns a put.
  double Round(uint64_t seed) {
    Prng prng(seed);
    double spent = 0;
    std::vector<std::string> commands(kBatch);
    std::vector<Entry> batch(kBatch);
    for (uint64_t done = 0; done < load_.puts; done += kBatch) {
      for (size_t i = 0; i < kBatch; ++i) {
        commands[i] = Encoded(load_.fresh ? prng.Next() >> 24 : prng.Below(load_.keys));
        batch[i] = {.index = applied_ + 1 + i, .command = commands[i]};
      }
      const double begin = NanosecondsNow();
      if (load_.prefetch) CHECK(Await(engine_->Prefetch(batch)).ok());
      for (const Entry& entry : batch) engine_->Apply(entry);
      spent += NanosecondsNow() - begin;
      applied_ += kBatch;
    }
    return spent / static_cast<double>(load_.puts);
  }

  // ns a read, by `read`, which reads all the keys it gets and returns how many are there.
  template <typename Read>
  double ReadRound(uint64_t seed, const Read& read) {
    Prng prng(seed);
    double spent = 0;
    std::vector<std::string> keys(kBatch);
    for (uint64_t done = 0; done < load_.puts; done += kBatch) {
      for (std::string& key : keys) key = KeyOf(prng.Below(load_.keys));
      const double begin = NanosecondsNow();
      CHECK(read(keys) == static_cast<int64_t>(kBatch));
      spent += NanosecondsNow() - begin;
    }
    return spent / static_cast<double>(load_.puts);
  }
  double GetRound(uint64_t seed) {
    return ReadRound(seed, [this](const auto& keys) { return Await(GetAll(keys)); });
  }
  double TryRound(uint64_t seed, size_t prefetched) {
    return ReadRound(seed,
                     [this, prefetched](const auto& keys) { return TryAll(keys, prefetched); });
  }

 private:
  io::Task<int64_t> GetAll(const std::vector<std::string>& keys) {
    int64_t found = 0;
    for (const std::string& key : keys) {
      RangeQuery query;
      query.range.key = key;
      const RangeResult result = co_await engine_->Range(query);
      found += result.count;
    }
    co_return found;
  }
  // `prefetched` at a time; 0: none.
  int64_t TryAll(const std::vector<std::string>& keys, size_t prefetched) {
    std::vector<RangeQuery> queries(keys.size());
    std::vector<const RangeQuery*> pointers;
    for (size_t i = 0; i < keys.size(); ++i) {
      queries[i].range.key = keys[i];
      pointers.push_back(&queries[i]);
    }
    int64_t found = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (prefetched > 0 && i % prefetched == 0) {
        engine_->PrefetchRanges(std::span(pointers).subspan(i, prefetched));
      }
      RangeResult result;
      CHECK(engine_->TryRange(queries[i], result));
      found += result.count;
    }
    return found;
  }
  std::string Encoded(uint64_t number) const {
    const std::string key = KeyOf(number);
    PutOp put;
    put.key = key;
    put.value = value_;
    return EncodePut({}, put);
  }
  void Apply(const std::string& command) {
    engine_->Apply({.index = applied_ + 1, .command = command});
    ++applied_;
  }

  const Workload load_;
  const std::string value_ = std::string(kValueBytes, 'v');
  std::unique_ptr<Engine> engine_;
  LogIndex applied_;
};

// The least a std::map state machine does: decode, find or insert, assign. No versions, no history.
double MapRound(const Workload& load, uint64_t seed) {
  std::map<std::string, std::string> map;
  const std::string value(kValueBytes, 'v');
  for (uint64_t i = 0; !load.fresh && i < load.keys; ++i) map[KeyOf(i * 7919 % load.keys)] = value;
  Prng prng(seed);
  double spent = 0;
  std::vector<std::string> keys(kBatch);
  for (uint64_t done = 0; done < load.puts; done += kBatch) {
    for (std::string& key : keys)
      key = KeyOf(load.fresh ? prng.Next() >> 24 : prng.Below(load.keys));
    const double begin = NanosecondsNow();
    for (const std::string& key : keys) map.insert_or_assign(key, std::string(value));
    spent += NanosecondsNow() - begin;
  }
  return spent / static_cast<double>(load.puts);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Figures {
  std::vector<double> rounds[6];  // put, no prefetch, std::map, get, try, batch

  void Add(size_t column, double value) { rounds[column].push_back(value); }
  double operator[](size_t column) const { return Median(rounds[column]); }
};

void Row(const char* name, Workload load) {
  Figures figures;
  for (uint64_t round = 0; round < 3; ++round) {
    load.prefetch = true;
    EngineRun run(load);
    figures.Add(0, run.Round(round));
    if (!load.fresh) {
      figures.Add(3, run.GetRound(round));
      figures.Add(4, run.TryRound(round, 0));
      figures.Add(5, run.TryRound(round, 16));
    }
    load.prefetch = false;
    figures.Add(1, EngineRun(load).Round(round));
    figures.Add(2, MapRound(load, round));
  }
  std::printf("%-22s %8.0f %12.0f %10.0f %8.1fx", name, figures[0], figures[1], figures[2],
              figures[2] / figures[0]);
  if (!load.fresh) std::printf(" %8.0f %8.0f %8.0f", figures[3], figures[4], figures[5]);
  std::printf("\n");
  std::fflush(stdout);
}

// --- steps -----------------------------------------------------------------------------------

// The processor time of this thread: a step that was preempted is not a long one.
class ThreadClock final : public io::TimerService {
 public:
  MonoTime Now() const override { return MonoTime{static_cast<int64_t>(NanosecondsNow())}; }
  void Arm(io::Timer& /*timer*/, MonoTime /*when*/) override { CHECK_UNREACHABLE(); }
  void Cancel(io::Timer& /*timer*/) override { CHECK_UNREACHABLE(); }
};

// Runs `task` in the background, alone, and prints how long its turns were: up to four steps each.
// `beside` runs with it.
void PrintTurns(const char* name, uint64_t records, io::Task<void> task, io::Task<void> beside) {
  io::Scheduler scheduler;
  io::Gate gate(scheduler);
  CHECK(gate.Spawn("bench", io::ReadyClass::kBackground, std::move(task)));
  CHECK(gate.Spawn("bench", io::ReadyClass::kBackground, std::move(beside)));
  std::vector<double> turns;
  double total = 0;
  while (!scheduler.idle()) {
    const double begin = NanosecondsNow();
    scheduler.RunTurn();
    turns.push_back(NanosecondsNow() - begin);
    total += turns.back();
  }
  std::sort(turns.begin(), turns.end());
  const auto at = [&turns](double share) {
    return turns[static_cast<size_t>(share * static_cast<double>(turns.size() - 1))] / 1e3;
  };
  std::printf("%-12s %8zu %9.0f %9.0f %9.0f %10.0f %12.0f\n", name, turns.size(), at(0.5), at(0.99),
              at(1.0), total / 1e6, total / static_cast<double>(records));
}

io::Task<void> Nothing() { co_return; }

io::Task<void> ReadSnapshot(Engine& engine, std::string& stream) {
  const std::unique_ptr<SnapshotSource> source = engine.StartSnapshot({.term = Term(1)});
  while (true) {
    StatusOr<std::string> bytes = co_await source->Next();
    CHECK(bytes.ok());
    if (bytes->empty()) co_return;
    stream += *bytes;
  }
}

io::Task<void> Restore(Engine& engine, const std::string& stream) {
  const std::unique_ptr<SnapshotSink> sink = engine.StartRestore();
  constexpr size_t kPieceBytes = size_t{1} << 20;
  for (size_t at = 0; at < stream.size(); at += kPieceBytes) {
    Status added = co_await sink->Add(std::string_view(stream).substr(at, kPieceBytes));
    CHECK(added.ok());
  }
  StatusOr<SnapshotMeta> meta = co_await sink->Finish();
  CHECK(meta.ok());
}

io::Task<void> Hash(Engine& engine) {
  HashResult hash = co_await engine.HashKv(Revision(0));
  CHECK(hash.outcome == Outcome::kOk);
}

io::Task<void> Digest(Engine& engine) {
  const std::unique_ptr<DigestSource> source = engine.StartDigest();
  StatusOr<StateDigest> digest = co_await source->Take({});
  CHECK(digest.ok());
}

// Stops what removes once all is removed.
io::Task<void> StopWhenRemoved(Engine& engine, io::StopSource& stop) {
  io::WaitResult result = co_await engine.WaitRemoved(engine.stats().compacted, {});
  CHECK(result == io::WaitResult::kNotified);
  stop.RequestStop();
}

void Steps(uint64_t puts) {
  const ThreadClock clock;
  const auto engine = MakeMemoryEngine({.hash_seed = 1, .clock = &clock});
  Prng prng(1);
  LogIndex index;
  for (uint64_t i = 0; i < puts; ++i) {
    const std::string key = KeyOf(prng.Below(100'000));
    const std::string value = HalfRandom(prng, kValueBytes);
    PutOp put;
    put.key = key;
    put.value = value;
    ++index;
    engine->Apply({.index = index, .command = EncodePut({}, put)});
  }
  std::printf("%llu versions of 256 bytes, 100,000 keys; us of processor time a turn (4 steps)\n",
              static_cast<unsigned long long>(puts));
  std::printf("%-12s %8s %9s %9s %9s %10s %12s\n", "walk", "turns", "median", "p99", "most",
              "total ms", "ns a version");
  std::string stream;
  stream.reserve(2 * puts * kValueBytes);  // growing is no part of a step
  PrintTurns("snapshot", puts, ReadSnapshot(*engine, stream), Nothing());
  PrintTurns("hash", puts, Hash(*engine), Nothing());
  PrintTurns("digest", puts, Digest(*engine), Nothing());
  PrintTurns("restore", puts, Restore(*engine, stream), Nothing());
  ++index;
  CompactOp compact{.revision = engine->stats().revision};
  engine->Apply({.index = index, .command = EncodeCommand({.header = {}, .op = compact})});
  io::StopSource stop;
  // Frees the state that the restore replaced, too.
  PrintTurns("removal", 2 * puts, engine->RunMaintenance(stop.token()),
             StopWhenRemoved(*engine, stop));
  PrintTurns("close", 100'000, engine->Close(), Nothing());
}

}  // namespace
}  // namespace metastore::engine

int main(int argc, char** argv) {
  using metastore::engine::Row;
  const bool steps = argc > 1 && std::string_view(argv[1]) == "steps";
  const int number = steps ? 2 : 1;
  const uint64_t puts = argc > number ? std::strtoull(argv[number], nullptr, 10) : 2'000'000;
  if (steps) {
    metastore::engine::Steps(puts);
    return 0;
  }
  std::printf("ns each, %llu puts of 256 bytes, median of 3\n",
              static_cast<unsigned long long>(puts));
  std::printf("%-22s %8s %12s %10s %9s %8s %8s %8s\n", "keys", "put", "no prefetch", "std::map",
              "ratio", "get", "try", "batch");
  Row("update, 1 key", {.keys = 1, .puts = puts});
  Row("update, 100k keys", {.keys = 100'000, .puts = puts});
  Row("update, 1M keys", {.keys = 1'000'000, .puts = puts});
  Row("create, random order", {.keys = 0, .puts = puts / 2, .fresh = true});
  return 0;
}
