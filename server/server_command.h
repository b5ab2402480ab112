// Commands of the server's own in the replicated log: what members say about themselves, and when
// they compare their states. They share
// the engine's command header (engine/command.h) and use op kinds from 16 on, which the engine
// leaves to the server; to the engine such an entry is an empty one.
//
// Layout: u8 format version | u8 op kind | u8 flags (0) | u64 node id | u32 boot count | u64
// counter | body.
#pragma once

#include <string>
#include <string_view>

#include "engine/command.h"
#include "io/base/status.h"
#include "server/members.h"

namespace metastore::server {

// On disk and on the wire for ever: values are never reused.
enum class ServerOpKind : uint8_t {
  kPublishMember = 16,  // body: MemberAttributes
  kCompare = 17,        // body: u8 version (1): of what a digest covers
};
inline constexpr uint8_t kServerOpKindMin = 16;

struct ServerCommand {
  ServerOpKind kind = ServerOpKind::kPublishMember;
  engine::RequestId request;
  MemberAttributes attributes;  // kPublishMember
};

// Whether an entry's command is the server's to apply.
bool IsServerCommand(std::string_view command);
std::string EncodePublishMember(const engine::RequestId& request,
                                const MemberAttributes& attributes);
// All members take the digest of their state as it is at this entry (group_digest.cc).
std::string EncodeCompare(const engine::RequestId& request);
// Errors: kInvalidArgument   malformed
//         kUnimplemented     a format version, kind or digest version this build does not know
StatusOr<ServerCommand> DecodeServerCommand(std::string_view command);

}  // namespace metastore::server
