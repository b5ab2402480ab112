// Aim: whatever the network and the processes do, what a member hears was sent to it, once, and in
// the order of its class; and once faults stop every link comes up. Method: three simulated members
// (peer_harness.h), all linked, under random faults, from 100 seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "net/peer_link.h"
#include "tests/net/peer_harness.h"

namespace metastore::net_test {
namespace {

using net::PeerUrgency;

// Three members, all linked, sending numbered messages while wires are cut and healed, connections
// reset, processes killed, machines powered off, readers stalled.
class RandomRun final {
 public:
  explicit RandomRun(uint64_t seed) : world_(seed, Options(seed)) {
    for (uint64_t id = 1; id <= 3; ++id) {
      members_.push_back(
          std::make_unique<PeerMember>(world_, std::string(1, 'a' + char(id) - 1), id));
    }
    for (auto& member : members_) Boot(*member);
  }

  void Run() {
    for (int step = 0; step < 400; ++step) {
      Fault();
      for (uint64_t i = world_.prng().Below(6); i > 0; --i) SendSome();
      world_.RunFor(Milliseconds(static_cast<int64_t>(world_.prng().Below(200))));
      Check();
    }
    Recover();
  }

  size_t heard_total() const { return heard_total_; }
  size_t downs_total() const { return downs_total_; }

 private:
  struct Key {
    uint64_t from;
    uint64_t to;
    int urgency;
    auto operator<=>(const Key&) const = default;
  };

  static sim::SimOptions Options(uint64_t seed) {
    sim::SimOptions options;
    options.network.loss_per_million = seed % 2 == 0 ? 0 : 20'000;
    options.network.window_bytes = seed % 3 == 0 ? 4096 : 256 * 1024;
    return options;
  }

  PeerMember& Any() { return *members_[static_cast<size_t>(world_.prng().Below(3))]; }
  bool Running(PeerMember& member) { return member.machine().running(); }

  void Boot(PeerMember& member) {
    member.Boot(net::PeerStreamOptions{.silence_max = Seconds(5)});
    member.reading = true;
    for (auto& other : members_) {
      if (other.get() == &member) continue;
      net::PeerLinkOptions options = member.OptionsTo(*other);
      options.stream.compression = static_cast<net::PeerCompression>(world_.prng().Below(3));
      options.queue_bytes_max = 256 * limits::kKiB;
      member.Dial(options);
    }
  }

  void Fault() {
    PeerMember& member = Any();
    PeerMember& other = Any();
    sim::SimNetwork& network = world_.network();
    switch (world_.prng().Below(30)) {
      case 0:
        if (Running(member)) member.Kill();
        break;
      case 1:
        if (Running(member)) member.PowerLoss();
        break;
      case 2:
        if (Running(member)) member.Halt();
        break;
      case 3:
        network.CutOneWay(member.machine(), other.machine());
        break;
      case 4:
        network.Isolate(member.machine());
        break;
      case 5:
      case 6:
        network.HealAll();
        break;
      case 7:
        network.ResetConnections(member.machine(), other.machine());
        break;
      case 8:
        member.reading = false;
        break;
      case 9:
        member.reading = true;
        break;
      default:
        if (!Running(member)) Boot(member);
    }
  }

  void SendSome() {
    PeerMember& member = Any();
    if (!Running(member)) return;
    net::PeerLink& link = member.link(static_cast<size_t>(world_.prng().Below(2)));
    const auto urgency = static_cast<PeerUrgency>(world_.prng().Below(2));
    const Key key{member.id().value(), link.peer().value(), static_cast<int>(urgency)};
    const uint64_t number = ++numbers_[key];
    const auto padding = static_cast<size_t>(world_.prng().Below(20'000));
    const bool taken = SendText(link, urgency,
                                Concat(key.to, " ", key.urgency, " ", number, " ",
                                       std::string(padding, static_cast<char>('a' + number % 26))));
    if (taken) sent_[key].insert({number, padding});
  }

  // Everything heard was sent, once, and comes in the order of its class.
  void Check() {
    for (auto& member : members_) {
      for (const PeerHeard& heard : member->heard) CheckOne(*member, heard);
      heard_total_ += member->heard.size();
      member->heard.clear();
      ASSERT_LE(member->ups, member->downs.size() + 2) << world_.seed();
      downs_total_ += member->downs.size();
      member->ups -= std::min(member->ups, member->downs.size());
      member->downs.clear();
    }
  }

  void CheckOne(const PeerMember& member, const PeerHeard& heard) {
    unsigned long to = 0;
    unsigned long number = 0;
    int urgency = 0;
    int at = 0;
    ASSERT_EQ(std::sscanf(heard.message.c_str(), "%lu %d %lu %n", &to, &urgency, &number, &at), 3);
    ASSERT_EQ(to, member.id().value()) << world_.seed();
    const Key key{heard.from.value(), to, urgency};
    const std::string_view padding =
        std::string_view(heard.message).substr(static_cast<size_t>(at));
    ASSERT_TRUE(sent_[key].contains({number, padding.size()})) << world_.seed();
    ASSERT_EQ(padding.find_first_not_of(static_cast<char>('a' + number % 26)), padding.npos);
    ASSERT_GT(number, last_[key]) << "seed " << world_.seed() << " at " << heard.from.value()
                                  << " -> " << to << " class " << urgency;
    last_[key] = number;
  }

  // Once faults stop every link comes up, and what is sent then arrives.
  void Recover() {
    world_.network().HealAll();
    for (auto& member : members_) {
      member->reading = true;
      if (!Running(*member)) Boot(*member);
    }
    const bool up = world_.RunUntil(
        [&] {
          for (auto& member : members_) {
            if (!member->link(0).up() || !member->link(1).up()) return false;
          }
          return true;
        },
        Seconds(40));
    ASSERT_TRUE(up) << world_.seed() << world_.PrintLogs();
    Check();
    world_.RunFor(Seconds(20));
    Check();
    for (auto& member : members_) {
      ASSERT_TRUE(SendText(member->link(0), PeerUrgency::kBulk,
                           Concat(member->link(0).peer().value(), " 1 999999999 ")));
      sent_[{member->id().value(), member->link(0).peer().value(), 1}].insert({999'999'999, 0});
    }
    world_.RunFor(Seconds(2));
    size_t arrived = 0;
    for (auto& member : members_) arrived += member->heard.size();
    EXPECT_EQ(arrived, 3u) << world_.seed();
    Check();
  }

  sim::SimWorld world_;
  std::vector<std::unique_ptr<PeerMember>> members_;
  std::map<Key, uint64_t> numbers_;
  std::map<Key, std::set<std::pair<uint64_t, size_t>>> sent_;
  std::map<Key, uint64_t> last_;
  size_t heard_total_ = 0;
  size_t downs_total_ = 0;
};

TEST(PeerLinkRandomTest, WhatArrivesWasSentOnceAndInOrder) {
  size_t heard = 0;
  size_t downs = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    RandomRun run(seed);
    run.Run();
    heard += run.heard_total();
    downs += run.downs_total();
    if (testing::Test::HasFatalFailure()) break;
  }
  EXPECT_GT(heard, 10'000u);
  EXPECT_GT(downs, 2'000u);
}

}  // namespace
}  // namespace metastore::net_test
