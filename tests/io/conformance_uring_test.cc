// Aim: the io_uring runtime keeps the contract that every runtime has. Method: the suite of
// conformance.cc on a real directory below the working directory and real loopback connections.
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "io/gate.h"
#include "io/uring/uring_runtime.h"
#include "tests/io/conformance.h"

namespace metastore::io {
namespace {

Task<void> RunAndExit(uring::UringHost& host, Stage& stage, ConformanceBody body) {
  co_await body(stage);
  host.RequestExit(0);
}

class UringConformanceHost final : public ConformanceHost {
 public:
  void Run(int cores, ConformanceBody body) override {
    uring::UringOptions options;
    options.reactors = cores;
    options.arena_bytes = 32 * limits::kMiB;
    options.receive_buffers = 256;
    options.handle_signals = false;
    options.log.level = LogLevel::kError;
    StatusOr<std::unique_ptr<uring::UringHost>> host = uring::UringHost::Create(options);
    ASSERT_TRUE(host.ok()) << host.status();
    Stage stage;
    stage.directory = Concat("conformance.", getpid());
    std::filesystem::remove_all(stage.directory);
    std::filesystem::create_directories(stage.directory);
    {
      Gate gate((*host)->runtime(0).scheduler());
      const int code = (*host)->Run([&](std::span<Runtime* const> runtimes) {
        stage.runtimes.assign(runtimes.begin(), runtimes.end());
        gate.Spawn("conformance", ReadyClass::kClient, RunAndExit(**host, stage, body));
      });
      EXPECT_EQ(code, 0);
    }
    std::filesystem::remove_all(stage.directory);
  }
};

std::unique_ptr<ConformanceHost> MakeUringHost() {
  return std::make_unique<UringConformanceHost>();
}

INSTANTIATE_TEST_SUITE_P(Uring, ConformanceTest,
                         testing::Values(ConformanceCase{"uring", &MakeUringHost}),
                         ConformanceName);

}  // namespace
}  // namespace metastore::io
