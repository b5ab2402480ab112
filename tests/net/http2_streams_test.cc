// Aim: streams are found by id however they come and go. Method: random opening and closing beside
// a std::map.
#include "net/http2_streams.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "io/base/prng.h"

namespace metastore::net_test {
namespace {

using net::Http2Streams;
using net::ServerStream;

void CloseAndFree(Http2Streams& streams, ServerStream& stream) {
  streams.Close(stream);
  streams.Free(stream);
}

TEST(Http2StreamsTest, AgreesWithAMap) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Prng prng(seed);
    Http2Streams streams(seed);
    std::map<int32_t, ServerStream*> map;
    int32_t next = 1;
    for (int step = 0; step < 2000; ++step) {
      // One stream stays for good, far behind the others.
      if (map.size() < 2 || prng.Chance(seed, 20 + seed)) {
        next += 2 * static_cast<int32_t>(1 + prng.Below(3));
        map[next] = &streams.Open(next);
      } else {
        const auto chosen =
            std::next(map.begin(), 1 + static_cast<std::ptrdiff_t>(prng.Below(map.size() - 1)));
        CloseAndFree(streams, *chosen->second);
        ASSERT_EQ(streams.Find(chosen->first), nullptr);
        map.erase(chosen);
      }
      ASSERT_EQ(streams.size(), map.size());
      const int32_t probe = 1 + 2 * static_cast<int32_t>(prng.Below(static_cast<uint64_t>(next)));
      const auto found = map.find(probe);
      ASSERT_EQ(streams.Find(probe), found == map.end() ? nullptr : found->second) << seed;
      ASSERT_EQ(streams.Find(map.begin()->first), map.begin()->second) << seed;
    }
    EXPECT_EQ(streams.All().size(), map.size());
    for (const auto& [id, stream] : map) {
      EXPECT_EQ(streams.Find(id), stream);
      CloseAndFree(streams, *stream);
    }
  }
}

// `kept` streams whose ids are `stride` apart stay: what searches for them and for later ones cost.
size_t LongestSearch(int32_t kept, int32_t stride) {
  Http2Streams streams(7);
  int32_t id = 1;
  for (int32_t i = 0; i < kept; ++i, id += stride) streams.Open(id);
  size_t longest = 0;
  for (const ServerStream* stream : streams.All())
    longest = std::max(longest, streams.SearchLength(stream->id));
  for (int32_t i = 0; i < 4 * kept; ++i, id += 2)
    longest = std::max(longest, streams.SearchLength(id));
  for (ServerStream* stream : streams.All()) CloseAndFree(streams, *stream);
  return longest;
}

TEST(Http2StreamsTest, StreamsThatStayDoNotSlowDownLaterOnes) {
  EXPECT_LT(LongestSearch(1'000, 2), 100u);
  EXPECT_LT(LongestSearch(16'384, 2), 100u);
}

TEST(Http2StreamsTest, NoChoiceOfIdsMakesSearchesLong) {
  EXPECT_LT(LongestSearch(16'384, 1 << 16), 100u);  // equal in all bits that a plain table looks at
}

TEST(Http2StreamsTest, AReusedStreamIsLikeNew) {
  Http2Streams streams(1);
  ServerStream& first = streams.Open(1);
  first.user = &streams;
  first.headers_number = 7;
  first.facts.content_length = 5;
  first.received = 5;
  first.remote_ended = first.answering = first.ending = first.reset_due = true;
  first.Queue().headers_wait = true;
  first.Queue().trailers = "block";
  first.Queue().unsent = 3;
  CloseAndFree(streams, first);
  ServerStream& second = streams.Open(3);
  ASSERT_EQ(&second, &first);
  EXPECT_EQ(second.id, 3);
  EXPECT_EQ(second.user, nullptr);
  EXPECT_EQ(second.headers_number, 0u);
  EXPECT_EQ(second.facts.content_length, -1);
  EXPECT_EQ(second.received, 0);
  EXPECT_FALSE(second.remote_ended || second.answering || second.ending || second.reset_due);
  EXPECT_FALSE(second.gone);
  EXPECT_EQ(second.queue, nullptr);
  CloseAndFree(streams, second);
}

}  // namespace
}  // namespace metastore::net_test
