// The memory engine's SnapshotSource and SnapshotSink.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace metastore::engine {

class MemoryEngine;

std::unique_ptr<SnapshotSource> MakeMemorySnapshotSource(MemoryEngine& engine, SnapshotExtra extra);
std::unique_ptr<SnapshotSink> MakeMemorySnapshotSink(MemoryEngine& engine);

}  // namespace metastore::engine
