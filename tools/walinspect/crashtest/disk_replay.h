// DiskReplay: the disk of a recorded process at any place of its trace: what is durable, what is
// only cached, what is under way. Pure; the rules are those of the simulated disk (io/sim), which
// are the contract of io/file.h and no more.
//
// Feed it the records of a trace in order. Before any of them, a crash there leaves what
// DiskAtCrash gives; crash_image.h chooses among it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/prng.h"
#include "io/base/status.h"
#include "io/io_trace.h"
#include "io/sim/sim_image.h"
#include "tools/walinspect/crashtest/recording.h"

namespace metastore::crashtest {

// Which of the operations under way a crash leaves something of.
enum class UnderWay : uint8_t {
  kNone,  // as if never begun
  kAll,   // writes are pending in whole, names and sizes have changed
  kSome,  // writes are pending in whole; names and sizes by chance
};

class DiskReplay final {
 public:
  // Begins with `disk`, of which all is durable.
  explicit DiskReplay(sim::SimImage disk = {}) : disk_(std::move(disk)) {}

  // What of the trace lies below `root` counts; a kBoot note says anew what it is.
  void SetRoot(std::string_view root) { root_ = root; }

  // The record has happened. The record's bytes stay in place as long as the replay lives.
  // Errors: kFailedPrecondition  an operation failed that changes bytes: nothing is known of them
  //         kDataLoss            the trace does not explain what the files held, or is malformed
  Status Apply(const io::TraceRecord& record);

  sim::SimImage DiskAtCrash(UnderWay under_way, Prng& prng) const;
  size_t under_way_count() const { return under_way_.size(); }

 private:
  struct Operation {
    io::TraceRecord begun;
    uint64_t order = 0;  // of the disk when it began
  };
  struct Content {
    uint64_t bytes = 0;
    sim::SparseBytes content;
  };

  bool Below(std::string_view path, std::string* inside) const;
  Status Begin(const io::TraceRecord& record);
  Status End(const io::TraceRecord& record);
  Status Perform(const Operation& operation);
  Status PerformOnFile(const Operation& operation, sim::Inode& file);
  void Happen(sim::SimImage& disk, const Operation& operation, bool changes_names) const;
  Status ApplyNote(const io::TraceRecord& record);
  // The process has ended: what became of the operations that were under way is in the files.
  Status Settle();
  void SettleWrite(const Operation& operation, sim::Inode& file, const Content& content);
  Status Compare() const;

  std::string root_;
  sim::SimImage disk_;
  std::map<uint64_t, Operation> under_way_;  // by number
  std::map<uint64_t, sim::InodeRef> files_;  // by the trace's number of an open
  std::map<std::string, Content> found_;     // of the notes since the process ended
  Content* telling_ = nullptr;               // the file that kBytes notes speak of
};

// Files that no operation of a trace makes, and whose bytes say nothing: the locks of directories.
bool IsBesideTheTrace(std::string_view path);

}  // namespace metastore::crashtest
