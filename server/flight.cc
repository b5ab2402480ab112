#include "server/flight.h"

#include "io/base/coding.h"
#include "server/mutation.h"

namespace metastore::server {
namespace {

constexpr uint8_t kHardStateWithRepair = 3;
constexpr uint8_t kHardStateVersion = 2;
constexpr uint8_t kHardStateWithoutIncarnation = 1;
constexpr uint8_t kSnapshotMetaVersion = 1;

}  // namespace

std::string EncodeHardState(const DurableState& state) {
  std::string bytes;
  const bool repair = state.repair_term != Term();
  PutU8(bytes, repair ? kHardStateWithRepair : kHardStateVersion);
  PutU64(bytes, state.raft.term.value());
  PutU64(bytes, state.raft.vote.value());
  PutU64(bytes, state.raft.commit.value());
  PutU64(bytes, state.incarnation);
  if (repair) PutU64(bytes, state.repair_term.value());
  return bytes;
}

StatusOr<DurableState> DecodeHardState(std::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  DurableState state;
  state.raft.term = Term(reader.U64());
  state.raft.vote = NodeId(reader.U64());
  state.raft.commit = LogIndex(reader.U64());
  if (version >= kHardStateVersion) state.incarnation = reader.U64();
  if (version == kHardStateWithRepair) state.repair_term = Term(reader.U64());
  const bool known = version >= kHardStateWithoutIncarnation && version <= kHardStateWithRepair;
  if (!reader.done() || !known) return DataLossError("malformed hard state");
  return state;
}

size_t RecordsOf(Flight& flight, DurableState own, size_t bytes_max,
                 std::vector<wal::Record>& records) {
  records.clear();
  const raft::AppendTask& task = flight.task;
  const bool first = flight.appended == 0;
  const bool skipped = Mutated(Mutation::kHardStateSkipped) && !task.entries.empty();
  if (first && task.hard_state.has_value() && !skipped) {
    own.raft = *task.hard_state;
    flight.hard_state = EncodeHardState(own);
    records.push_back(wal::Record{.kind = wal::RecordKind::kHardState,
                                  .term = task.hard_state->term,
                                  .index = task.hard_state->commit,
                                  .bytes = flight.hard_state});
  }
  if (first && task.snapshot != nullptr) {
    // The file has everything else of it; this record is what puts it in effect.
    flight.snapshot_meta.assign(1, static_cast<char>(kSnapshotMetaVersion));
    records.push_back(wal::Record{.kind = wal::RecordKind::kSnapshotMeta,
                                  .term = task.snapshot->last.term,
                                  .index = task.snapshot->last.index,
                                  .bytes = flight.snapshot_meta});
  }
  size_t at = flight.appended;
  for (size_t bytes = 0; at < task.entries.size() && bytes < bytes_max; ++at) {
    const raft::Entry& entry = task.entries[at];
    bytes += raft::EntryBytes(entry);
    records.push_back(wal::Record{.kind = wal::RecordKind::kEntry,
                                  .tag = static_cast<uint8_t>(entry.type),
                                  .term = entry.term,
                                  .index = entry.index,
                                  .bytes = entry.payload.view()});
  }
  return at;
}

}  // namespace metastore::server
