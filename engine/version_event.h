// The change that made a stored version, as it is told to others.
#pragma once

#include <optional>

#include "engine/key_record.h"
#include "engine/range_scan.h"

namespace metastore::engine {

// Without `previous`.
inline Event EventOf(const Version& version) {
  Event event;
  event.kind = version.tombstone ? EventKind::kDelete : EventKind::kPut;
  event.kv = MakeKeyValue(*version.record, version);
  return event;
}

// The pair as of the revision before: not of the change before in the same transaction.
inline std::optional<KeyValue> PreviousOf(const Version& version) {
  const Version* before = version.previous;
  while (before != nullptr && before->main == version.main) before = before->previous;
  if (before == nullptr || before->tombstone) return std::nullopt;
  return MakeKeyValue(*version.record, *before);
}

}  // namespace metastore::engine
