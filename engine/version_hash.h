// The hash of one version, as it goes into digests of the state: equal on equal replicas.
#pragma once

#include "engine/key_record.h"
#include "io/base/coding.h"
#include "io/base/hash.h"

namespace metastore::engine {

// Of everything in `version` but its key, which `seed` stands for.
inline uint64_t HashVersion(const Version& version, uint64_t seed) {
  char fields[37];
  StoreU64(fields, static_cast<uint64_t>(version.main.value()));
  StoreU32(fields + 8, static_cast<uint32_t>(version.sub));
  fields[12] = version.tombstone ? 1 : 0;
  StoreU64(fields + 13, static_cast<uint64_t>(version.create.value()));
  StoreU64(fields + 21, static_cast<uint64_t>(version.version));
  StoreU64(fields + 29, static_cast<uint64_t>(version.lease.value()));
  return Hash64(version.value.view(), Hash64(std::string_view(fields, sizeof fields), seed));
}

}  // namespace metastore::engine
