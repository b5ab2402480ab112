// Aim: frames come back as they were made, however the bytes are cut; nothing else comes back as a
// frame, and no length is believed before its bytes are there. Method: tables; every byte flipped,
// every cut, frames lost, repeated and swapped; headers made by hand with right checksums.
#include "net/peer_frame.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <utility>

#include "io/base/coding.h"
#include "io/base/hash.h"
#include "io/base/prng.h"

namespace metastore::net_test {
namespace {

using net::kPeerFrameBytesMax;
using net::kPeerFrameHeaderBytes;
using net::PeerCompression;
using net::PeerFrame;
using net::PeerFrameDecoder;
using net::PeerFrameEncoder;

constexpr uint32_t kMagic = 0x5250534d;
constexpr uint64_t kSeed = 0x6d656d6265727321;

std::string Encode(PeerFrameEncoder& encoder, uint16_t type, std::string_view body) {
  std::string out;
  encoder.Encode(type, body, out);
  return out;
}

std::string Noise(size_t bytes) {
  Prng prng(bytes);
  std::string noise(bytes, '\0');
  for (char& byte : noise) byte = static_cast<char>(prng.Next());
  return noise;
}

std::string Text(size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += Concat("/registry/pods/default/pod-", text.size(), "\n");
  text.resize(bytes);
  return text;
}

// All frames of `bytes`; the error that ends them, if any.
std::pair<std::vector<std::pair<uint16_t, std::string>>, Status> DecodeAll(std::string_view bytes,
                                                                           size_t piece) {
  PeerFrameDecoder decoder;
  std::vector<std::pair<uint16_t, std::string>> frames;
  while (true) {
    PeerFrame frame;
    const StatusOr<bool> whole = decoder.Next(frame);
    if (!whole.ok()) return {frames, whole.status()};
    if (*whole) {
      frames.emplace_back(frame.type, frame.body);
      continue;
    }
    if (bytes.empty()) return {frames, OkStatus()};
    decoder.Add(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
}

Status ErrorOf(std::string_view bytes) { return DecodeAll(bytes, bytes.size()).second; }

// A frame by hand, with a right checksum.
struct Made {
  uint8_t version = 1;
  uint8_t codec = 0;
  size_t stored_bytes = 0;
  size_t raw_bytes = 0;
  uint64_t sequence = 0;
  std::string stored;

  std::string Bytes() const {
    std::string out;
    PutU32(out, kMagic);
    PutU8(out, version);
    PutU8(out, codec);
    PutU16(out, 7);
    PutU32(out, static_cast<uint32_t>(stored_bytes));
    PutU32(out, static_cast<uint32_t>(raw_bytes));
    PutU64(out, sequence);
    PutU64(out, Hash64(stored, Hash64(out, kSeed)));
    return out + stored;
  }
};

TEST(PeerFrameTest, LayoutIsAsDocumented) {
  PeerFrameEncoder encoder(PeerCompression::kOff);
  Encode(encoder, 1, "first");
  const Made same{.stored_bytes = 4, .raw_bytes = 4, .sequence = 1, .stored = "body"};
  EXPECT_EQ(Encode(encoder, 7, "body"), same.Bytes());
}

TEST(PeerFrameTest, FramesComeBackHoweverTheyAreCut) {
  for (const PeerCompression compression :
       {PeerCompression::kOff, PeerCompression::kFast, PeerCompression::kDense}) {
    PeerFrameEncoder encoder(compression);
    std::vector<std::pair<uint16_t, std::string>> made;
    std::string bytes;
    uint16_t type = 0;
    for (const size_t size : {0u, 1u, 31u, 1023u, 1024u, 1025u, 16'384u, 300'000u, 0u, 5u}) {
      for (const std::string& body : {Text(size), Noise(size)}) {
        encoder.Encode(type, body, bytes);
        made.emplace_back(type++, body);
      }
    }
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{4096}, size_t{16'384}, bytes.size()}) {
      const auto [frames, error] = DecodeAll(bytes, piece);
      EXPECT_TRUE(error.ok()) << error;
      EXPECT_TRUE(frames == made) << piece;
    }
  }
}

TEST(PeerFrameTest, InPlaceGivesTheSameBytes) {
  for (const PeerCompression compression : {PeerCompression::kOff, PeerCompression::kFast}) {
    PeerFrameEncoder one(compression);
    PeerFrameEncoder other(compression);
    std::string scratch = "left over";
    for (const std::string& body : {Text(10), Text(5000), Noise(5000), std::string()}) {
      std::string frame = std::string(kPeerFrameHeaderBytes, '?') + body;
      EXPECT_EQ(one.EncodeInPlace(9, frame, scratch), Encode(other, 9, body));
    }
    EXPECT_EQ(one.stats().stored_bytes, other.stats().stored_bytes);
  }
}

TEST(PeerFrameTest, CompressionIsKeptOnlyWhereItSaves) {
  PeerFrameEncoder encoder(PeerCompression::kFast);
  EXPECT_EQ(Encode(encoder, 1, Text(1023)).size(), 1023 + kPeerFrameHeaderBytes);
  EXPECT_LT(Encode(encoder, 1, Text(1024)).size(), 900u);
  EXPECT_EQ(Encode(encoder, 1, Noise(5000)).size(), 5000 + kPeerFrameHeaderBytes);
  EXPECT_EQ(encoder.stats().frames, 3u);
  EXPECT_EQ(encoder.stats().raw_bytes, 1023u + 1024 + 5000);
  EXPECT_LT(encoder.stats().stored_bytes, encoder.stats().raw_bytes);
  EXPECT_EQ(encoder.stats().compress_ns, 0u);  // no clock
}

class StepClock final : public io::TimerService {
 public:
  MonoTime Now() const override { return MonoTime{} + Nanoseconds(100 * ++asked_); }
  void Arm(io::Timer&, MonoTime) override { ADD_FAILURE(); }
  void Cancel(io::Timer&) override { ADD_FAILURE(); }

 private:
  mutable int64_t asked_ = 0;
};

TEST(PeerFrameTest, TimeSpentCompressingIsCounted) {
  StepClock clock;
  PeerFrameEncoder encoder(PeerCompression::kDense, &clock);
  Encode(encoder, 1, Text(100));  // not compressed
  EXPECT_EQ(encoder.stats().compress_ns, 0u);
  Encode(encoder, 1, Text(10'000));
  Encode(encoder, 1, Noise(10'000));  // tried in vain
  EXPECT_EQ(encoder.stats().compress_ns, 200u);
}

TEST(PeerFrameTest, LargestBodyPassesAndALargerOneDies) {
  PeerFrameEncoder encoder(PeerCompression::kOff);
  const std::string largest(kPeerFrameBytesMax, 'x');
  const auto [frames, error] = DecodeAll(Encode(encoder, 1, largest), 1 << 20);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_TRUE(frames[0].second == largest);
  EXPECT_DEATH(Encode(encoder, 1, largest + "x"), "CHECK failed");
}

// --- damage --------------------------------------------------------------------------------------

TEST(PeerFrameTest, EveryFlippedByteIsSeen) {
  for (const PeerCompression compression : {PeerCompression::kOff, PeerCompression::kFast}) {
    PeerFrameEncoder encoder(compression);
    const std::string frame = Encode(encoder, 7, Text(1500));
    for (size_t at = 0; at < frame.size(); ++at) {
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::string damaged = frame;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        // Bytes behind it, so that a longer length finds its bytes.
        const auto [frames, error] = DecodeAll(damaged + std::string(70'000, 'x'), 1 << 20);
        ASSERT_TRUE(frames.empty()) << at;
        const bool waits = error.ok();  // a length that has grown
        const bool length = at >= 8 && at < 16;
        ASSERT_TRUE(!waits || length) << at;
        const StatusCode code = at == 4 ? StatusCode::kUnimplemented : StatusCode::kDataLoss;
        if (!waits) ASSERT_EQ(error.code(), code) << at;
      }
    }
  }
}

TEST(PeerFrameTest, CutOffFrameIsWaitedFor) {
  PeerFrameEncoder encoder(PeerCompression::kFast);
  const std::string frame = Encode(encoder, 7, Text(1500));
  for (size_t cut = 0; cut < frame.size(); ++cut) {
    const auto [frames, error] = DecodeAll(frame.substr(0, cut), 64);
    ASSERT_TRUE(frames.empty() && error.ok()) << cut;
  }
}

TEST(PeerFrameTest, LostRepeatedAndSwappedFramesAreSeen) {
  PeerFrameEncoder encoder(PeerCompression::kOff);
  const std::string a = Encode(encoder, 1, "a");
  const std::string b = Encode(encoder, 1, "b");
  const std::string c = Encode(encoder, 1, "c");
  EXPECT_TRUE(ErrorOf(a + b + c).ok());
  for (const std::string& bytes : {a + c, a + a, b + a, a + b + b, c}) {
    EXPECT_EQ(ErrorOf(bytes).code(), StatusCode::kDataLoss);
    EXPECT_NE(ErrorOf(bytes).ToString().find("out of sequence"), std::string::npos);
  }
}

TEST(PeerFrameTest, OtherProtocolsAreSeenAtTheirFirstByte) {
  for (const std::string_view first : {"G", "GET / HTTP/1.0", "PRI * HTTP/2.0", "\x16\x03\x01"}) {
    EXPECT_EQ(ErrorOf(first).code(), StatusCode::kDataLoss) << first;
  }
  EXPECT_EQ(ErrorOf(std::string(100, '\0')).code(), StatusCode::kDataLoss);
}

// --- hostile bytes with right checksums ----------------------------------------------------------

std::string Zstd(std::string_view raw) {
  std::string stored(ZSTD_compressBound(raw.size()), '\0');
  stored.resize(ZSTD_compress(stored.data(), stored.size(), raw.data(), raw.size(), 1));
  return stored;
}

TEST(PeerFrameTest, HostileFramesAreRefused) {
  const std::string bomb = Zstd(std::string(1 << 20, 'x'));
  const std::string text = Zstd(Text(5000));
  struct Case {
    const char* name;
    Made made;
    StatusCode code;
  };
  const Case cases[] = {
      {"a later version", {.version = 2}, StatusCode::kUnimplemented},
      {"version 0", {.version = 0}, StatusCode::kUnimplemented},
      {"an unknown codec", {.codec = 2}, StatusCode::kUnimplemented},
      {"plain, shorter than raw",
       {.stored_bytes = 1, .raw_bytes = 2, .stored = "x"},
       StatusCode::kDataLoss},
      {"longer than raw",
       {.codec = 1, .stored_bytes = 2, .raw_bytes = 1, .stored = "xx"},
       StatusCode::kDataLoss},
      {"no zstd",
       {.codec = 1, .stored_bytes = 4, .raw_bytes = 4, .stored = "xxxx"},
       StatusCode::kDataLoss},
      {"zstd of nothing", {.codec = 1}, StatusCode::kDataLoss},
      {"more than it says",
       {.codec = 1, .stored_bytes = bomb.size(), .raw_bytes = 1000, .stored = bomb},
       StatusCode::kDataLoss},
      {"less than it says",
       {.codec = 1, .stored_bytes = bomb.size(), .raw_bytes = kPeerFrameBytesMax, .stored = bomb},
       StatusCode::kDataLoss},
      {"a cut-off zstd frame",
       {.codec = 1,
        .stored_bytes = text.size() - 1,
        .raw_bytes = 5000,
        .stored = text.substr(0, text.size() - 1)},
       StatusCode::kDataLoss},
      {"sequence", {.sequence = 1}, StatusCode::kDataLoss},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(ErrorOf(each.made.Bytes()).code(), each.code) << each.name;
  }
  const Made right{.codec = 1, .stored_bytes = text.size(), .raw_bytes = 5000, .stored = text};
  EXPECT_TRUE(ErrorOf(right.Bytes()).ok());
}

TEST(PeerFrameTest, OversizeLengthsAreRefusedWithTheHeader) {
  const size_t over = kPeerFrameBytesMax + 1;
  for (const Made& made :
       {Made{.stored_bytes = over, .raw_bytes = over}, Made{.stored_bytes = 10, .raw_bytes = over},
        Made{.stored_bytes = over, .raw_bytes = 10},
        Made{.stored_bytes = UINT32_MAX, .raw_bytes = UINT32_MAX}}) {
    EXPECT_EQ(ErrorOf(made.Bytes()).code(), StatusCode::kDataLoss);
  }
  PeerFrameDecoder strict;
  strict.set_body_bytes_max(100);
  strict.Add(Made{.stored_bytes = 101, .raw_bytes = 101}.Bytes());
  PeerFrame frame;
  EXPECT_EQ(strict.Next(frame).status().code(), StatusCode::kDataLoss);
  PeerFrameDecoder lenient;
  lenient.Add(Made{.stored_bytes = 101, .raw_bytes = 101}.Bytes());
  EXPECT_FALSE(*lenient.Next(frame));
}

TEST(PeerFrameTest, ErrorsStay) {
  PeerFrameDecoder decoder;
  PeerFrame frame;
  decoder.Add("nonsense");
  EXPECT_FALSE(decoder.Next(frame).ok());
  decoder.Add(Made{}.Bytes());
  EXPECT_FALSE(decoder.Next(frame).ok());
}

}  // namespace
}  // namespace metastore::net_test
