// Aim: the outbox keeps the order of each class, lets urgent frames go first without starving bulk
// ones, cuts frames, bounds what waits, and reuses its buffers; frames of messages come apart
// again, and damaged ones are refused. Method: tables on the pure class.
#include "net/peer_outbox.h"

#include <gtest/gtest.h>

#include "io/base/coding.h"

namespace metastore::net_test {
namespace {

using net::kPeerFrameHeaderBytes;
using net::PeerBatch;
using net::PeerOutbox;
using net::PeerUrgency;

bool Add(PeerOutbox& outbox, PeerUrgency urgency, std::string_view message) {
  return outbox.Add(urgency, [&](std::string& out) { out.append(message); });
}

std::vector<std::string> Apart(std::string_view body, Status* error = nullptr) {
  std::vector<std::string> messages;
  const Status status = net::ForEachPeerMessage(body, [&](std::string_view message) {
    messages.emplace_back(message);
    return OkStatus();
  });
  if (error != nullptr) *error = status;
  return messages;
}

std::vector<std::string> TakeOne(PeerOutbox& outbox) {
  PeerBatch batch = outbox.Take();
  std::vector<std::string> messages =
      Apart(std::string_view(batch.bytes).substr(kPeerFrameHeaderBytes));
  EXPECT_EQ(messages.size(), batch.messages);
  outbox.Reuse(std::move(batch));
  return messages;
}

using Messages = std::vector<std::string>;

TEST(PeerOutboxTest, MessagesOfAClassShareAFrameInOrder) {
  PeerOutbox outbox(limits::kMiB);
  EXPECT_TRUE(outbox.empty());
  for (const char* message : {"a", "", "bc"}) EXPECT_TRUE(Add(outbox, PeerUrgency::kBulk, message));
  EXPECT_EQ(outbox.bytes(), 3 + 3 * 4u);
  EXPECT_EQ(TakeOne(outbox), (Messages{"a", "", "bc"}));
  EXPECT_TRUE(outbox.empty());
  EXPECT_EQ(outbox.bytes(), 0u);
}

TEST(PeerOutboxTest, UrgentGoesFirstButNeverTwiceInARow) {
  PeerOutbox outbox(limits::kMiB);
  EXPECT_TRUE(Add(outbox, PeerUrgency::kBulk, "b1"));
  EXPECT_TRUE(Add(outbox, PeerUrgency::kUrgent, "u1"));
  EXPECT_EQ(TakeOne(outbox), Messages{"u1"});
  EXPECT_TRUE(Add(outbox, PeerUrgency::kUrgent, "u2"));
  EXPECT_EQ(TakeOne(outbox), Messages{"b1"});
  EXPECT_TRUE(Add(outbox, PeerUrgency::kBulk, "b2"));
  EXPECT_EQ(TakeOne(outbox), Messages{"u2"});
  EXPECT_TRUE(Add(outbox, PeerUrgency::kUrgent, "u3"));
  EXPECT_EQ(TakeOne(outbox), Messages{"b2"});
  EXPECT_EQ(TakeOne(outbox), Messages{"u3"});
  EXPECT_TRUE(Add(outbox, PeerUrgency::kUrgent, "u4"));
  EXPECT_EQ(TakeOne(outbox), Messages{"u4"});  // nothing else waits
}

TEST(PeerOutboxTest, FramesAreCut) {
  PeerOutbox outbox(64 * limits::kMiB);
  const std::string message(10'000, 'x');
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Add(outbox, PeerUrgency::kBulk, message));
  size_t messages = 0;
  while (!outbox.empty()) {
    const PeerBatch batch = outbox.Take();
    EXPECT_LT(batch.bytes.size(), PeerOutbox::kFrameBytes + 10'004 + kPeerFrameHeaderBytes);
    messages += batch.messages;
  }
  EXPECT_EQ(messages, 100u);
}

TEST(PeerOutboxTest, LargestMessageGoesAlone) {
  PeerOutbox outbox(64 * limits::kMiB);
  const std::string largest(PeerOutbox::kMessageBytesMax, 'm');
  for (const PeerUrgency urgency : {PeerUrgency::kBulk, PeerUrgency::kUrgent}) {
    EXPECT_TRUE(Add(outbox, urgency, "before"));
    EXPECT_TRUE(Add(outbox, urgency, largest));
    EXPECT_EQ(outbox.bytes(), 6 + largest.size() + 2 * 4);
    EXPECT_EQ(TakeOne(outbox), Messages{"before"});
    const PeerBatch batch = outbox.Take();
    ASSERT_EQ(batch.bytes.size(), kPeerFrameHeaderBytes + net::kPeerFrameBytesMax);
    EXPECT_EQ(batch.messages, 1u);
    EXPECT_TRUE(Add(outbox, urgency, "after"));
    EXPECT_EQ(TakeOne(outbox), Messages{"after"});
    EXPECT_EQ(outbox.bytes(), 0u);
  }
  EXPECT_DEATH(Add(outbox, PeerUrgency::kBulk, largest + "x"), "CHECK failed");
}

TEST(PeerOutboxTest, ClassesAreBoundedEachByItself) {
  PeerOutbox outbox(1000);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Add(outbox, PeerUrgency::kBulk, std::string(96, 'x')));
  EXPECT_FALSE(outbox.Add(PeerUrgency::kBulk, [](std::string&) { FAIL(); }));
  const std::string urgent(limits::kMiB, 'u');
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Add(outbox, PeerUrgency::kUrgent, urgent));
  EXPECT_FALSE(outbox.Add(PeerUrgency::kUrgent, [](std::string&) { FAIL(); }));
  TakeOne(outbox);
  EXPECT_TRUE(Add(outbox, PeerUrgency::kUrgent, urgent));
  EXPECT_EQ(outbox.Clear(), 14u);
  EXPECT_TRUE(outbox.empty());
  EXPECT_EQ(outbox.bytes(), 0u);
  EXPECT_TRUE(Add(outbox, PeerUrgency::kBulk, "x"));
}

TEST(PeerOutboxTest, BuffersAreReused) {
  PeerOutbox outbox(limits::kMiB);
  const std::string message(1000, 'x');
  EXPECT_TRUE(Add(outbox, PeerUrgency::kBulk, message));
  PeerBatch batch = outbox.Take();
  const char* const memory = batch.bytes.data();
  outbox.Reuse(std::move(batch));
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(Add(outbox, i % 2 == 0 ? PeerUrgency::kBulk : PeerUrgency::kUrgent, message));
    batch = outbox.Take();
    ASSERT_EQ(batch.bytes.data(), memory);
    outbox.Reuse(std::move(batch));
  }
}

