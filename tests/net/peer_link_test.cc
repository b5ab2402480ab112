// Aim: a link between two members under everything a network and a peer do to it: it comes up, says
// when it goes down and why, exactly once, keeps the order of each class, repeats nothing, bounds
// what waits, and stops at any moment. Method: simulated machines (peer_harness.h).
#include "net/peer_link.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/net/peer_harness.h"

namespace metastore::net_test {
namespace {

using net::PeerLink;
using net::PeerOutbox;
using net::PeerUrgency;

bool Contains(const Status& status, std::string_view part) {
  return status.ToString().find(part) != std::string::npos;
}

TEST(PeerLinkTest, MessagesArriveInOrder) {
  PeerPair pair;
  PeerLink& link = pair.Join();
  EXPECT_FALSE(SendText(link, PeerUrgency::kBulk, "too early"));
  ASSERT_TRUE(pair.UntilUp());
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, std::to_string(i)));
  }
  ASSERT_TRUE(pair.Until([&] { return pair.b.heard.size() == 1000; }));
  for (size_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(pair.b.heard[i].message, std::to_string(i));
    EXPECT_EQ(pair.b.heard[i].from, NodeId(1));
  }
  EXPECT_LE(pair.b.frames, 3u);  // what waits together goes together
  EXPECT_EQ(link.stats().sent_total, 1000u);
  EXPECT_EQ(link.stats().dropped_total, 1u);
  EXPECT_EQ(link.stats().connects_total, 1u);
  EXPECT_EQ(link.stats().failures_total, 0u);
  EXPECT_EQ(link.stats().queued_bytes, 0u);
  EXPECT_EQ(pair.a.ups, 1u);
  EXPECT_TRUE(pair.a.downs.empty());
}

// --- ups and downs -------------------------------------------------------------------------------

TEST(PeerLinkTest, NobodyListeningIsTriedAgainAndAgain) {
  PeerPair pair;
  pair.a.Boot();
  pair.b.Boot();
  pair.b.Halt();
  const PeerLink& link = pair.a.Dial(pair.b);
  pair.world.RunFor(Seconds(60));
  // Pauses of 25..50 ms, doubling to 500..1,000 ms.
  EXPECT_GT(pair.a.downs.size(), 60u);
  EXPECT_LT(pair.a.downs.size(), 130u);
  EXPECT_EQ(link.stats().failures_total, pair.a.downs.size());
  EXPECT_EQ(link.stats().last_error.code(), StatusCode::kUnavailable);
  EXPECT_FALSE(link.up());
  pair.b.Boot();
  ASSERT_TRUE(pair.Until([&] { return link.up(); }, Milliseconds(1100)));
}

TEST(PeerLinkTest, UnknownHostIsAFailedAttempt) {
  PeerPair pair;
  pair.a.Boot();
  net::PeerLinkOptions options = pair.a.OptionsTo(pair.b);
  options.endpoints[0].host = "nowhere";
  pair.a.Dial(options);
  ASSERT_TRUE(pair.Until([&] { return pair.a.downs.size() == 3; }));
  EXPECT_EQ(pair.a.downs[0].code(), StatusCode::kNotFound);
}

TEST(PeerLinkTest, NoAddressesAreAFailedAttempt) {
  PeerPair pair;
  pair.a.Boot();
  pair.b.Boot();
  net::PeerLinkOptions options = pair.a.OptionsTo(pair.b);
  options.endpoints.clear();
  PeerLink& link = pair.a.Dial(options);
  ASSERT_TRUE(pair.Until([&] { return pair.a.downs.size() == 3; }));
  EXPECT_EQ(pair.a.downs[0].code(), StatusCode::kFailedPrecondition);
  link.SetEndpoints(pair.a.OptionsTo(pair.b).endpoints);
  EXPECT_TRUE(pair.Until([&] { return link.up(); }, Milliseconds(5)));  // no pause
}

