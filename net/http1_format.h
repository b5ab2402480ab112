// HTTP/1.1 responses as bytes (RFC 9112 section 4). Pure.
#pragma once

#include <string>

#include "io/base/time.h"
#include "net/http1.h"

namespace metastore::net {

struct HttpFraming {
  bool keep_alive = true;  // else "Connection: close"
  bool head = false;       // HEAD: the body's length without the body
  bool http_1_0 = false;   // a 1.0 client has to be told that the connection stays
  WallTime now;            // of the Date header
};

// Status line, headers and body of `response`. Header names and values are the handler's and
// trusted but for line breaks, which are dropped with the rest of the value (no response
// splitting).
std::string FormatHttpResponse(const HttpResponse& response, const HttpFraming& framing);

// RFC 9110 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT". Years 1970 to 9999.
std::string FormatHttpDate(WallTime time);

}  // namespace metastore::net
