#include "io/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace metastore::check_internal {

void Fail(const char* file, int line, const char* expression, const std::string& values) {
  // stderr directly: the logger may be what is broken.
  std::fprintf(stderr, "%s:%d: CHECK failed: %s%s%s%s\n", file, line, expression,
               values.empty() ? "" : " (", values.c_str(), values.empty() ? "" : ")");
  std::fflush(stderr);
  std::abort();
}

}  // namespace metastore::check_internal
