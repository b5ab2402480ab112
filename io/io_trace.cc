#include "io/io_trace.h"

#include "io/base/check.h"
#include "io/base/coding.h"
#include "io/base/hash.h"

namespace metastore::io {
namespace {

constexpr std::string_view kMagic = "MSIOTRAC";
constexpr uint32_t kVersion = 1;
constexpr size_t kFieldBytes = 4 + 4 + 5 * 8 + 4 + 4;
constexpr size_t kHashBytes = 8;

uint64_t HashOf(std::string_view record, uint64_t place) {
  return Hash64(record, MixSeed(place, kVersion));
}

bool IsKind(uint8_t kind) {
  return kind >= static_cast<uint8_t>(TraceKind::kBegin) &&
         kind <= static_cast<uint8_t>(TraceKind::kNote);
}

bool IsOp(uint8_t op) { return op <= static_cast<uint8_t>(TraceOp::kSyncDirectory); }

}  // namespace

std::string IoTraceHead() {
  std::string head(kMagic);
  PutU32(head, kVersion);
  PutU32(head, 0);
  return head;
}

void AppendTraceRecord(std::string& to, const TraceRecord& record, uint64_t place) {
  const size_t bytes = kFieldBytes + record.name.size() + record.data.size() + kHashBytes;
  CHECK_LE(bytes, kIoTraceRecordBytesMax);
  const size_t begin = to.size();
  to.reserve(begin + bytes);
  PutU32(to, static_cast<uint32_t>(bytes));
  PutU8(to, static_cast<uint8_t>(record.kind));
  PutU8(to, static_cast<uint8_t>(record.op));
  PutU8(to, record.mode);
  PutU8(to, static_cast<uint8_t>(record.code));
  PutU64(to, record.operation);
  PutU64(to, static_cast<uint64_t>(record.time.ns));
  PutU64(to, record.file);
  PutU64(to, record.offset);
  PutU64(to, record.size);
  PutU32(to, static_cast<uint32_t>(record.name.size()));
  PutU32(to, static_cast<uint32_t>(record.data.size()));
  to += record.name;
  to += record.data;
  PutU64(to, HashOf(std::string_view(to).substr(begin), place));
}

IoTraceReader::IoTraceReader(std::string_view trace) : trace_(trace) {
  const std::string head = IoTraceHead();
  if (trace.substr(0, kMagic.size()) != kMagic) {
    status_ = DataLossError("not a trace of disk operations");
  } else if (trace.substr(0, head.size()) != head) {
    status_ = DataLossError("a trace of another version than ", kVersion);
  }
}

bool IoTraceReader::Stop(std::string_view what) {
  status_ = DataLossError("trace, offset ", at_, ": ", what);
  return false;
}

bool IoTraceReader::Next(TraceRecord& record) {
  if (!status_.ok() || cut_off_ || at_ == trace_.size()) return false;
  const std::string_view rest = trace_.substr(at_);
  const size_t bytes = rest.size() < 4 ? kIoTraceRecordBytesMax : LoadU32(rest.data());
  if (bytes < kFieldBytes + kHashBytes || bytes > kIoTraceRecordBytesMax) {
    return Stop("a record of an impossible size");
  }
  if (bytes > rest.size()) {
    cut_off_ = true;
    return false;
  }
  const std::string_view body = rest.substr(0, bytes - kHashBytes);
  if (LoadU64(body.data() + body.size()) != HashOf(body, at_)) return Stop("a damaged record");
  const auto byte = [&body](size_t i) { return static_cast<uint8_t>(body[i]); };
  const auto word = [&body](size_t i) { return LoadU64(body.data() + 8 + 8 * i); };
  if (!IsKind(byte(4)) || !IsOp(byte(5))) return Stop("an unknown record");
  const size_t name_bytes = LoadU32(body.data() + 48);
  const size_t data_bytes = LoadU32(body.data() + 52);
  if (kFieldBytes + name_bytes + data_bytes != body.size()) return Stop("a malformed record");
  record = {.kind = static_cast<TraceKind>(byte(4)),
            .op = static_cast<TraceOp>(byte(5)),
            .mode = byte(6),
            .code = static_cast<StatusCode>(byte(7)),
            .operation = word(0),
            .time = {static_cast<int64_t>(word(1))},
            .file = word(2),
            .offset = word(3),
            .size = word(4),
            .name = body.substr(kFieldBytes, name_bytes),
            .data = body.substr(kFieldBytes + name_bytes)};
  at_ += bytes;
  return true;
}

}  // namespace metastore::io
