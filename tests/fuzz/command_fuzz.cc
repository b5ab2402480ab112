// Fuzz target: bytes as a raft entry. Whatever they are, decoding and applying them must neither
// crash nor depend on anything but the bytes; what is accepted must survive being encoded again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/command.h"
#include "engine/memory_engine.h"
#include "engine/txn_check.h"
#include "io/base/check.h"

namespace metastore::engine {
namespace {

void Fill(Engine& engine) {
  uint64_t index = 0;
  for (const std::string_view key : {"a", "b", "c", "key"}) {
    PutOp put;
    put.key = key;
    put.value = key;
    const std::string command = EncodePut({}, put);
    engine.Apply({.index = LogIndex(++index), .command = command});
  }
  Command grant;
  grant.op = LeaseGrantOp{.lease = LeaseId(1), .ttl_seconds = 1};
  const std::string command = EncodeCommand(grant);
  engine.Apply({.index = LogIndex(++index), .command = command});
  Command checkpoint;
  checkpoint.op = LeaseCheckpointOp{.checkpoints = {{LeaseId(1), 1}, {LeaseId(2), 1}}};
  const std::string second = EncodeCommand(checkpoint);
  engine.Apply({.index = LogIndex(++index), .command = second});
}

void One(std::string_view bytes) {
  const StatusOr<Command> command = DecodeCommand(bytes);
  if (command.ok()) {
    const std::string again = EncodeCommand(*command);
    const StatusOr<Command> second = DecodeCommand(again);
    CHECK(second.ok());
    CHECK(EncodeCommand(*second) == again);
    CHECK(DecodeCommandHeader(bytes).ok());
    if (const auto* txn = std::get_if<TxnOp>(&command->op)) CheckTxn(*txn, 128);
  }
  const auto one = MakeMemoryEngine({.hash_seed = 1});
  const auto other = MakeMemoryEngine({.hash_seed = 2});
  Outcome outcomes[2] = {};
  size_t i = 0;
  for (Engine* engine : {one.get(), other.get()}) {
    Fill(*engine);
    outcomes[i++] =
        engine->Apply({.index = engine->stats().applied_index + 1, .command = bytes}).outcome;
  }
  CHECK(outcomes[0] == outcomes[1]);
  CHECK_EQ(one->stats().revision, other->stats().revision);
  CHECK_EQ(one->stats().stored_bytes, other->stats().stored_bytes);
}

}  // namespace
}  // namespace metastore::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  metastore::engine::One({reinterpret_cast<const char*>(data), size});
  return 0;
}
