// The memory engine's DigestSource.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace metastore::engine {

class MemoryEngine;

std::unique_ptr<DigestSource> MakeMemoryDigestSource(MemoryEngine& engine);

}  // namespace metastore::engine