TEST(PeerLinkTest, EndpointsAreTriedInTurn) {
  PeerPair pair;
  pair.a.Boot();
  pair.b.Boot();
  net::PeerLinkOptions options = pair.a.OptionsTo(pair.b);
  options.endpoints.insert(options.endpoints.begin(), {{"a", 1}, {"a", 2}});
  const PeerLink& link = pair.a.Dial(options);
  ASSERT_TRUE(pair.Until([&] { return link.up(); }));
  EXPECT_EQ(pair.a.downs.size(), 2u);
  // The one that answered is the first to be tried again.
  pair.world.network().ResetConnections(pair.a.machine(), pair.b.machine());
  ASSERT_TRUE(pair.Until([&] { return pair.a.ups == 2; }));
  EXPECT_EQ(pair.a.downs.size(), 3u);
}

TEST(PeerLinkTest, ProcessThatDiesIsSeenAtOnce) {
  PeerPair pair;
  const PeerLink& link = pair.Join();
  ASSERT_TRUE(pair.UntilUp());
  pair.b.Kill();
  ASSERT_TRUE(pair.Until([&] { return !pair.a.downs.empty(); }, Milliseconds(5)));
  EXPECT_EQ(pair.a.downs.size(), 1u);
  EXPECT_EQ(pair.a.downs[0].code(), StatusCode::kUnavailable);
  EXPECT_TRUE(Contains(pair.a.downs[0], "10.0.0.2:2380")) << pair.a.downs[0];
  EXPECT_FALSE(link.up());
  pair.b.Boot();
  ASSERT_TRUE(pair.UntilUp());
  EXPECT_EQ(pair.a.ups, 2u);
  EXPECT_EQ(link.stats().failures_total, pair.a.downs.size());
}

TEST(PeerLinkTest, PeerThatHangsUpIsNotDialledInALoop) {
  PeerPair pair;
  pair.b.hangs_up = true;
  pair.Join();
  pair.world.RunFor(Seconds(60));
  EXPECT_GT(pair.a.ups, 30u);
  EXPECT_LT(pair.a.ups, 130u);
  EXPECT_LE(pair.a.ups - pair.a.downs.size(), 1u);
}

TEST(PeerLinkTest, ConnectionThatLastedIsReplacedQuickly) {
  PeerPair pair;
  pair.Join();
  ASSERT_TRUE(pair.UntilUp());
  for (size_t i = 0; i < 10; ++i) {
    pair.world.RunFor(Seconds(2));
    pair.world.network().ResetConnections(pair.a.machine(), pair.b.machine());
    ASSERT_TRUE(pair.Until([&] { return pair.a.ups == i + 2; }, Milliseconds(60)));
  }
}

TEST(PeerLinkTest, IdleLinkStaysUp) {
  PeerPair pair;
  PeerLink& link = pair.Join();
  ASSERT_TRUE(pair.UntilUp());
  pair.world.RunFor(Seconds(3600));
  EXPECT_TRUE(link.up());
  EXPECT_TRUE(pair.a.downs.empty());
  EXPECT_TRUE(pair.b.heard.empty());
  ASSERT_TRUE(SendText(link, PeerUrgency::kUrgent, "still here"));
  EXPECT_TRUE(pair.Until([&] { return pair.b.heard.size() == 1; }, Milliseconds(5)));
}

