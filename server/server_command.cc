#include "server/server_command.h"

#include "io/base/coding.h"

namespace metastore::server {
namespace {

constexpr uint8_t kDigestVersion = 1;

std::string EncodeHead(ServerOpKind kind, const engine::RequestId& request) {
  std::string bytes;
  PutU8(bytes, engine::kCommandFormat);
  PutU8(bytes, static_cast<uint8_t>(kind));
  PutU8(bytes, 0);
  PutU64(bytes, request.node.value());
  PutU32(bytes, request.boot);
  PutU64(bytes, request.counter);
  return bytes;
}

}  // namespace

bool IsServerCommand(std::string_view command) {
  return command.size() >= 2 && static_cast<uint8_t>(command[1]) >= kServerOpKindMin;
}

std::string EncodePublishMember(const engine::RequestId& request,
                                const MemberAttributes& attributes) {
  return EncodeHead(ServerOpKind::kPublishMember, request) + EncodeMemberAttributes(attributes);
}

std::string EncodeCompare(const engine::RequestId& request) {
  std::string bytes = EncodeHead(ServerOpKind::kCompare, request);
  PutU8(bytes, kDigestVersion);
  return bytes;
}

StatusOr<ServerCommand> DecodeServerCommand(std::string_view command) {
  Reader reader(command);
  const uint8_t format = reader.U8();
  const uint8_t kind = reader.U8();
  const uint8_t flags = reader.U8();
  ServerCommand decoded;
  decoded.request.node = NodeId(reader.U64());
  decoded.request.boot = reader.U32();
  decoded.request.counter = reader.U64();
  if (!reader.ok() || flags != 0) return InvalidArgumentError("malformed server command");
  decoded.kind = static_cast<ServerOpKind>(kind);
  if (format == engine::kCommandFormat && decoded.kind == ServerOpKind::kPublishMember) {
    StatusOr<MemberAttributes> attributes = DecodeMemberAttributes(reader.rest());
    if (!attributes.ok()) return InvalidArgumentError("malformed member publication");
    decoded.attributes = *std::move(attributes);
    return decoded;
  }
  if (format == engine::kCommandFormat && decoded.kind == ServerOpKind::kCompare) {
    const uint8_t version = reader.U8();
    if (!reader.done()) return InvalidArgumentError("malformed comparison");
    if (version == kDigestVersion) return decoded;
    return UnimplementedError("a comparison of digests of version ", version);
  }
  return UnimplementedError("server command of format ", format, ", kind ", kind);
}

}  // namespace metastore::server
