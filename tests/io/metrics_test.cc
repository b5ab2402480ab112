// Aim: metrics count, add up over cores, and render as Prometheus reads them.
// Method: expected texts compared whole; the gathering over real cores is in uring_test.cc.
#include "io/metrics.h"

#include <limits>

#include <gtest/gtest.h>

namespace metastore::io {
namespace {

std::string Render(const MetricsRegistry& registry) {
  const std::vector<MetricSample> core = registry.Snapshot();
  return RenderMetrics({&core, 1});
}

TEST(MetricsTest, EmptyRegistryRendersNothing) { EXPECT_EQ(Render(MetricsRegistry()), ""); }

TEST(MetricsTest, CountersAndGaugesRenderWithHelpAndType) {
  MetricsRegistry registry;
  Counter& puts = registry.AddCounter("etcd_puts_total", "Puts seen.");
  Gauge& queue = registry.AddGauge("queue_length", "Waiting now.");
  puts.Add();
  puts.Add(41);
  queue.Set(2.5);
  queue.Add(-1);
  EXPECT_EQ(Render(registry),
            "# HELP etcd_puts_total Puts seen.\n"
            "# TYPE etcd_puts_total counter\n"
            "etcd_puts_total 42\n"
            "# HELP queue_length Waiting now.\n"
            "# TYPE queue_length gauge\n"
            "queue_length 1.5\n");
}

TEST(MetricsTest, CountersKeepEveryDigit) {
  MetricsRegistry registry;
  registry.AddCounter("c", "h").Add(UINT64_MAX);
  EXPECT_NE(Render(registry).find("c 18446744073709551615\n"), std::string::npos);
}

TEST(MetricsTest, SeriesOfOneFamilyShareTheirHeader) {
  MetricsRegistry registry;
  registry.AddCounter("requests_total", "Requests.", {{"method", "Put"}, {"code", "OK"}}).Add(1);
  registry.AddCounter("other_total", "Other.").Add(3);
  registry.AddCounter("requests_total", "Requests.", {{"method", "Get"}, {"code", "OK"}}).Add(2);
  EXPECT_EQ(Render(registry),
            "# HELP other_total Other.\n"
            "# TYPE other_total counter\n"
            "other_total 3\n"
            "# HELP requests_total Requests.\n"
            "# TYPE requests_total counter\n"
            "requests_total{method=\"Get\",code=\"OK\"} 2\n"
            "requests_total{method=\"Put\",code=\"OK\"} 1\n");
}

TEST(MetricsTest, LabelValuesAndHelpAreEscaped) {
  MetricsRegistry registry;
  registry.AddGauge("g", "a \\ and\na \"line\"", {{"path", "C:\\x\n\"y\""}}).Set(1);
  EXPECT_EQ(Render(registry),
            "# HELP g a \\\\ and\\na \"line\"\n"
            "# TYPE g gauge\n"
            "g{path=\"C:\\\\x\\n\\\"y\\\"\"} 1\n");
}

TEST(MetricsTest, HistogramBucketsAreCumulativeAndInclusive) {
  MetricsRegistry registry;
  const double bounds[] = {0.001, 0.01, 1};
  Histogram& latency =
      registry.AddHistogram("latency_seconds", "Latency.", bounds, {{"op", "put"}});
  latency.Observe(0.001);  // on the bound: in its bucket
  latency.Observe(0.5);
  latency.Observe(Milliseconds(5));
  latency.Observe(7.0);
  EXPECT_EQ(Render(registry),
            "# HELP latency_seconds Latency.\n"
            "# TYPE latency_seconds histogram\n"
            "latency_seconds_bucket{op=\"put\",le=\"0.001\"} 1\n"
            "latency_seconds_bucket{op=\"put\",le=\"0.01\"} 2\n"
            "latency_seconds_bucket{op=\"put\",le=\"1\"} 3\n"
            "latency_seconds_bucket{op=\"put\",le=\"+Inf\"} 4\n"
            "latency_seconds_sum{op=\"put\"} 7.506\n"
            "latency_seconds_count{op=\"put\"} 4\n");
}

TEST(MetricsTest, ExponentialBoundsMultiply) {
  EXPECT_EQ(ExponentialBounds(0.5, 2, 4), (std::vector<double>{0.5, 1, 2, 4}));
}

TEST(MetricsTest, NumbersThatAreNoneRenderAsPrometheusHasThem) {
  MetricsRegistry registry;
  registry.AddGauge("a", "h").Set(std::numeric_limits<double>::infinity());
  registry.AddGauge("b", "h").Set(-std::numeric_limits<double>::infinity());
  registry.AddGauge("c", "h").Set(std::numeric_limits<double>::quiet_NaN());
  const std::string text = Render(registry);
  EXPECT_NE(text.find("\na +Inf\n"), std::string::npos);
  EXPECT_NE(text.find("\nb -Inf\n"), std::string::npos);
  EXPECT_NE(text.find("\nc NaN\n"), std::string::npos);
}

TEST(MetricsTest, FunctionsAreEvaluatedAtEachScrape) {
  MetricsRegistry registry;
  double depth = 1;
  uint64_t flushes = 5;
  registry.AddGaugeFunction("depth", "h", [&] { return depth; });
  registry.AddCounterFunction("flushes_total", "h", [&] { return flushes; });
  EXPECT_NE(Render(registry).find("\ndepth 1\n"), std::string::npos);
  depth = 2;
  flushes = 6;
  EXPECT_NE(Render(registry).find("\ndepth 2\n"), std::string::npos);
  EXPECT_NE(Render(registry).find("\nflushes_total 6\n"), std::string::npos);
}

TEST(MetricsTest, CoresAddUp) {
  const double bounds[] = {1};
  MetricsRegistry cores[2];
  for (MetricsRegistry& core : cores) {
    core.AddCounter("c", "h").Add(2);
    core.AddGauge("g", "h").Set(1.5);
    core.AddHistogram("h", "h", bounds).Observe(0.5);
  }
  cores[1].AddCounter("only_here", "h").Add(1);
  const std::vector<MetricSample> samples[] = {cores[0].Snapshot(), cores[1].Snapshot()};
  const std::string text = RenderMetrics(samples);
  EXPECT_NE(text.find("\nc 4\n"), std::string::npos);
  EXPECT_NE(text.find("\ng 3\n"), std::string::npos);
  EXPECT_NE(text.find("\nh_bucket{le=\"1\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("\nh_sum 1\n"), std::string::npos);
  EXPECT_NE(text.find("\nonly_here 1\n"), std::string::npos);
  EXPECT_EQ(text.find("# TYPE c counter"), text.rfind("# TYPE c counter"));
}

TEST(MetricsTest, BadNamesAndDuplicatesAreCaught) {
  MetricsRegistry registry;
  registry.AddCounter("ok_total", "h", {{"a", "1"}});
  EXPECT_DEATH(registry.AddCounter("ok_total", "h", {{"a", "1"}}), "SameSeries");
  EXPECT_DEATH(registry.AddGauge("ok_total", "h"), "type");
  EXPECT_DEATH(registry.AddCounter("1st", "h"), "IsValidName");
  EXPECT_DEATH(registry.AddCounter("a-b", "h"), "IsValidName");
  EXPECT_DEATH(registry.AddCounter("c", "h", {{"a:b", "1"}}), "IsValidName");
  const double falling[] = {2, 1};
  EXPECT_DEATH(registry.AddHistogram("h", "h", falling), "bounds_");
}

}  // namespace
}  // namespace metastore::io
