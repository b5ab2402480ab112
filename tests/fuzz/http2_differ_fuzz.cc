// Aim: our HTTP/2 session and nghttp2's hear and say the same of any client's bytes, in any cut
// (tests/net/oracle/differ.h says what is compared). Method: three bytes steer; the rest is frames
// as they are, or, by one bit, the seed and number of made ones.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "io/base/check.h"
#include "tests/net/oracle/differ.h"

using metastore::net_test::DifferOptions;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const DifferOptions options{.seed = data[0],
                              .habit = static_cast<uint8_t>(data[1] % 16),
                              .across_frames = (data[2] & 1) != 0,
                              .shut_down = (data[2] & 2) != 0,
                              .acknowledge = (data[2] & 4) == 0};
  const std::string_view rest(reinterpret_cast<const char*>(data + 3), size - 3);
  std::string made;
  if ((data[2] & 8) != 0) {
    uint64_t seed = 0;
    for (const char c : rest.substr(0, 8)) seed = seed << 8 | static_cast<uint8_t>(c);
    made = metastore::net_test::RandomFrames(seed, 100);
  }
  const std::string difference =
      metastore::net_test::DifferenceOfSessions(made.empty() ? rest : made, options);
  if (!difference.empty()) std::fprintf(stderr, "%s\n", difference.c_str());
  CHECK(difference.empty());
  return 0;
}
