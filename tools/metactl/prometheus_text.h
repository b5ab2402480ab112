// Reads the text of a /metrics page (Prometheus exposition format 0.0.4). Pure; the page is input
// from elsewhere: nothing in it is CHECKed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"

namespace metastore::metactl {

using Labels = std::map<std::string, std::string, std::less<>>;

struct Sample {
  std::string name;
  Labels labels;
  double value = 0;
};

class MetricsText final {
 public:
  // Errors: kInvalidArgument  names the first line that is no sample and no comment
  static StatusOr<MetricsText> Parse(std::string_view text);

  // Of the first series of that name, whatever its labels; nothing: there is none.
  std::optional<double> Find(std::string_view name) const;
  // Over all series of that name.
  std::optional<double> Sum(std::string_view name) const;
  // The value of `label` in the first series of that name; empty: there is none.
  std::string LabelOf(std::string_view name, std::string_view label) const;
  // The `quantile` (0 to 1) of a histogram, all its series together, interpolated within its
  // bucket; above the last bound: that bound. Nothing: no such histogram, or nothing observed.
  std::optional<double> Quantile(std::string_view histogram, double quantile) const;

  const std::vector<Sample>& samples() const { return samples_; }

 private:
  std::vector<Sample> samples_;
};

// The lines of `text` that belong to metrics whose name begins with `prefix`, comments included.
std::string LinesOf(std::string_view text, std::string_view prefix);

}  // namespace metastore::metactl
