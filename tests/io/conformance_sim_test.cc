// Aim: SimRuntime keeps the contract that every runtime has. Method: the suite of
// conformance.cc, each test under a number of seeds.
#include <memory>

#include "io/sim/sim_world.h"
#include "tests/io/conformance.h"

namespace metastore::io {
namespace {

class SimHost final : public ConformanceHost {
 public:
  void Run(int cores, ConformanceBody body) override {
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      SCOPED_TRACE(Concat("seed ", seed));
      sim::SimWorld world(seed);
      Stage stage;
      stage.runtimes = world.AddMachine("node").StartProcess(cores);
      stage.directory = "/data";
      CHECK(world.Await(stage.runtime(), stage.runtime().MakeDirectories("/data")).ok());
      world.Await(stage.runtime(), body(stage));
      if (testing::Test::HasFailure()) return;
    }
  }

 private:
  static constexpr uint64_t kSeeds = 5;
};

std::unique_ptr<ConformanceHost> MakeSimHost() { return std::make_unique<SimHost>(); }

INSTANTIATE_TEST_SUITE_P(Sim, ConformanceTest,
                         testing::Values(ConformanceCase{"sim", &MakeSimHost}), ConformanceName);

}  // namespace
}  // namespace metastore::io
