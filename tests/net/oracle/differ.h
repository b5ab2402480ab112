// Two sessions, ours and nghttp2's, get the same bytes of a client; what they say to their listener
// and send to the client has to be the same.
//
// nghttp2 gets whole frames and is pumped after each. Ours gets the same bytes in any cut: within
// frames, pumped where a frame ends; or across frames, pumped at any time, with a listener that
// never answers, since what an answer meets depends on when it is sent.
//
// Compared: the fault; each stream's headers, body, end and close; what was sent, frame by frame
// where that is one thing to say (resets, pings, settings), else by what it amounts to (decoded
// headers, bodies, sums of window updates). After a fault only the GOAWAY counts of what was sent.
//
// Not compared, since it is known to differ: a last frame that is not whole; CONTINUATION frames
// beyond 16 KiB, which nghttp2 lets pass; a DATA frame that breaks its stream's window, which it
// delivers before it resets the stream.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace metastore::net_test {

struct DifferOptions {
  uint64_t seed = 0;  // of the cuts
  uint8_t habit = 0;  // of the listener: what it does with which stream
  bool across_frames = false;
  bool shut_down = false;   // before the client's bytes
  bool acknowledge = true;  // our SETTINGS, right after the greeting
};

// `bytes` follow a preface and an empty SETTINGS. Returns the first difference; empty: none.
std::string DifferenceOfSessions(std::string_view bytes, const DifferOptions& options);

// Frames as a client may or may not send them, mostly well-formed.
std::string RandomFrames(uint64_t seed, size_t frames);

}  // namespace metastore::net_test