// The system goes on taking bytes for a peer that is gone: only its silence tells.
TEST(PeerLinkTest, SilentPowerLossIsSeen) {
  sim::SimOptions options;
  options.network.silent_power_loss_per_cent = 100;
  options.network.give_up = Seconds(900);
  for (const bool busy : {false, true}) {
    PeerPair pair(1, options);
    PeerLink& link = pair.Join();
    ASSERT_TRUE(pair.UntilUp());
    pair.b.PowerLoss();
    const MonoTime lost = pair.world.Now();
    while (link.up() && pair.world.Now() < lost + Seconds(20)) {
      pair.world.RunFor(Milliseconds(100));
      if (busy) SendText(link, PeerUrgency::kUrgent, "heartbeat");
    }
    EXPECT_FALSE(link.up());
    EXPECT_LT((pair.world.Now() - lost).ms(), 7'000);
    ASSERT_TRUE(pair.Until([&] { return !pair.a.downs.empty(); }, Milliseconds(5)));
    EXPECT_TRUE(Contains(pair.a.downs[0], "nothing heard for 5000 ms")) << pair.a.downs[0];
    pair.b.Boot();
    EXPECT_TRUE(pair.UntilUp());
  }
}

TEST(PeerLinkTest, CutWiresAreSeenEitherWay) {
  sim::SimOptions options;
  options.network.give_up = Seconds(900);
  for (const int way : {0, 1, 2}) {
    PeerPair pair(1, options);
    pair.Join();
    ASSERT_TRUE(pair.UntilUp());
    sim::SimNetwork& network = pair.world.network();
    if (way != 1) network.CutOneWay(pair.a.machine(), pair.b.machine());
    if (way != 0) network.CutOneWay(pair.b.machine(), pair.a.machine());
    ASSERT_TRUE(pair.Until([&] { return !pair.a.downs.empty(); }, Seconds(7)));
    EXPECT_FALSE(pair.a.link().up());
    EXPECT_TRUE(Contains(pair.a.downs[0], "nothing heard")) << pair.a.downs[0];
    network.HealAll();
    ASSERT_TRUE(pair.UntilUp());
    // The peer is left with one stream, however many it was dialled by.
    pair.world.RunFor(Seconds(20));
    EXPECT_EQ(pair.b.serving, 1u);
    EXPECT_EQ(pair.b.server().stats().streams, 1u);
  }
}

TEST(PeerLinkTest, PeerThatNeverReadsIsGivenUp) {
  for (const bool busy : {false, true}) {
    PeerPair pair;
    PeerLink& link = pair.Join();
    ASSERT_TRUE(pair.UntilUp());
    pair.b.reading = false;
    ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, "the last it takes"));
    pair.world.RunFor(Seconds(1));
    const MonoTime begin = pair.world.Now();
    if (busy) ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, std::string(limits::kMiB, 'x')));
    ASSERT_TRUE(pair.Until([&] { return !pair.a.downs.empty(); }, Seconds(20)));
    EXPECT_LE((pair.world.Now() - begin).ms(), 6'500);
    EXPECT_EQ(pair.a.downs.size(), 1u);
    EXPECT_EQ(pair.a.downs[0].code(), StatusCode::kUnavailable);
    pair.b.reading = true;
    ASSERT_TRUE(pair.UntilUp());
  }
}

// A slow peer that reads now and then is slow, not dead.
TEST(PeerLinkTest, SlowPeerIsKept) {
  PeerPair pair;
  PeerLink& link = pair.Join();
  ASSERT_TRUE(pair.UntilUp());
  pair.world.network().SetSlowFactor(pair.a.machine(), pair.b.machine(), 2000);
  const std::string message(64 * limits::kKiB, 'x');
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, message));
  EXPECT_TRUE(pair.Until([&] { return pair.b.heard.size() == 64; }, Seconds(600)));
  EXPECT_TRUE(pair.a.downs.empty()) << pair.a.downs[0];
}

// --- refusals ------------------------------------------------------------------------------------

