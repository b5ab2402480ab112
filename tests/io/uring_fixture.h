// What the tests of the io_uring runtime share: a host a test, a directory on a disk, and the check
// that no completion was dropped.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "io/gate.h"
#include "io/uring/uring_runtime.h"

namespace metastore::io::uring {

inline constexpr size_t kBlock = limits::kBlockBytes;

inline UringOptions SmallOptions() {
  UringOptions options;
  options.arena_bytes = 4 * limits::kMiB;
  options.receive_buffers = 256;
  options.offload_threads = 2;
  options.handle_signals = false;
  options.log.level = LogLevel::kError;
  return options;
}

// A directory below the working directory (direct I/O needs a disk), removed afterwards.
class TestDirectory {
 public:
  TestDirectory() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = Concat("uring_test.", getpid(), ".", info == nullptr ? "x" : info->name());
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TestDirectory() { std::filesystem::remove_all(path_); }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What a test body gets; it runs on reactor 0, and the host exits when it returns.
struct Stage {
  UringHost& host;
  Runtime& runtime;
  std::string directory;
};
using Body = Task<void> (*)(Stage& stage);

inline Task<void> RunBody(Body body, Stage& stage) {
  co_await body(stage);
  stage.host.RequestExit(0);
}

inline void RunOn(UringOptions options, Body body) {
  const TestDirectory directory;
  const int reactors = options.reactors;
  StatusOr<std::unique_ptr<UringHost>> host = UringHost::Create(std::move(options));
  ASSERT_TRUE(host.ok()) << host.status().ToString();
  Stage stage{**host, (*host)->runtime(0), directory.path()};
  Gate gate(stage.runtime.scheduler());
  const int code = (*host)->Run([&](std::span<Runtime* const> /*runtimes*/) {
    gate.Spawn("test", ReadyClass::kClient, RunBody(body, stage));
  });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(gate.running(), 0u);
  for (int core = 0; core < reactors; ++core) EXPECT_EQ((*host)->stats(core).overflows, 0u);
}

// Coroutines cannot return early by ASSERT_: for what a test cannot go on without.
template <typename T>
T ValueOrDie(StatusOr<T> result) {
  if (!result.ok()) ADD_FAILURE() << result.status().ToString();
  CHECK(result.ok());
  return std::move(*result);
}

}  // namespace metastore::io::uring