// --- taking frames apart -------------------------------------------------------------------------

TEST(ForEachPeerMessageTest, DamageIsToldAfterWhatWasWhole) {
  std::string body;
  PutU32(body, 2);
  body += "ab";
  const std::string whole = body;
  EXPECT_EQ(Apart(""), Messages{});
  struct Case {
    std::string rest;
    const char* name;
  };
  std::string too_long;
  PutU32(too_long, 3);
  too_long += "ab";
  std::string huge;
  PutU32(huge, UINT32_MAX);
  for (const Case& each : {Case{"\1", "half a length"}, Case{std::string(3, '\0'), "no length"},
                           Case{too_long, "too long"}, Case{huge, "huge"}}) {
    Status error;
    EXPECT_EQ(Apart(whole + each.rest, &error), Messages{"ab"}) << each.name;
    EXPECT_EQ(error.code(), StatusCode::kDataLoss) << each.name;
  }
}

TEST(ForEachPeerMessageTest, TheFirstErrorOfTheUserEndsIt) {
  std::string body(12, '\0');  // three empty messages
  int calls = 0;
  const Status status = net::ForEachPeerMessage(
      body, [&](std::string_view) { return ++calls == 2 ? AbortedError("enough") : OkStatus(); });
  EXPECT_EQ(status, AbortedError("enough"));
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace metastore::net_test
