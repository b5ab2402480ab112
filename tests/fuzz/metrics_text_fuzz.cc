// Fuzz target: bytes as a /metrics page that metactl was given. What it reads must not depend on
// anything but the bytes, and its figures must be answerable for every series in it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/base/check.h"
#include "tools/metactl/prometheus_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using metastore::metactl::MetricsText;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const metastore::StatusOr<MetricsText> page = MetricsText::Parse(text);
  CHECK(metastore::metactl::LinesOf(text, "m").size() <= size + 1);
  if (!page.ok()) return 0;
  for (const metastore::metactl::Sample& sample : page->samples()) {
    CHECK(page->Find(sample.name).has_value());
    CHECK(page->Sum(sample.name).has_value());
    page->Quantile(sample.name, 0.5);
    page->LabelOf(sample.name, "le");
  }
  return 0;
}
