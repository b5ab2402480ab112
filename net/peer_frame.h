// The frame: what members send each other over a stream. Pure functions on bytes from peers:
// nothing in them is CHECKed.
//
// Layout, little-endian:
//   u32 magic | u8 version (1) | u8 codec (0 plain, 1 zstd) | u16 type | u32 stored bytes |
//   u32 raw bytes | u64 sequence | u64 checksum        together 32 bytes
//   stored bytes
// The checksum is xxh3 of the header before it and of the stored bytes. `sequence` counts the
// frames of one direction of a stream from 0, so a lost or repeated one is seen. `type` is the
// stream's user's own.
//
// Memory: an encoder that compresses and a decoder that has met a compressed frame keep a context
// of zstd's each. Buffers grow with the bytes that have come, and beyond 1 MiB are freed again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "io/base/limits.h"
#include "io/base/status.h"
#include "io/signal.h"

typedef struct ZSTD_CCtx_s ZSTD_CCtx;
typedef struct ZSTD_DCtx_s ZSTD_DCtx;

namespace metastore::net {

inline constexpr size_t kPeerFrameHeaderBytes = 32;
// Content of one frame, raw or stored: one batch of the largest raft message and its slack.
inline constexpr size_t kPeerFrameBytesMax = 16 * limits::kMiB;
// Smaller contents are never compressed.
inline constexpr size_t kPeerCompressFrom = limits::kKiB;

enum class PeerCompression : uint8_t {
  kOff,
  kFast,   // a negative zstd level: costs little where the network is quick
  kDense,  // zstd level 3
};

// Of one direction; bytes are contents, without frame headers.
struct PeerFrameStats {
  uint64_t frames = 0;
  uint64_t raw_bytes = 0;
  uint64_t stored_bytes = 0;
  uint64_t compress_ns = 0;
};

// Makes frames of one direction of one stream.
class PeerFrameEncoder final {
 public:
  // `clock` outlives it and measures compress_ns, which stays 0 without.
  explicit PeerFrameEncoder(PeerCompression compression, const io::TimerService* clock = nullptr);
  ~PeerFrameEncoder();

  // Appends the frame for `body`, at most kPeerFrameBytesMax (CHECKed), to `out`.
  void Encode(uint16_t type, std::string_view body, std::string& out);
  // The same without copying the body, which lies in `frame` behind kPeerFrameHeaderBytes of room.
  // Returns the frame: all of `frame`, or, where compression made it shorter, of `scratch`.
  std::string_view EncodeInPlace(uint16_t type, std::string& frame, std::string& scratch);
  const PeerFrameStats& stats() const { return stats_; }

 private:
  bool Compress(std::string_view body, std::string& out);
  void Seal(char* header, uint16_t type, size_t raw_bytes, std::string_view stored);

  const io::TimerService* const clock_;
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> zstd_;  // null: never compresses
  uint64_t sequence_ = 0;
  PeerFrameStats stats_;
};

struct PeerFrame {
  uint16_t type = 0;
  std::string_view body;
};

// Takes frames off the bytes of one direction, in whatever pieces they come.
class PeerFrameDecoder final {
 public:
  PeerFrameDecoder();
  ~PeerFrameDecoder();

  // Contents beyond `bytes` are refused from now on; kPeerFrameBytesMax at first.
  void set_body_bytes_max(size_t bytes) { body_bytes_max_ = bytes; }
  // Takes `bytes` behind what it holds. Holds at most one frame and what was received with it.
  void Add(std::string_view bytes);
  // The next whole frame, valid until the next call; false: more bytes are needed. Bytes that
  // cannot become a frame are refused as soon as they are seen, before memory is taken for them.
  // Errors: kDataLoss       a checksum, length or sequence is wrong: the stream must end
  //         kUnimplemented  a version or codec this build does not know
  StatusOr<bool> Next(PeerFrame& frame);

 private:
  Status CheckHeader(std::string_view header) const;
  StatusOr<std::string_view> Decompress(std::string_view stored, size_t raw_bytes);
  Status Damaged(std::string_view what) const;

  size_t body_bytes_max_ = kPeerFrameBytesMax;
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> zstd_;
  std::string held_;
  size_t taken_ = 0;  // of held_: given out already
  std::string raw_;   // of the last compressed frame
  uint64_t sequence_ = 0;
};

}  // namespace metastore::net
