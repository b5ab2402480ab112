// Aim: no bytes of a peer crash the decoder of frames, or what takes messages out of them; frames
// that were made come back, cut or damaged anywhere. Method: the input is decoded as it is; as the
// contents, plain and compressed, of a frame whose checksum is right, since random bytes never pass
// one; and as a script of bodies to encode, cut and damage.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/hash.h"
#include "net/peer_frame.h"
#include "net/peer_outbox.h"

namespace {

namespace net = metastore::net;
using metastore::Hash64;
using metastore::OkStatus;
using metastore::Status;
using metastore::StatusOr;

constexpr uint64_t kChecksumSeed = 0x6d656d6265727321;

// Decodes `bytes` in pieces; returns how many frames they were.
size_t Decode(std::string_view bytes, size_t piece, std::vector<std::string>* bodies = nullptr) {
  net::PeerFrameDecoder decoder;
  size_t frames = 0;
  while (true) {
    net::PeerFrame frame;
    const StatusOr<bool> whole = decoder.Next(frame);
    if (!whole.ok()) {
      CHECK(!decoder.Next(frame).ok());
      return frames;
    }
    if (*whole) {
      ++frames;
      CHECK_LE(frame.body.size(), net::kPeerFrameBytesMax);
      if (bodies != nullptr) bodies->emplace_back(frame.body);
      size_t message_bytes = 0;
      static_cast<void>(net::ForEachPeerMessage(frame.body, [&](std::string_view message) {
                          message_bytes += message.size() + 4;
                          return OkStatus();
                        }).ok());
      CHECK_LE(message_bytes, frame.body.size());
      continue;
    }
    if (bytes.empty()) return frames;
    decoder.Add(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
}

// The first bytes are what a header may claim, the rest the stored bytes.
void DecodeWithRightChecksum(std::string_view input) {
  constexpr size_t kClaims = 8;
  if (input.size() < kClaims) return;
  const std::string_view stored = input.substr(kClaims);
  std::string frame;
  metastore::PutU32(frame, 0x5250534d);
  metastore::PutU8(frame, 1);
  frame += input.substr(0, 3);  // codec, type
  metastore::PutU32(frame, static_cast<uint32_t>(stored.size()));
  metastore::PutU32(frame, metastore::LoadU32(input.data() + 4) & 0xfffff);
  metastore::PutU64(frame, 0);
  metastore::PutU64(frame, Hash64(stored, Hash64(frame, kChecksumSeed)));
  frame += stored;
  static_cast<void>(Decode(frame, frame.size()));
}

void MakeCutAndDamage(std::string_view input) {
  if (input.size() < 8) return;
  const auto compression = static_cast<net::PeerCompression>(static_cast<uint8_t>(input[0]) % 3);
  const size_t piece = 1 + static_cast<uint8_t>(input[1]) * size_t{16};
  const size_t damage = metastore::LoadU32(input.data() + 2);
  input.remove_prefix(6);
  net::PeerFrameEncoder encoder(compression);
  std::string bytes;
  std::vector<std::string> bodies;
  while (!input.empty()) {
    // Each body is some of the input, repeated.
    const size_t size = std::min(input.size(), size_t{1} + static_cast<uint8_t>(input[0]));
    std::string body;
    for (int i = input[0] & 15; i >= 0; --i) body += input.substr(0, size);
    encoder.Encode(static_cast<uint16_t>(size), body, bytes);
    bodies.push_back(std::move(body));
    input.remove_prefix(size);
  }
  std::vector<std::string> back;
  CHECK_EQ(Decode(bytes, piece, &back), bodies.size());
  CHECK(back == bodies);
  const size_t at = damage % bytes.size();
  bytes[at] ^= static_cast<char>(1 + damage / bytes.size() % 255);
  back.clear();
  CHECK_LT(Decode(bytes, piece, &back), bodies.size());
  for (size_t i = 0; i < back.size(); ++i) CHECK(back[i] == bodies[i]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  static_cast<void>(Decode(input, 7));
  DecodeWithRightChecksum(input);
  MakeCutAndDamage(input);
  return 0;
}
