// engine_bench: what the state machine costs a put, by number of distinct keys, beside a std::map
// of strings.
//
//   engine_bench [puts]       default 2,000,000 of 256 bytes for each row
//
// Expected before measuring: an update of a random key among a million misses the cache in the
// index's bucket, the record and its newest version's value (freed by nobody): 2-3 misses of 80-100
// ns, and writes 350 fresh bytes, some 60 ns; so 250-400 ns where std::map needs 20 comparisons,
// 1-1.7 us. With one key all is in cache: about 100 ns. Batches of 256 go through Prefetch first,
// as the node pump does; --no-prefetch rows show what that is worth. One thread, no I/O. Figures:
// ns a put, median of three rounds.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
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

  double ReadRound(uint64_t seed) {
    Prng prng(seed);
    double spent = 0;
    std::vector<std::string> keys(kBatch);
    for (uint64_t done = 0; done < load_.puts; done += kBatch) {
      for (std::string& key : keys) key = KeyOf(prng.Below(load_.keys));
      const double begin = NanosecondsNow();
      CHECK(Await(ReadAll(keys)) == static_cast<int64_t>(kBatch));
      spent += NanosecondsNow() - begin;
    }
    return spent / static_cast<double>(load_.puts);
  }

 private:
  io::Task<int64_t> ReadAll(const std::vector<std::string>& keys) {
    int64_t found = 0;
    for (const std::string& key : keys) {
      RangeQuery query;
      query.range.key = key;
      const RangeResult result = co_await engine_->Range(query);
      found += result.count;
    }
    co_return found;
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

void Row(const char* name, Workload load) {
  std::vector<double> with;
  std::vector<double> without;
  std::vector<double> map;
  std::vector<double> read;
  for (uint64_t round = 0; round < 3; ++round) {
    load.prefetch = true;
    EngineRun run(load);
    with.push_back(run.Round(round));
    if (!load.fresh) read.push_back(run.ReadRound(round));
    load.prefetch = false;
    without.push_back(EngineRun(load).Round(round));
    map.push_back(MapRound(load, round));
  }
  const double ours = Median(with);
  std::printf("%-22s %8.0f %12.0f %12.0f %8.1fx", name, ours, Median(without), Median(map),
              Median(map) / ours);
  if (!read.empty()) std::printf(" %10.0f", Median(read));
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace
}  // namespace metastore::engine

int main(int argc, char** argv) {
  using metastore::engine::Row;
  const uint64_t puts = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2'000'000;
  std::printf("ns each, %llu puts of 256 bytes, median of 3\n",
              static_cast<unsigned long long>(puts));
  std::printf("%-22s %8s %12s %12s %9s %10s\n", "keys", "put", "no prefetch", "std::map", "ratio",
              "get");
  Row("update, 1 key", {.keys = 1, .puts = puts});
  Row("update, 100k keys", {.keys = 100'000, .puts = puts});
  Row("update, 1M keys", {.keys = 1'000'000, .puts = puts});
  Row("create, random order", {.keys = 0, .puts = puts / 2, .fresh = true});
  return 0;
}
