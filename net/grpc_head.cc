#include "net/grpc_head.h"

#include <array>
#include <utility>

#include "net/grpc_codec.h"

namespace metastore::net {
namespace {

// Protocol headers that are nobody's metadata and need no action.
constexpr std::array<std::string_view, 9> kSilent = {":scheme",
                                                     "te",
                                                     "grpc-accept-encoding",
                                                     "grpc-message-type",
                                                     "grpc-status",
                                                     "grpc-message",
                                                     "accept-encoding",
                                                     "content-length",
                                                     "grpc-status-details-bin"};

struct Found {
  std::string_view method;
  std::string_view content_type;
  std::string_view encoding;
  std::string_view timeout;
};

bool IsSilent(std::string_view name) {
  for (const std::string_view silent : kSilent) {
    if (name == silent) return true;
  }
  return false;
}

Status AddMetadata(const Http2Header& header, Metadata& metadata) {
  if (!header.name.ends_with("-bin")) {
    metadata.Add(header.name, header.value);
    return OkStatus();
  }
  StatusOr<std::string> decoded = DecodeBase64(header.value);
  if (!decoded.ok()) {
    return InternalError("malformed binary metadata \"", header.value, "\" in header \"",
                         header.name, "\": ", StdView(decoded.status().message()));
  }
  metadata.Add(header.name, *decoded);
  return OkStatus();
}

void Refuse(RequestHead& head, int http_status, Status status) {
  if (!head.status.ok()) return;
  head.http_status = http_status;
  head.status = std::move(status);
}

void Judge(RequestHead& head, const Found& found) {
  if (!IsGrpcContentType(found.content_type)) {
    Refuse(head, 415,
           InvalidArgumentError("invalid gRPC request content-type \"", found.content_type, "\""));
  }
  if (found.method != "POST") {
    Refuse(head, 405,
           InternalError("Received a HEADERS frame with :method \"", found.method,
                         "\" which should be POST"));
  }
  if (!found.encoding.empty() && found.encoding != "identity") {
    Refuse(head, 200,
           UnimplementedError("grpc: Decompressor is not installed for grpc-encoding \"",
                              found.encoding, "\""));
  }
  if (found.timeout.empty()) return;
  const StatusOr<Duration> timeout = ParseTimeout(found.timeout);
  if (!timeout.ok()) return Refuse(head, 400, timeout.status());
  head.timeout = *timeout;
  head.has_timeout = true;
}

}  // namespace

bool IsGrpcContentType(std::string_view content_type) {
  constexpr std::string_view kBase = "application/grpc";
  if (!content_type.starts_with(kBase)) return false;
  content_type.remove_prefix(kBase.size());
  return content_type.empty() || content_type.front() == '+' || content_type.front() == ';';
}

RequestHead ParseRequestHead(std::span<const Http2Header> headers, Metadata& metadata) {
  RequestHead head;
  Found found;
  for (const Http2Header& header : headers) {
    if (header.name == ":path") {
      head.path = header.value;
    } else if (header.name == ":method") {
      found.method = header.value;
    } else if (header.name == "content-type") {
      found.content_type = header.value;
    } else if (header.name == "grpc-timeout") {
      found.timeout = header.value;
    } else if (header.name == "grpc-encoding") {
      found.encoding = header.value;
    } else if (!IsSilent(header.name)) {
      const Status added = AddMetadata(header, metadata);
      if (!added.ok()) Refuse(head, 400, added);
    }
  }
  Judge(head, found);
  return head;
}

}  // namespace metastore::net
