// Aim: what watchers are sent is what protobuf would send, event for event; fragments put together
// are the whole; and events read back are those that were encoded. Method: protobuf as the oracle,
// over random events.

#include "server/watch_wire.h"

#include <gtest/gtest.h>

#include "io/base/prng.h"
#include "rpc.pb.h"
#include "server/watch_batch.h"

namespace metastore::server {
namespace {

constexpr WireHeader kHeader{ClusterId(7), NodeId(UINT64_MAX), Revision(0), Term(3)};

io::SharedBytes Bytes(Prng& prng, size_t least) {
  std::string bytes(least + prng.Below(prng.Chance(1, 8) ? 400 : 6), '\0');
  for (char& byte : bytes) byte = static_cast<char>(prng.Next());
  return io::SharedBytes::Copy(bytes);
}

engine::KeyValue RandomPair(Prng& prng, Revision revision) {
  return {.key = Bytes(prng, 1),
          .value = Bytes(prng, 0),
          .create_revision = Revision(static_cast<int64_t>(1 + prng.Below(300))),
          .mod_revision = revision,
          .version = static_cast<int64_t>(1 + prng.Below(300)),
          .lease = LeaseId(static_cast<int64_t>(prng.Below(3)))};
}

engine::Event RandomEvent(Prng& prng, Revision revision) {
  engine::Event event;
  event.kv = RandomPair(prng, revision);
  if (prng.Chance(1, 3)) {
    event.kind = engine::EventKind::kDelete;
    event.kv = {.key = event.kv.key, .mod_revision = revision};
  }
  if (prng.Chance(1, 2)) {
    event.previous = RandomPair(prng, revision - 1);
    event.previous->key = event.kv.key;
  }
  return event;
}

void Fill(const engine::KeyValue& kv, mvccpb::KeyValue& message) {
  message.set_key(std::string(kv.key.view()));
  message.set_value(std::string(kv.value.view()));
  message.set_create_revision(kv.create_revision.value());
  message.set_mod_revision(kv.mod_revision.value());
  message.set_version(kv.version);
  message.set_lease(kv.lease.value());
}

// The response as protobuf encodes it.
std::string Expected(const std::vector<engine::Event>& events, int64_t id, Revision revision,
                     const WatchFilter& filter) {
  etcdserverpb::WatchResponse response;
  response.mutable_header()->set_cluster_id(kHeader.cluster.value());
  response.mutable_header()->set_member_id(kHeader.member.value());
  response.mutable_header()->set_revision(revision.value());
  response.mutable_header()->set_raft_term(kHeader.term.value());
  response.set_watch_id(id);
  for (const engine::Event& event : events) {
    const bool deletion = event.kind == engine::EventKind::kDelete;
    if (event.kv.mod_revision < filter.from) continue;
    if (deletion ? filter.no_deletes : filter.no_puts) continue;
    mvccpb::Event& message = *response.add_events();
    if (deletion) message.set_type(mvccpb::Event::DELETE);
    Fill(event.kv, *message.mutable_kv());
    if (filter.prev_kv && event.previous) Fill(*event.previous, *message.mutable_prev_kv());
  }
  return response.SerializeAsString();
}

class WatchWireTest : public testing::Test {
 protected:
  // Three events a revision.
  void MakeEvents(size_t count) {
    WatchBatchBuilder builder;
    for (size_t i = 0; i < count; ++i) {
      events_.push_back(RandomEvent(prng_, Revision(static_cast<int64_t>(10 + i / 3))));
      builder.Add(events_.back());
      picked_.push_back(static_cast<uint32_t>(i));
    }
    batch_ = builder.Take(Revision(10), events_.back().kv.mod_revision);
  }
  WatchDelivery Delivery(const WatchFilter& filter) {
    const WatchBlock block = MakeBlock(batch_, picked_, filter);
    return {.events_count = static_cast<uint32_t>(block.count),
            .id = 300,
            .revision = block.last,
            .events = block.events};
  }

