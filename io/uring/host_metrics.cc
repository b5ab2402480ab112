// What a scrape learns of the reactors, and of the process as the kernel accounts for it.

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>

#include "io/uring/reactor.h"

namespace metastore::io::uring {
namespace {

// Of /proc/self/stat; proc(5) numbers the fields from 1.
struct ProcessStat {
  uint64_t user_ticks = 0;      // 14
  uint64_t system_ticks = 0;    // 15
  uint64_t start_ticks = 0;     // 22, since the machine started
  uint64_t virtual_bytes = 0;   // 23
  uint64_t resident_pages = 0;  // 24
};

std::optional<ProcessStat> ReadProcessStat() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  // The second field is the program's name in brackets, which may hold anything.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  ProcessStat stat;
  std::string field;
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    uint64_t* const into = number == 14   ? &stat.user_ticks
                           : number == 15 ? &stat.system_ticks
                           : number == 22 ? &stat.start_ticks
                           : number == 23 ? &stat.virtual_bytes
                           : number == 24 ? &stat.resident_pages
                                          : nullptr;
    if (into != nullptr && std::sscanf(field.c_str(), "%lu", into) != 1) return std::nullopt;
  }
  return stat;
}

// When the machine started, seconds since 1970.
std::optional<uint64_t> ReadBootTime() {
  std::ifstream file("/proc/stat");
  std::string line;
  uint64_t seconds = 0;
  while (std::getline(file, line)) {
    if (std::sscanf(line.c_str(), "btime %lu", &seconds) == 1) return seconds;
  }
  return std::nullopt;
}

std::optional<uint64_t> CountDescriptors() {
  DIR* const directory = opendir("/proc/self/fd");
  if (directory == nullptr) return std::nullopt;
  uint64_t entries = 0;
  while (readdir(directory) != nullptr) ++entries;
  closedir(directory);
  return entries < 3 ? 0 : entries - 3;  // ".", "..", and the descriptor that lists them
}

void AddDescriptors(MetricList& list) {
  const std::optional<uint64_t> open = CountDescriptors();
  if (open.has_value()) {
    list.Gauge("process_open_fds", "Open descriptors.", *open);
    list.Gauge("os_fd_used", "Open descriptors, as etcd names them.", *open);
  }
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  list.Gauge("process_max_fds", "Descriptors that may be open.", uint64_t{limit.rlim_cur});
  list.Gauge("os_fd_limit", "Descriptors that may be open, as etcd names them.",
             uint64_t{limit.rlim_cur});
}

}  // namespace

void UringHost::CollectMetrics(int core, MetricList& list) const {
  const Reactor& reactor = *shared_->reactors[static_cast<size_t>(core)];
  const LoopStats stats = reactor.stats();
  const std::string number = std::to_string(core);
  const MetricLabels labels = {{"core", number}};
  list.Add("metastore_reactor_turn_seconds", "Turns of the loop that ran something.",
           reactor.turn_seconds(), labels);
  list.Counter("metastore_reactor_turns_total", "Turns of the loop.", stats.turns, labels);
  list.Counter("metastore_reactor_slow_turns_total", "Turns longer than 10 ms.", stats.slow_turns,
               labels);
  list.Counter("metastore_reactor_enters_total", "Calls of io_uring_enter.", stats.enters, labels);
  list.Counter("metastore_reactor_completions_total", "Completions of I/O.", stats.completions,
               labels);
  list.Counter("metastore_reactor_overflows_total",
               "Completions the ring had no room for; stays 0.", stats.overflows, labels);
  list.Counter("metastore_reactor_receive_copies_total",
               "Received buffers copied out because few were left.", stats.receive_copies, labels);
  list.Gauge("metastore_reactor_operations_in_flight", "I/O operations the kernel has now.",
             uint64_t{stats.operations_in_flight}, labels);
}

void UringHost::CollectProcessMetrics(MetricList& list) const {
  AddDescriptors(list);
  const std::optional<ProcessStat> stat = ReadProcessStat();
  if (!stat.has_value()) return;
  const auto ticks_a_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  list.FractionalCounter(
      "process_cpu_seconds_total", "CPU time of all threads, user and system.",
      static_cast<double>(stat->user_ticks + stat->system_ticks) / ticks_a_second);
  list.Gauge("process_resident_memory_bytes", "Memory that is in RAM.",
             stat->resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  list.Gauge("process_virtual_memory_bytes", "Addresses in use.", stat->virtual_bytes);
  const std::optional<uint64_t> boot = ReadBootTime();
  if (!boot.has_value()) return;
  list.Gauge("process_start_time_seconds", "When the process began, seconds since 1970 UTC.",
             static_cast<double>(*boot) + static_cast<double>(stat->start_ticks) / ticks_a_second);
}

}  // namespace metastore::io::uring
