#include "raft/conf_change.h"

#include "io/base/coding.h"
#include "io/base/limits.h"

namespace metastore::raft {
namespace {

constexpr uint8_t kFormatVersion = 1;
constexpr size_t kStepBytes = 1 + sizeof(uint64_t);

}  // namespace

Payload EncodeConfChange(const ConfChange& change) {
  if (change.LeavesJoint() && change.context.empty()) return Payload();
  std::string bytes;
  bytes.reserve(16 + change.steps.size() * kStepBytes + change.context.size());
  PutU8(bytes, kFormatVersion);
  PutU8(bytes, static_cast<uint8_t>(change.transition));
  PutVarint(bytes, change.steps.size());
  for (const ConfChangeStep& step : change.steps) {
    PutU8(bytes, static_cast<uint8_t>(step.kind));
    PutU64(bytes, step.node.value());
  }
  PutBytes(bytes, change.context);
  return Payload(bytes);
}

StatusOr<ConfChange> DecodeConfChange(const Payload& payload) {
  ConfChange change;
  if (payload.empty()) return change;
  Reader reader(payload.view());
  const uint8_t version = reader.U8();
  const uint8_t transition = reader.U8();
  const uint64_t count = reader.Varint();
  if (!reader.ok() || version != kFormatVersion) {
    return InvalidArgumentError("conf change: unknown format version ", int{version});
  }
  if (transition > static_cast<uint8_t>(ConfTransition::kJointExplicit)) {
    return InvalidArgumentError("conf change: unknown transition ", int{transition});
  }
  if (count > reader.rest().size() / kStepBytes) {
    return InvalidArgumentError("conf change: cut off, ", count, " steps announced");
  }
  change.transition = static_cast<ConfTransition>(transition);
  for (uint64_t i = 0; i < count; ++i) {
    const uint8_t kind = reader.U8();
    if (kind > static_cast<uint8_t>(ConfChangeKind::kAddLearner)) {
      return InvalidArgumentError("conf change: unknown kind of step ", int{kind});
    }
    change.steps.push_back({static_cast<ConfChangeKind>(kind), NodeId(reader.U64())});
  }
  change.context = std::string(reader.LengthPrefixed());
  if (!reader.done()) return InvalidArgumentError("conf change: malformed context");
  return change;
}

}  // namespace metastore::raft
