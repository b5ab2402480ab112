// Fuzz target: bytes as a snapshot stream. The first byte says how they are used: as the stream
// itself, or as the contents of its sections behind correct checksums, which random bytes would
// never get past.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/memory_engine.h"
#include "engine/snapshot_format.h"
#include "io/base/check.h"
#include "io/gate.h"

namespace metastore::engine {
namespace {

io::Task<void> Restore(Engine& engine, std::string_view stream, size_t piece_bytes) {
  const std::unique_ptr<SnapshotSink> sink = engine.StartRestore();
  for (size_t at = 0; at < stream.size(); at += piece_bytes) {
    const Status added = co_await sink->Add(stream.substr(at, piece_bytes));
    if (!added.ok()) co_return;
  }
  const StatusOr<SnapshotMeta> meta = co_await sink->Finish();
  if (!meta.ok()) co_return;
  // What was accepted is a state like any other.
  const uint64_t digest = co_await engine.Digest();
  CHECK_EQ(engine.stats().revision, meta->revision);
  Command compact;
  compact.op = CompactOp{.revision = meta->revision};
  const std::string command = EncodeCommand(compact);
  engine.Apply({.index = meta->applied_index + 1, .command = command});
  CHECK(digest != 0);
}

// Pieces of `bytes`, each led by its section and two bytes of length, as chunks of one stream.
std::string Sections(std::string_view bytes) {
  ChunkEncoder encoder;
  std::string stream;
  Reader in(bytes);
  while (!in.rest().empty()) {
    const auto section = static_cast<SnapshotSection>(in.U8() % 7);
    const size_t size = in.U16();
    stream += encoder.Encode(section, in.Bytes(std::min(size, in.rest().size())));
  }
  return stream;
}

void One(std::string_view bytes) {
  if (bytes.empty()) return;
  const bool wrapped = (bytes[0] & 1) != 0;
  bytes.remove_prefix(1);
  const std::string stream = wrapped ? Sections(bytes) : std::string(bytes);
  const auto engine = MakeMemoryEngine({.hash_seed = 1});
  io::Scheduler scheduler;
  io::Gate gate(scheduler);
  CHECK(gate.Spawn("fuzz", io::ReadyClass::kClient, Restore(*engine, stream, 100)));
  while (!scheduler.idle()) scheduler.RunTurn();
}

}  // namespace
}  // namespace metastore::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  metastore::engine::One({reinterpret_cast<const char*>(data), size});
  return 0;
}
