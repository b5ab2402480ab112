// A recording: the trace of one node over several lives (io/io_trace.h), joined with what its
// client asked and was told, and with what its files held after each life, in the order of time.
// One file. Pure.
//
// What the process did and what the client saw come from two processes, but from one clock: an
// answer that the client had at a time proves everything that was completed before it was sent.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"
#include "io/io_trace.h"

namespace metastore::crashtest {

// What a note says, in TraceRecord::mode.
enum class Note : uint8_t {
  kBoot = 1,      // a process begins; name: its data directory
  kEnded = 2,     // it has ended
  kFile = 3,      // after its end: name: a file, below the data directory; size: its bytes
  kBytes = 4,     // of the file before: offset, data; what no note tells is zero
  kListed = 5,    // all files have been told
  kPut = 6,       // the client begins call `operation`: name: key, data: value
  kDelete = 7,    // likewise; name: key
  kAnswered = 8,  // call `operation` had an answer that says it is done; size: its revision
};

// The note that `record` is, or nothing of the kind (0) for what the process did.
Note NoteOf(const io::TraceRecord& record);
io::TraceRecord MakeNote(Note note, MonoTime time);

struct Recording {
  std::shared_ptr<const std::string> bytes;  // what the records' views point into
  std::vector<io::TraceRecord> records;
};

// Errors: kDataLoss  not a whole trace
StatusOr<Recording> ParseRecording(std::string bytes);
// Of a trace as a process left it: the last record may be cut off.
StatusOr<Recording> ParseProcessTrace(std::string bytes);

// Collects the pieces and joins them.
class RecordingWriter final {
 public:
  // Views must live until Join.
  void Add(const io::TraceRecord& record) { records_.push_back(record); }
  void Add(const Recording& process);
  // All of it as a file, in the order of time; what has the same time stays in the order added.
  std::string Join() const;

 private:
  std::vector<io::TraceRecord> records_;
  std::vector<std::shared_ptr<const std::string>> kept_;
};

}  // namespace metastore::crashtest
