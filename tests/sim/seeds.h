// What tests of random runs take from the environment: which seeds, and a bug to plant.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "io/base/status.h"
#include "server/mutation.h"

namespace metastore::sim_test {

inline uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

// The bug of the services that the variable names, if any, for as long as this lives.
class PlantedByName final {
 public:
  explicit PlantedByName([[maybe_unused]] const char* variable) {
#ifdef MS_MUTATIONS
    const char* chosen = std::getenv(variable);
    for (const auto& known : server::ServiceMutations()) {
      if (chosen != nullptr && known.name == chosen) Plant(known.mutation);
    }
#endif
  }
  ~PlantedByName() {
#ifdef MS_MUTATIONS
    Plant(server::Mutation::kNone);
#endif
  }
  PlantedByName(const PlantedByName&) = delete;
  PlantedByName& operator=(const PlantedByName&) = delete;
};

}  // namespace metastore::sim_test
