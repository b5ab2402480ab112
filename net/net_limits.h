// Every cap of net/, with unit and reason. What one connection may cost follows from these
// (net/README.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/base/limits.h"

namespace metastore::net_limits {

using limits::kKiB;
using limits::kMiB;

// --- HTTP/2 ------------------------------------------------------------------
// Concurrent calls a connection: one client may well hold 10,000.
inline constexpr uint32_t kStreamsMax = 16384;
// RFC 9113 6.5.2's measure of a request's headers: tokens fit, floods do not.
inline constexpr size_t kHeaderListBytesMax = 64 * kKiB;
// Frames after HEADERS: a block of kHeaderListBytesMax in 16 KiB frames, twice.
inline constexpr size_t kContinuationsMax = 8;
// Unread bytes a stream: 1 MiB in a 1 ms round trip is 1 GB/s.
inline constexpr int32_t kStreamWindowBytes = 1 << 20;
// In the network only: opened as soon as bytes are parsed.
inline constexpr int32_t kConnectionWindowBytes = 4 << 20;
// Framed, not yet sent: above it framing and reading stop.
inline constexpr size_t kOutputBytesHigh = 256 * kKiB;
// Answers to pings and settings that wait for that; more is a flood.
inline constexpr size_t kControlFramesQueuedMax = 1000;
// A larger send buffer is freed when it has been sent.
inline constexpr size_t kOutputKeptBytes = 64 * kKiB;

// --- floods ------------------------------------------------------------------
// Tokens a connection has, and gets back a second; running out ends it with ENHANCE_YOUR_CALM.
inline constexpr uint32_t kResetBurst = 2000;  // calls the peer cancels: a deadline storm must pass
inline constexpr uint32_t kResetPerSecond = 200;
inline constexpr uint32_t kSettingsBurst = 32;  // clients send one or two in a connection's life
inline constexpr uint32_t kSettingsPerSecond = 1;
inline constexpr uint32_t kEmptyFrameBurst = 1000;  // DATA without bytes or end, PRIORITY
inline constexpr uint32_t kEmptyFramePerSecond = 100;
inline constexpr uint32_t kBadStreamBurst = 1000;  // streams reset as malformed or over a limit
inline constexpr uint32_t kBadStreamPerSecond = 10;
inline constexpr int kPingStrikesMax = 2;  // as grpc-go

// --- gRPC --------------------------------------------------------------------
// A connection's unsent replies: above it no further unary call begins.
inline constexpr size_t kUnsentReplyBytesHigh = 8 * kMiB;
// A stream's unsent messages before Write waits.
inline constexpr size_t kStreamUnsentBytesMax = 64 * kKiB;
// Of grpc-message, encoded; longer is cut.
inline constexpr size_t kStatusMessageBytesMax = 4 * kKiB;
// Idle call objects a core keeps for reuse, about 0.5 KiB each and a message buffer.
inline constexpr size_t kCallsPooledMax = 1024;

// --- HTTP/1 ------------------------------------------------------------------
inline constexpr size_t kHttpHeaderBytesMax = 64 * kKiB;  // request line, headers and trailers
inline constexpr size_t kHttpHeadersMax = 256;            // header lines
inline constexpr size_t kChunkLineBytesMax = 256;         // a chunk's size line and extensions

static_assert(kContinuationsMax * 16 * kKiB >= kHeaderListBytesMax);

}  // namespace metastore::net_limits
