// MakeMemoryEngine: the engine that keeps everything in memory (--storage-engine=memory). It has no
// files of its own: the owner writes its snapshots (engine/snapshot_store.h) and replays the log
// from there.
//
// Structures and their costs: engine/README.md.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/engine.h"
#include "engine/step_budget.h"

namespace metastore::engine {

struct MemoryEngineOptions {
  // Of the point index; unpredictable in production, so that clients cannot make keys collide. No
  // effect on state.
  uint64_t hash_seed = 0;
  // Ends the steps of long walks in time (engine/step_budget.h); outlives the engine. Null: counts
  // alone do. No effect on state or results.
  const io::TimerService* clock = nullptr;
  // Records and versions of one step, at least 2; tests make it small, so that every walk is cut
  // everywhere.
  size_t step_records = kStepRecords;
};

// Empty: revision 1, applied index 0.
std::unique_ptr<Engine> MakeMemoryEngine(MemoryEngineOptions options);

}  // namespace metastore::engine
