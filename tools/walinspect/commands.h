// The commands of walinspect over an io::Runtime. All only read, and may look at the log of a
// running node: a tail that is being written is never reported as damage.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "io/runtime.h"
#include "tools/walinspect/device_facts.h"
#include "tools/walinspect/disk_bench.h"
#include "tools/walinspect/filter.h"
#include "tools/walinspect/record_text.h"
#include "wal/scan.h"

namespace metastore::walinspect {

// Exit codes: part of the interface. Those of the log's verdict, unless a command says otherwise.
inline constexpr int kExitClean = 0;
inline constexpr int kExitTornTail = 1;
inline constexpr int kExitCorrupt = 2;
inline constexpr int kExitForeign = 3;
inline constexpr int kExitFailed = 4;  // could not look: usage, no such directory, no permission
inline constexpr int kExitSlow = 5;    // fsync --check: the disk is not known to keep the rule

struct FsyncOptions {
  std::string svg;      // file for the heat map; empty: none
  std::string what_if;  // WhatIfSettings as text; empty: none
  bool check = false;   // the exit code says whether the disk keeps the rule
};

struct RepairOptions {
  bool apply = false;          // else only the plan is printed
  bool accept_loss = false;    // also cut below a promise
  std::string data_directory;  // whose lock the node holds; empty: DIR/../.. of .../member/wal
};

struct LiveOptions {
  Duration interval = Seconds(2);
  uint64_t count = 0;            // refreshes; 0: until the stop
  bool trace = true;             // split by the kernel's trace, where that may be had
  bool terminal = false;         // the output is one: redraw it
  std::function<size_t()> rows;  // of the terminal; null: as many as there are
  io::StopToken stop;
};

struct BenchOptions {
  Duration time = Seconds(30);
  std::vector<BenchCell> cells = AllCells();
  bool print_all = false;  // also the table of everything that was measured
  DeviceFacts device;      // under the directory
  io::StopToken stop;
  std::function<void(double share)> progress;  // of the time; null: nobody watches
};

struct Request {
  std::string directory;
  std::optional<wal::LogIdentity> identity;  // verify: whose log it has to be
  Filter filter;
  DumpFormat format = DumpFormat::kText;
  FsyncOptions fsync;
  std::string export_format;    // export: json, prometheus or chrome-trace
  std::string other_directory;  // diff: the second log; repair: where changed files are kept
  RepairOptions repair;
  LiveOptions live;
  BenchOptions bench;
  std::function<void(std::string_view)> print;  // standard output
  // How many bytes of the log have been read, of about how many; null: nobody watches.
  std::function<void(uint64_t done, uint64_t total)> progress;
  // Makes a file of these bytes, or replaces it.
  std::function<Status(const std::string& path, std::string_view bytes)> write_file;

  bool json() const { return format == DumpFormat::kJson; }
};

// Each gives the exit code; errors are those of reading the directory.
io::Task<StatusOr<int>> List(io::Runtime& runtime, const Request& request);
// Ends with the exit code of the log's verdict, and says on the last line (text) what it is.
io::Task<StatusOr<int>> Dump(io::Runtime& runtime, const Request& request);
io::Task<StatusOr<int>> Verify(io::Runtime& runtime, const Request& request);
io::Task<StatusOr<int>> Stats(io::Runtime& runtime, const Request& request);
// Exit code with fsync.check: kExitSlow instead of kExitClean and kExitTornTail.
io::Task<StatusOr<int>> Fsync(io::Runtime& runtime, const Request& request);
// Shows the flushes of the node that runs on the log, until it is stopped or has shown them as
// often as it should. With one refresh errors are also those of NodeRing::Find; else it waits for
// a node. Exit code: 0.
io::Task<StatusOr<int>> Live(io::Runtime& runtime, const Request& request);
// Times durable writes of every kind to scratch files in the directory, which needs no log.
// Exit code: 0 fit for a log, kExitSlow not known to be. Errors: as RunBench's
io::Task<StatusOr<int>> BenchDisk(io::Runtime& runtime, const Request& request);
io::Task<StatusOr<int>> Export(io::Runtime& runtime, const Request& request);
// Compares the logs of two members by group. Exit codes: 0 the same entries, 1 one has fewer, 2
// they differ, 3 of different clusters, 4 could not compare (also: one of them is damaged).
io::Task<StatusOr<int>> Diff(io::Runtime& runtime, const Request& request);
// Prints what would have to be cut and what is lost by it, and does so with repair.apply.
// Exit code: the log's verdict, of after the repair with repair.apply; kExitFailed when refused.
io::Task<StatusOr<int>> Repair(io::Runtime& runtime, const Request& request);

}  // namespace metastore::walinspect