TEST(PeerLinkTest, RefusalsArriveInTheirWords) {
  for (const Status& verdict :
       {FailedPreconditionError("cluster id mismatch: this is cluster 0xc1"),
        PermissionDeniedError("the member 1 has been removed from the cluster"),
        UnimplementedError("too old"), NotFoundError("no such member")}) {
    PeerPair pair;
    pair.b.verdict = verdict;
    const PeerLink& link = pair.Join();
    ASSERT_TRUE(pair.Until([&] { return pair.a.downs.size() == 5; }));
    for (const Status& down : pair.a.downs) {
      EXPECT_EQ(down.code(), verdict.code());
      EXPECT_TRUE(Contains(down, verdict.message().data())) << down;
    }
    EXPECT_EQ(pair.a.ups, 0u);
    EXPECT_EQ(link.stats().connects_total, 0u);
    EXPECT_EQ(link.stats().failures_total, 5u);
    // Once it is let in the link comes up by itself.
    pair.b.verdict = OkStatus();
    EXPECT_TRUE(pair.UntilUp());
    EXPECT_EQ(pair.b.admitted.size(), 1u);
    EXPECT_EQ(pair.b.admitted[0], pair.a.OptionsTo(pair.b).hello);
  }
}

TEST(PeerLinkTest, WrongMemberBehindAnAddressIsNamed) {
  PeerPair pair;
  PeerMember c(pair.world, "c", 3);
  pair.a.Boot();
  pair.b.Boot();
  c.Boot();
  net::PeerLinkOptions options = pair.a.OptionsTo(pair.b);
  options.endpoints = pair.a.OptionsTo(c).endpoints;
  pair.a.Dial(options);
  ASSERT_TRUE(pair.Until([&] { return !pair.a.downs.empty(); }));
  EXPECT_TRUE(Contains(pair.a.downs[0], "10.0.0.3:2380: I am another member"));
}

// --- moving --------------------------------------------------------------------------------------

TEST(PeerLinkTest, PeerThatMovesIsFollowed) {
  PeerPair pair;
  PeerMember moved(pair.world, "c", 2);  // the same member on another machine
  PeerLink& link = pair.Join();
  moved.Boot();
  ASSERT_TRUE(pair.UntilUp());
  link.SetEndpoints(pair.a.OptionsTo(pair.b).endpoints);
  pair.world.RunFor(Seconds(1));
  EXPECT_TRUE(pair.a.downs.empty());  // the same ones again
  link.SetEndpoints(pair.a.OptionsTo(moved).endpoints);
  EXPECT_FALSE(SendText(link, PeerUrgency::kBulk, "to neither"));
  ASSERT_TRUE(pair.Until([&] { return pair.a.ups == 2; }, Milliseconds(5)));
  EXPECT_EQ(pair.a.downs.size(), 1u);
  ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, "hello there"));
  ASSERT_TRUE(pair.Until([&] { return moved.heard.size() == 1; }));
  EXPECT_TRUE(pair.b.heard.empty());
  EXPECT_EQ(pair.b.serving, 0u);
}

// New addresses while the old ones are being dialled.
TEST(PeerLinkTest, MovesAtAnyMomentOfAnAttempt) {
  for (int steps = 0; steps < 60; ++steps) {
    PeerPair pair;
    PeerMember moved(pair.world, "c", 2);
    PeerLink& link = pair.Join();
    moved.Boot();
    for (int i = 0; i < steps; ++i) pair.world.Step();
    link.SetEndpoints(pair.a.OptionsTo(moved).endpoints);
    ASSERT_TRUE(pair.Until([&] { return link.up(); }, Seconds(1))) << steps;
    pair.world.RunFor(Milliseconds(50));
    EXPECT_EQ(moved.serving, 1u) << steps;
    EXPECT_EQ(pair.b.serving, 0u) << steps;
    EXPECT_EQ(pair.a.downs.size(), pair.a.ups - 1) << steps;
  }
}

// --- classes and bounds --------------------------------------------------------------------------

