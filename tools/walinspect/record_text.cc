#include "tools/walinspect/record_text.h"

#include <variant>

#include "engine/command.h"
#include "io/base/check.h"
#include "io/log.h"
#include "server/flight.h"
#include "server/server_command.h"
#include "tools/walinspect/filter.h"

namespace metastore::walinspect {
namespace {

constexpr uint8_t kNormalEntry = 0;

std::string KeyRange(std::string_view key, std::string_view range_end) {
  std::string text = Concat("key=", Printable(key));
  if (!range_end.empty()) text += Concat(" range_end=", Printable(range_end));
  return text;
}

std::string OpText(const engine::PutOp& put) {
  std::string text = Concat("put ", KeyRange(put.key, ""), " value_bytes=", put.value.size());
  if (put.lease != LeaseId()) text += Concat(" lease=", put.lease.value());
  if (put.ignore_value) text += " ignore_value";
  if (put.ignore_lease) text += " ignore_lease";
  return text;
}
std::string OpText(const engine::DeleteRangeOp& erase) {
  return Concat("delete_range ", KeyRange(erase.key, erase.range_end));
}
std::string OpText(const engine::RangeOp& range) {
  return Concat("range ", KeyRange(range.key, range.range_end));
}
std::string OpText(const engine::CompactOp& compact) {
  return Concat("compact revision=", compact.revision.value());
}
std::string OpText(const engine::LeaseGrantOp& grant) {
  return Concat("lease_grant lease=", grant.lease.value(), " ttl_s=", grant.ttl_seconds);
}
std::string OpText(const engine::LeaseRevokeOp& revoke) {
  return Concat("lease_revoke lease=", revoke.lease.value());
}
std::string OpText(const engine::LeaseCheckpointOp& op) {
  return Concat("lease_checkpoint leases=", op.checkpoints.size());
}
std::string OpText(const engine::TxnOp& txn) {
  std::string text = Concat("txn compares=", txn.compares.size());
  for (const auto* branch : {&txn.success, &txn.failure}) {
    text += branch == &txn.success ? " then {" : " else {";
    for (const engine::Op& op : *branch) {
      text += std::visit([](const auto& inner) { return Concat(" ", OpText(inner), ";"); }, op.op);
    }
    text += " }";
  }
  return text;
}

struct Meaning {
  std::string text;  // what the record says, in words; empty: nothing more than its fields
  std::string request;
};

std::string RequestText(const engine::RequestId& id) {
  return Concat(absl::Hex(id.node.value()), "/", id.boot, "/", id.counter);
}

Meaning MeaningOfServerCommand(std::string_view bytes) {
  const StatusOr<server::ServerCommand> command = server::DecodeServerCommand(bytes);
  if (!command.ok()) {
    return {Concat("not a command: ", StdView(command.status().message())), ""};
  }
  if (command->kind == server::ServerOpKind::kCompare) {
    return {"compare the states of members", RequestText(command->request)};
  }
  const server::MemberAttributes& member = command->attributes;
  std::string text =
      Concat("publish_member id=", absl::Hex(member.id.value()), " name=", member.name);
  for (const std::string& url : member.client_urls) text += Concat(" client_url=", url);
  return {std::move(text), RequestText(command->request)};
}

Meaning MeaningOfEntry(const wal::Record& record) {
  if (record.tag != kNormalEntry) return {Concat("conf_change type=", int{record.tag}), ""};
  if (record.bytes.empty()) return {"empty (begins a term)", ""};
  if (server::IsServerCommand(record.bytes)) return MeaningOfServerCommand(record.bytes);
  const StatusOr<engine::Command> command = engine::DecodeCommand(record.bytes);
  if (!command.ok()) {
    return {Concat("not a command: ", StdView(command.status().message())), ""};
  }
  Meaning meaning;
  meaning.request = RequestText(command->header.request);
  meaning.text = std::visit([](const auto& op) { return OpText(op); }, command->op);
  const LogIndex leases_until = command->header.leases_until;
  if (leases_until != LogIndex()) meaning.text += Concat(" granted_until=", leases_until.value());
  return meaning;
}

Meaning MeaningOf(const wal::Record& record) {
  if (wal::IsEntryKind(record.kind)) return MeaningOfEntry(record);
  if (record.kind == wal::RecordKind::kHardState) {
    const StatusOr<server::DurableState> state = server::DecodeHardState(record.bytes);
    if (!state.ok()) return {std::string(state.status().message()), ""};
    std::string text =
        Concat("term=", state->raft.term.value(), " vote=", absl::Hex(state->raft.vote.value()),
               " commit=", state->raft.commit.value());
    if (state->repair_term != Term()) text += Concat(" repair=", state->repair_term.value());
    return {std::move(text), ""};
  }
  if (record.kind == wal::RecordKind::kGroupState) {
    wal::GroupState state;
    if (!wal::DecodeGroupState(record.bytes, state)) return {"malformed group state", ""};
    return {Concat("purged=", state.purged.term.value(), "/", state.purged.index.value(),
                   " last=", state.last.value()),
            ""};
  }
  return {};
}

std::string JsonLine(const PlacedRecord& placed) {
  const auto& [logged, frame, file] = placed;
  const wal::Record& record = logged.record;
  const Meaning meaning = MeaningOf(record);
  return Concat("{",
                io::JsonFields({{"schema", "walinspect.record/1"},
                                {"lsn", frame.lsn.value()},
                                {"epoch", frame.epoch.value()},
                                {"file", file},
                                {"segment", frame.segment.value()},
                                {"offset", uint64_t{frame.block} * wal::kBlockBytes},
                                {"time", FormatTime(frame.submit_wall)},
                                {"group", logged.group.value()},
                                {"sequence", logged.sequence},
                                {"kind", KindText(record.kind)},
                                {"tag", int{record.tag}},
                                {"term", record.term.value()},
                                {"index", record.index.value()},
                                {"bytes", record.bytes.size()},
                                {"request", meaning.request},
                                {"meaning", meaning.text}}),
                "}\n");
}

std::string HexLines(std::string_view bytes) {
  constexpr size_t kPerLine = 16;
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += kPerLine) {
    const std::string_view line = bytes.substr(at, kPerLine);
    text += Concat("    ", absl::Hex(at, absl::kZeroPad8), " ");
    for (char c : line) {
      const auto byte = static_cast<unsigned char>(c);
      text += ' ';
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
    text.append((kPerLine - line.size()) * 3 + 2, ' ');
    for (char c : line) text += c >= ' ' && c <= '~' ? c : '.';
    text += '\n';
  }
  return text;
}

}  // namespace

std::string_view KindText(wal::RecordKind kind) {
  switch (kind) {
    case wal::RecordKind::kEntry:
      return "entry";
    case wal::RecordKind::kRewrite:
      return "rewrite";
    case wal::RecordKind::kHardState:
      return "hard_state";
    case wal::RecordKind::kSnapshotMeta:
      return "snapshot_meta";
    case wal::RecordKind::kTruncate:
      return "truncate";
    case wal::RecordKind::kPurge:
      return "purge";
    case wal::RecordKind::kHealed:
      return "healed";
    case wal::RecordKind::kGroupState:
      return "group_state";
  }
  CHECK_UNREACHABLE();
}

std::string Printable(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (char c : bytes) {
    if (c > ' ' && c <= '~' && c != '\\') {
      text += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string FrameLine(const wal::FrameHeader& header, std::string_view file) {
  std::string text =
      Concat("frame lsn=", header.lsn.value(), " epoch=", header.epoch.value(), " file=", file,
             " offset=", uint64_t{header.block} * wal::kBlockBytes, " bytes=", header.frame_bytes,
             " records=", header.record_count, " requests=", header.requests,
             " durable=", header.durable.value(), " time=", FormatTime(header.submit_wall),
             " gather_us=", header.gather_us);
  for (size_t i = 0; i < header.trace_count; ++i) {
    text += Concat(" flush[", header.traces[i].lsn.value(), "]_us=", header.traces[i].latency_us);
  }
  if ((header.flags & wal::kFrameStartsEpoch) != 0) text += " starts-epoch";
  if ((header.flags & wal::kFramePromiseOnly) != 0) text += " promise";
  if ((header.flags & wal::kFrameSealsSegment) != 0) text += " seals";
  return text + "\n";
}

std::string RecordLines(const PlacedRecord& placed, DumpFormat format) {
  if (format == DumpFormat::kJson) return JsonLine(placed);
  const wal::LoggedRecord& logged = placed.logged;
  const wal::Record& record = logged.record;
  const Meaning meaning = MeaningOf(record);
  std::string text = Concat("  group=", logged.group.value(), " seq=", logged.sequence, " ",
                            KindText(record.kind), " term=", record.term.value(),
                            " index=", record.index.value(), " bytes=", record.bytes.size());
  if (!meaning.request.empty()) text += Concat(" request=", meaning.request);
  if (!meaning.text.empty()) text += Concat(" | ", meaning.text);
  text += "\n";
  if (format == DumpFormat::kHex) text += HexLines(record.bytes);
  return text;
}

}  // namespace metastore::walinspect
