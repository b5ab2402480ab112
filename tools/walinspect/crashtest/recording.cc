#include "tools/walinspect/crashtest/recording.h"

#include <algorithm>
#include <utility>

namespace metastore::crashtest {
namespace {

StatusOr<Recording> Parse(std::string bytes, bool may_be_cut_off) {
  Recording recording;
  recording.bytes = std::make_shared<const std::string>(std::move(bytes));
  io::IoTraceReader reader(*recording.bytes);
  io::TraceRecord record;
  while (reader.Next(record)) recording.records.push_back(record);
  MS_RETURN_IF_ERROR(reader.status());
  if (reader.cut_off() && !may_be_cut_off) return DataLossError("the recording is cut off");
  return recording;
}

}  // namespace

Note NoteOf(const io::TraceRecord& record) {
  return record.kind == io::TraceKind::kNote ? static_cast<Note>(record.mode) : Note{};
}

io::TraceRecord MakeNote(Note note, MonoTime time) {
  return {.kind = io::TraceKind::kNote, .mode = static_cast<uint8_t>(note), .time = time};
}

StatusOr<Recording> ParseRecording(std::string bytes) { return Parse(std::move(bytes), false); }

StatusOr<Recording> ParseProcessTrace(std::string bytes) { return Parse(std::move(bytes), true); }

void RecordingWriter::Add(const Recording& process) {
  records_.insert(records_.end(), process.records.begin(), process.records.end());
  kept_.push_back(process.bytes);
}

std::string RecordingWriter::Join() const {
  std::vector<std::pair<MonoTime, size_t>> sorted;
  for (size_t i = 0; i < records_.size(); ++i) sorted.emplace_back(records_[i].time, i);
  std::sort(sorted.begin(), sorted.end());
  std::string bytes = io::IoTraceHead();
  for (const auto& [time, i] : sorted) io::AppendTraceRecord(bytes, records_[i], bytes.size());
  return bytes;
}

}  // namespace metastore::crashtest
