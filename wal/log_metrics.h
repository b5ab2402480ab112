// What the log measures of every durable write, as histograms since Open. Owned by the Writer, on
// its core.
#pragma once

#include "io/metrics.h"

namespace metastore::wal {

// Spans of a frame's life: finer steps than etcd's up to a millisecond, etcd's from there.
inline constexpr Duration kFlushBounds[] = {
    Microseconds(50),   Microseconds(75),   Microseconds(100),  Microseconds(125),
    Microseconds(150),  Microseconds(200),  Microseconds(300),  Microseconds(400),
    Microseconds(600),  Microseconds(800),  Milliseconds(1),    Milliseconds(2),
    Milliseconds(4),    Milliseconds(8),    Milliseconds(16),   Milliseconds(32),
    Milliseconds(64),   Milliseconds(128),  Milliseconds(256),  Milliseconds(512),
    Milliseconds(1024), Milliseconds(2048), Milliseconds(4096), Milliseconds(8192)};
inline constexpr int64_t kFrameBytesBounds[] = {4096,    8192,      16'384,    32'768,
                                                65'536,  131'072,   262'144,   524'288,
                                                1048576, 2'097'152, 4'194'304, 8'388'608};
inline constexpr int64_t kFrameRequestsBounds[] = {0,  1,   2,   4,   8,    16,   32,
                                                   64, 128, 256, 512, 1024, 2048, 4096};

struct LogMetrics {
  io::Histogram gather{kFlushBounds};  // from a frame's first record to its submission
  io::Histogram flush{kFlushBounds};   // from submission until it is durable
  io::Histogram frame_bytes{kFrameBytesBounds};
  io::Histogram frame_requests{kFrameRequestsBounds};  // client requests in a frame
};

}  // namespace metastore::wal