  Prng prng_{5};
  std::vector<engine::Event> events_;
  std::vector<uint32_t> picked_;
  WatchBatch batch_;
};

TEST_F(WatchWireTest, EventsAreAsProtobufEncodesThem) {
  MakeEvents(60);
  for (size_t kind = 0; kind < WatchFilter::kKinds; ++kind) {
    WatchFilter filter{
        .prev_kv = (kind & 4) != 0, .no_puts = (kind & 2) != 0, .no_deletes = (kind & 1) != 0};
    EXPECT_EQ(filter.kind(), kind);
    for (const int64_t from : {0, 20}) {
      filter.from = Revision(from);
      const WatchDelivery delivery = Delivery(filter);
      if (delivery.events_count == 0) {
        EXPECT_TRUE(filter.no_puts && filter.no_deletes);
        continue;
      }
      WatchMessages messages(kHeader, delivery, SIZE_MAX);
      EXPECT_EQ(messages.Next(), Expected(events_, 300, delivery.revision, filter));
      EXPECT_TRUE(messages.done());
    }
  }
}

TEST_F(WatchWireTest, KeysAreFoundInTheBatch) {
  MakeEvents(60);
  for (size_t i = 0; i < events_.size(); ++i) {
    EXPECT_EQ(batch_.KeyOf(batch_.changes[i]), events_[i].kv.key.view());
    EXPECT_EQ(batch_.changes[i].revision, events_[i].kv.mod_revision);
  }
}

TEST_F(WatchWireTest, FragmentsTogetherAreTheWhole) {
  MakeEvents(90);
  WatchDelivery delivery = Delivery({.prev_kv = true});
  const std::string whole = Expected(events_, 300, delivery.revision, {.prev_kv = true});
  for (const size_t fragment_bytes : {size_t{1}, size_t{600}, size_t{2000}, whole.size()}) {
    delivery.fragment = true;
    WatchMessages messages(kHeader, delivery, fragment_bytes);
    etcdserverpb::WatchResponse joined;
    while (!messages.done()) {
      const std::string message = messages.Next();
      etcdserverpb::WatchResponse part;
      ASSERT_TRUE(part.ParseFromString(message));
      EXPECT_EQ(part.fragment(), !messages.done());
      EXPECT_TRUE(message.size() < fragment_bytes || part.events_size() == 1);
      EXPECT_EQ(part.header().revision(), delivery.revision.value());
      EXPECT_EQ(part.watch_id(), 300);
      if (joined.events_size() == 0)
        joined = part;
      else
        joined.mutable_events()->MergeFrom(part.events());
    }
    joined.clear_fragment();
    EXPECT_EQ(joined.SerializeAsString(), whole) << fragment_bytes;
  }
}

TEST_F(WatchWireTest, AnswersAreAsProtobufEncodesThem) {
  using Kind = WatchDelivery::Kind;
  const auto encoded = [](const WatchDelivery& delivery) {
    etcdserverpb::WatchResponse response;
    WatchMessages messages(kHeader, delivery, 1);
    EXPECT_TRUE(response.ParseFromString(messages.Next()));
    EXPECT_TRUE(messages.done());
    EXPECT_EQ(response.header().revision(), delivery.revision.value());
    response.clear_header();
    return response.ShortDebugString();
  };
  EXPECT_EQ(encoded({.kind = Kind::kCreated, .id = 2, .revision = Revision(5)}),
            "watch_id: 2 created: true");
  EXPECT_EQ(encoded({.kind = Kind::kRefused, .revision = Revision(5), .reason = "why"}),
            "watch_id: -1 created: true canceled: true cancel_reason: \"why\"");
  EXPECT_EQ(encoded({.kind = Kind::kCanceled, .id = 2, .compacted = Revision(9)}),
            "watch_id: 2 canceled: true compact_revision: 9");
  EXPECT_EQ(encoded({.kind = Kind::kProgress, .revision = Revision(5)}), "watch_id: -1");
}

TEST_F(WatchWireTest, EventsAreReadBack) {
  MakeEvents(60);
  const WatchDelivery delivery = Delivery({.prev_kv = true});
  const std::vector<engine::Event> read = DecodeBlock(delivery.events.view());
  ASSERT_EQ(read.size(), events_.size());
  WatchBatchBuilder again;
  for (const engine::Event& event : read) again.Add(event);
  EXPECT_EQ(again.Take(Revision(10), Revision(10)).bytes.view(), batch_.bytes.view());
}

}  // namespace
}  // namespace metastore::server
