// Every cap of net/, with unit and reason. What one connection may cost follows from these (net/README.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/base/limits.h"

namespace metastore::net_limits {

using limits::kKiB;
using limits::kMiB;

// --- HTTP/2 ---------------------------------------------------------------------------------------------------------
inline constexpr uint32_t kStreamsMax = 16384;            // concurrent calls a connection; one client may well hold 10,000
inline constexpr size_t kHeaderListBytesMax = 64 * kKiB;  // RFC 9113 6.5.2's measure; tokens fit, floods do not
inline constexpr size_t kContinuationsMax = 8;            // a block of kHeaderListBytesMax in 16 KiB frames, twice
inline constexpr int32_t kStreamWindowBytes = 1 << 20;    // unread bytes a stream; 1 MiB in a 1 ms round trip = 1 GB/s
inline constexpr int32_t kConnectionWindowBytes = 4 << 20;   // in the network only: opened as soon as bytes are parsed
inline constexpr size_t kOutputBytesHigh = 256 * kKiB;    // framed, not yet sent: above it framing and reading stop
inline constexpr size_t kControlFramesQueuedMax = 1000;   // answers to pings and settings that wait for that
inline constexpr size_t kOutputKeptBytes = 64 * kKiB;     // a larger buffer is freed when it runs empty

// --- floods: tokens a connection has, and gets back a second; running out ends it with ENHANCE_YOUR_CALM --------------
inline constexpr uint32_t kResetBurst = 2000;             // calls the peer cancels; a deadline storm must pass
inline constexpr uint32_t kResetPerSecond = 200;
inline constexpr uint32_t kSettingsBurst = 32;            // clients send one or two in a connection's life
inline constexpr uint32_t kSettingsPerSecond = 1;
inline constexpr uint32_t kEmptyFrameBurst = 1000;        // DATA without bytes or end, PRIORITY
inline constexpr uint32_t kEmptyFramePerSecond = 100;
inline constexpr uint32_t kBadStreamBurst = 1000;         // streams that we must reset: malformed or over a limit
inline constexpr uint32_t kBadStreamPerSecond = 10;
inline constexpr int kPingStrikesMax = 2;                 // as grpc-go

// --- gRPC -----------------------------------------------------------------------------------------------------------
inline constexpr size_t kUnsentReplyBytesHigh = 8 * kMiB;    // a connection's unsent replies: above it no call begins
inline constexpr size_t kStreamUnsentBytesMax = 64 * kKiB;   // a stream's unsent messages before Write waits
inline constexpr size_t kStatusMessageBytesMax = 4 * kKiB;   // of grpc-message, encoded; longer is cut
inline constexpr size_t kCallsPooledMax = 1024;              // idle call objects kept a connection... while it is busy

// --- HTTP/1 ---------------------------------------------------------------------------------------------------------
inline constexpr size_t kHttpHeaderBytesMax = 64 * kKiB;  // request line and headers, and trailers
inline constexpr size_t kHttpHeadersMax = 256;            // header lines
inline constexpr size_t kChunkLineBytesMax = 256;         // a chunk's size line with its extensions

static_assert(kContinuationsMax * 16 * kKiB >= kHeaderListBytesMax);

}  // namespace metastore::net_limits
