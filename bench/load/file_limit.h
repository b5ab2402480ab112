// As many open files as this process may have: a load generator has thousands of connections.
#pragma once

#include <sys/resource.h>

namespace metastore::bench {

inline void RaiseFileLimit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace metastore::bench
