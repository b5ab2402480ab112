#include "net/http2_session.h"

#include "io/base/check.h"

namespace metastore::net {

std::string_view FaultName(Http2Fault fault) {
  switch (fault) {
    case Http2Fault::kNone:
      return "none";
    case Http2Fault::kPreface:
      return "preface";
    case Http2Fault::kProtocol:
      return "protocol";
    case Http2Fault::kFrameSize:
      return "frame_size";
    case Http2Fault::kFlowControl:
      return "flow_control";
    case Http2Fault::kCompression:
      return "compression";
    case Http2Fault::kHeaderFlood:
      return "header_flood";
    case Http2Fault::kResetFlood:
      return "reset_flood";
    case Http2Fault::kSettingsFlood:
      return "settings_flood";
    case Http2Fault::kPingFlood:
      return "ping_flood";
    case Http2Fault::kEmptyFrameFlood:
      return "empty_frame_flood";
    case Http2Fault::kBadStreamFlood:
      return "bad_stream_flood";
    case Http2Fault::kKeepaliveTimeout:
      return "keepalive_timeout";
    case Http2Fault::kMemory:
      return "memory";
  }
  CHECK_UNREACHABLE();
}

}  // namespace metastore::net
