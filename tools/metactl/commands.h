// The commands of metactl. Each prints to standard output, what is wrong to standard error in one
// line, and gives the exit code.
#pragma once

#include <string>
#include <vector>

namespace metastore::metactl {

// Exit codes: part of the interface.
inline constexpr int kExitOk = 0;
inline constexpr int kExitBad = 1;    // looked, and something is wrong: unhealthy, damaged, invalid
inline constexpr int kExitUsage = 2;  // the command line
inline constexpr int kExitFailed = 3;  // could not look: no connection, no answer, no directory

struct NodesRequest {
  std::vector<std::string> endpoints;
  long timeout_ms = 5000;
  bool json = false;
  std::string match;  // metrics: only names that begin with it
};

// Of several nodes: the worst exit code of each.
int RunStatus(const NodesRequest& request);
int RunHealth(const NodesRequest& request);
int RunMetrics(const NodesRequest& request);

// `flags` as metastore takes them; the environment counts as it does there.
int RunConfigCheck(const std::vector<std::string>& flags);

struct DataRequest {
  std::string directory;      // --data-dir of a node
  std::string log_directory;  // its --wal-dir, if that is elsewhere
  bool json = false;
};
int RunData(const DataRequest& request);

// "metactl: message" on standard error.
void Complain(const std::string& message);

}  // namespace metastore::metactl
