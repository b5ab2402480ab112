// The Http2Session made of nghttp2's frame code: what Http2ServerSession is held against in tests,
// fuzzing and benchmarks. It adds flood limits on our clock, keepalive, a bounded output buffer,
// bodies sent without a copy into nghttp2, and one object a stream.
//
// nghttp2 queues what it frames later; its queues are bounded by: one response (headers, data,
// trailers) a stream, of which there are at most streams_max; kControlFramesQueuedMax answers to
// pings and settings (then: flood); one window update a stream and one reset a stream.
#pragma once

#include <memory>

#include "net/http2_session.h"

namespace metastore::net {

// `listener` outlives the session. `now` is the time of the connection's birth.
std::unique_ptr<Http2Session> MakeNghttp2Session(Http2Listener& listener,
                                                 const Http2Options& options, MonoTime now);

}  // namespace metastore::net
