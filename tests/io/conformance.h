// One suite for every Runtime: what conformance.cc tests must hold for io_uring's and for the
// simulator's alike, so that a test that passes on the simulator says something about
// production.
//
// conformance_<runtime>_test.cc instantiates it with its own host.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "io/runtime.h"
#include "io/task.h"

// A failed condition ends the coroutine; ASSERT_* cannot, since they return.
#define CO_ASSERT(condition)              \
  do {                                    \
    if (!(condition)) {                   \
      ADD_FAILURE() << "not " #condition; \
      co_return;                          \
    }                                     \
  } while (false)

namespace metastore::io {

// What a body works with; runs on core 0.
struct Stage {
  std::vector<Runtime*> runtimes;  // by core
  std::string directory;           // exists, empty

  Runtime& runtime() { return *runtimes[0]; }
};
using ConformanceBody = Task<void> (*)(Stage& stage);

class ConformanceHost {
 public:
  virtual ~ConformanceHost() = default;
  // Runs `body` on a fresh process of `cores` until it has ended.
  virtual void Run(int cores, ConformanceBody body) = 0;
};

struct ConformanceCase {
  const char* name;
  std::unique_ptr<ConformanceHost> (*make)();
};

inline std::string ConformanceName(const testing::TestParamInfo<ConformanceCase>& info) {
  return info.param.name;
}

class ConformanceTest : public testing::TestWithParam<ConformanceCase> {
 protected:
  void Run(ConformanceBody body, int cores = 1) { GetParam().make()->Run(cores, body); }
};

}  // namespace metastore::io
