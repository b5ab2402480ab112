// Watchers: clients on a machine of their own, each with a stream of a few watchers, which write
// down what they are told (watch_check.h).
//
// A stream lasts for a while, or until the server ends it; then its watchers go on at any member,
// from what they were told, or begin anew somewhere. Once Calm, each stream that begins then stays.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "io/gate.h"
#include "tests/sim/cluster_harness.h"
#include "tests/sim/watch_check.h"
#include "tests/sim/watch_client.h"

namespace metastore::sim_test {

class Watchers final {
 public:
  // A stream lasts no longer, but for those that stay.
  static constexpr Duration kStreamMax = Milliseconds(3000);

  // The cluster's client machine runs them; both outlive it.
  Watchers(ClusterHarness& cluster, Prng prng, int keys);
  // Stops.
  ~Watchers();

  void Start(int streams);
  void Calm() { calm_ = true; }
  // Runs the world until the last has gone.
  void Stop();

  const std::deque<WatchLife>& lives() const { return lives_; }
  // Streams that do not go on at the end, and answers that no server may give.
  const std::vector<std::string>& problems() const { return problems_; }
  uint64_t holds() const { return holds_; }

 private:
  using Wish = etcdserverpb::WatchCreateRequest;
  struct Stream {
    explicit Stream(WatchClient watch) : client(std::move(watch)) {}

    WatchClient client;
    std::string name;
    std::vector<Wish> wishes;
    bool stays = false;
    MonoTime until;
    // Of the present stream.
    std::deque<WatchLife*> asked;
    std::map<int64_t, WatchLife*> open;  // by id
    std::map<int64_t, std::vector<mvccpb::Event>> parts;
  };

  io::Task<void> RunStream(int number);
  io::Task<void> Follow(Stream& stream);
  io::Task<void> Disturb(Stream& stream);
  bool Take(Stream& stream, const etcdserverpb::WatchResponse& response);
  bool TakeCreated(Stream& stream, const etcdserverpb::WatchResponse& response);
  void TakeCanceled(Stream& stream, WatchLife& life, const etcdserverpb::WatchResponse& response);
  void TakeProgress(Stream& stream, const etcdserverpb::WatchResponse& response);
  void Begin(Stream& stream, const Wish& wish);
  void EndLives(Stream& stream);
  Wish AnyWish();
  int64_t AnyStart();
  io::Address AnyServer();
  bool Problem(const Stream& stream, std::string_view what,
               const etcdserverpb::WatchResponse& response);
  io::Runtime& runtime() { return cluster_.client().runtime(); }
  io::SignalWait Sleep(int64_t ms) {
    return io::SleepUntil(runtime(), runtime().Now() + Milliseconds(ms));
  }

  ClusterHarness& cluster_;
  Prng prng_;
  const int keys_;
  std::deque<WatchLife> lives_;
  std::vector<std::string> problems_;
  uint64_t holds_ = 0;
  bool on_ = true;
  bool calm_ = false;
  io::Gate gate_;
};

}  // namespace metastore::sim_test