TEST(PeerLinkTest, UrgentMessagesOvertakeBulk) {
  sim::SimOptions options;
  options.network.window_bytes = 64 * 1024;
  PeerPair pair(1, options);
  PeerLink& link = pair.Join();
  ASSERT_TRUE(pair.UntilUp());
  const std::string bulk(32 * limits::kKiB, 'b');
  for (int i = 0; i < 256; ++i) ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, bulk));
  pair.world.RunFor(Milliseconds(1));
  ASSERT_TRUE(SendText(link, PeerUrgency::kUrgent, "vote"));
  const size_t before = pair.b.heard.size();
  ASSERT_TRUE(pair.Until([&] { return pair.b.heard.size() == 257; }));
  const auto vote = std::find_if(pair.b.heard.begin(), pair.b.heard.end(),
                                 [](const PeerHeard& heard) { return heard.message == "vote"; });
  // Ahead of it: one frame in the system's hands, one on its way there, 8 messages each.
  EXPECT_LE(static_cast<size_t>(vote - pair.b.heard.begin()), before + 16);
}

TEST(PeerLinkTest, QueueIsBounded) {
  PeerPair pair;
  pair.a.Boot();
  pair.b.Boot();
  net::PeerLinkOptions options = pair.a.OptionsTo(pair.b);
  options.queue_bytes_max = limits::kMiB;
  PeerLink& link = pair.a.Dial(options);
  ASSERT_TRUE(pair.UntilUp());
  pair.b.reading = false;
  const std::string message(10'000, 'x');
  size_t taken = 0;
  while (SendText(link, PeerUrgency::kBulk, message)) {
    ASSERT_LT(++taken, 1000u);
    pair.world.Step();
  }
  EXPECT_GT(taken, 100u);
  EXPECT_LE(link.stats().queued_bytes, limits::kMiB + 10'004);
  EXPECT_EQ(link.stats().dropped_total, 1u);
  bool encoded = false;
  EXPECT_FALSE(link.Send(PeerUrgency::kBulk, [&](std::string&) { encoded = true; }));
  EXPECT_FALSE(encoded);
  // Heartbeats have room of their own.
  size_t urgent = 0;
  while (SendText(link, PeerUrgency::kUrgent, message)) ASSERT_LT(++urgent, 1000u);
  EXPECT_EQ(urgent, PeerOutbox::kUrgentBytesMax / 10'004 + 1);
  // All of it is accounted for when the link ends.
  ASSERT_TRUE(pair.Until([&] { return !link.up(); }));
  pair.b.reading = true;
  ASSERT_TRUE(pair.Until([&] { return link.up(); }));
  EXPECT_EQ(link.stats().sent_total + link.stats().dropped_total, taken + urgent + 3);
  EXPECT_EQ(link.stats().queued_bytes, 0u);
  ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, "again"));
  ASSERT_TRUE(
      pair.Until([&] { return !pair.b.heard.empty() && pair.b.heard.back().message == "again"; }));
}

TEST(PeerLinkTest, LargestMessageArrives) {
  PeerPair pair;
  PeerLink& link = pair.Join();
  ASSERT_TRUE(pair.UntilUp());
  ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, "before"));
  const std::string largest(PeerOutbox::kMessageBytesMax, 'm');
  ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, largest));
  ASSERT_TRUE(SendText(link, PeerUrgency::kBulk, "after"));
  ASSERT_TRUE(pair.Until([&] { return pair.b.heard.size() == 3; }));
  EXPECT_EQ(pair.b.heard[0].message, "before");
  EXPECT_TRUE(pair.b.heard[1].message == largest);
  EXPECT_EQ(pair.b.heard[2].message, "after");
}

