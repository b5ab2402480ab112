// What the transport itself reads of a request's headers. Pure.
#pragma once

#include <span>
#include <string_view>

#include "io/base/status.h"
#include "io/base/time.h"
#include "net/http2_session.h"
#include "net/metadata.h"

namespace metastore::net {

struct RequestHead {
  std::string_view path;  // of the headers given
  Duration timeout;
  bool has_timeout = false;
  int http_status = 200;  // to answer with where `status` is not OK
  Status status;          // why the request is refused; texts of grpc-go
};

// Reads the protocol's own headers and appends the others to `metadata` (":authority" and
// "user-agent" among them, as grpc-go's servers see them; "-bin" values decoded).
RequestHead ParseRequestHead(std::span<const Http2Header> headers, Metadata& metadata);

// "application/grpc", alone or followed by '+' or ';'.
bool IsGrpcContentType(std::string_view content_type);

}  // namespace metastore::net
