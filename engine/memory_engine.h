// MakeMemoryEngine: the engine that keeps everything in memory (--storage-engine=memory). It has no
// files of its own: the owner writes its snapshots (engine/snapshot_store.h) and replays the log
// from there.
//
// Structures and their costs: engine/README.md.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/engine.h"

namespace metastore::engine {

struct MemoryEngineOptions {
  // Of the point index; unpredictable in production, so that clients cannot make keys collide. No
  // effect on state.
  uint64_t hash_seed = 0;
};

// Empty: revision 1, applied index 0.
std::unique_ptr<Engine> MakeMemoryEngine(MemoryEngineOptions options);

}  // namespace metastore::engine
