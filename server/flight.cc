#include "server/flight.h"

#include "io/base/coding.h"

namespace metastore::server {
namespace {

constexpr uint8_t kHardStateVersion = 1;

}  // namespace

std::string EncodeHardState(const raft::HardState& state) {
  std::string bytes;
  PutU8(bytes, kHardStateVersion);
  PutU64(bytes, state.term.value());
  PutU64(bytes, state.vote.value());
  PutU64(bytes, state.commit.value());
  return bytes;
}

StatusOr<raft::HardState> DecodeHardState(std::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  raft::HardState state;
  state.term = Term(reader.U64());
  state.vote = NodeId(reader.U64());
  state.commit = LogIndex(reader.U64());
  if (!reader.done() || version != kHardStateVersion) return DataLossError("malformed hard state");
  return state;
}

void RecordsOf(Flight& flight, std::vector<wal::Record>& records) {
  records.clear();
  const raft::AppendTask& task = flight.task;
  // A snapshot from a leader comes only with peers, which the configuration refuses so far.
  CHECK(task.snapshot == nullptr);
  if (task.hard_state.has_value()) {
    flight.hard_state = EncodeHardState(*task.hard_state);
    records.push_back(wal::Record{.kind = wal::RecordKind::kHardState,
                                  .term = task.hard_state->term,
                                  .index = task.hard_state->commit,
                                  .bytes = flight.hard_state});
  }
  for (const raft::Entry& entry : task.entries) {
    records.push_back(wal::Record{.kind = wal::RecordKind::kEntry,
                                  .tag = static_cast<uint8_t>(entry.type),
                                  .term = entry.term,
                                  .index = entry.index,
                                  .bytes = entry.payload.view()});
  }
}

}  // namespace metastore::server