TEST(PeerLinkTest, CompressionSavesBytes) {
  for (const net::PeerCompression compression :
       {net::PeerCompression::kOff, net::PeerCompression::kFast, net::PeerCompression::kDense}) {
    PeerPair pair;
    pair.a.Boot();
    pair.b.Boot();
    net::PeerLinkOptions options = pair.a.OptionsTo(pair.b);
    options.stream.compression = compression;
    PeerLink& link = pair.a.Dial(options);
    ASSERT_TRUE(pair.UntilUp());
    for (int i = 0; i < 500; ++i) {
      ASSERT_TRUE(SendText(link, PeerUrgency::kBulk,
                           Concat("/registry/pods/", i, std::string(200, static_cast<char>(i)))));
    }
    ASSERT_TRUE(pair.Until([&] { return pair.b.heard.size() == 500; }));
    EXPECT_TRUE(pair.b.heard[321].message.starts_with("/registry/pods/321"));
    const net::PeerFrameStats& frames = link.stats().frames;
    EXPECT_GT(frames.raw_bytes, 100'000u);
    const bool off = compression == net::PeerCompression::kOff;
    EXPECT_TRUE(off ? frames.stored_bytes == frames.raw_bytes
                    : frames.stored_bytes * 4 < frames.raw_bytes);
    // The figures go on over a new connection.
    pair.world.network().ResetConnections(pair.a.machine(), pair.b.machine());
    ASSERT_TRUE(pair.Until([&] { return pair.a.ups == 2; }));
    EXPECT_GT(link.stats().frames.raw_bytes, 100'000u);
  }
}

// --- stopping ------------------------------------------------------------------------------------

// Stops the dialler after `steps` events of a busy run; everything must end in short time.
void StopAfter(int steps, bool reading) {
  PeerPair pair;
  PeerLink& link = pair.Join();
  pair.b.reading = reading;
  for (int i = 0; i < steps; ++i) {
    SendText(link, i % 3 == 0 ? PeerUrgency::kUrgent : PeerUrgency::kBulk,
             std::string(static_cast<size_t>(i) * 100, 'x'));
    pair.world.Step();
  }
  const MonoTime begin = pair.world.Now();
  pair.a.Halt();
  EXPECT_LT((pair.world.Now() - begin).ms(), 10) << steps;
  EXPECT_EQ(pair.a.ups, pair.a.downs.size()) << steps;
  for (const Status& down : pair.a.downs) EXPECT_EQ(down.code(), StatusCode::kCancelled) << steps;
  pair.world.RunFor(Seconds(1));
  EXPECT_EQ(pair.b.server().stats().streams, reading ? 0u : pair.b.serving) << steps;
}

TEST(PeerLinkTest, StopsAtAnyMoment) {
  for (int steps = 0; steps < 150; ++steps) StopAfter(steps, true);
  for (int steps = 0; steps < 900; steps += 50) StopAfter(steps, false);
}

TEST(PeerLinkTest, PeerStopsAtAnyMoment) {
  for (int steps = 0; steps < 120; ++steps) {
    PeerPair pair;
    PeerLink& link = pair.Join();
    for (int i = 0; i < steps; ++i) {
      SendText(link, PeerUrgency::kBulk, std::string(1000, 'x'));
      pair.world.Step();
    }
    pair.b.Halt();
    EXPECT_EQ(pair.b.serving, 0u) << steps;
    pair.world.RunFor(Milliseconds(20));
    EXPECT_FALSE(link.up()) << steps;
    pair.b.Boot();
    ASSERT_TRUE(pair.UntilUp()) << steps;
  }
}

TEST(PeerLinkTest, ProcessDiesAtAnyMoment) {
  for (int steps = 0; steps < 120; ++steps) {
    PeerPair pair;
    PeerLink& link = pair.Join();
    for (int i = 0; i < steps; ++i) {
      SendText(link, PeerUrgency::kBulk, std::string(1000, 'x'));
      pair.world.Step();
    }
    if (steps % 2 == 0) {
      pair.a.Kill();
    } else {
      pair.a.PowerLoss();
    }
    pair.world.RunFor(Milliseconds(100));
  }
}

TEST(PeerLinkTest, StopDuringAnUnansweredConnectIsBounded) {
  PeerPair pair;
  pair.Join();
  pair.world.network().Cut(pair.a.machine(), pair.b.machine());
  pair.world.RunFor(Milliseconds(1));
  const MonoTime begin = pair.world.Now();
  pair.a.Halt();
  EXPECT_LE((pair.world.Now() - begin).ms(), 1'001);
}

}  // namespace
}  // namespace metastore::net_test
