// Aim: metrics count, add up over cores, and render as Prometheus reads them.
// Method: expected texts compared whole; the gathering over real cores is in uring_test.cc.
#include "io/metrics.h"

#include <limits>

#include <gtest/gtest.h>

namespace metastore::io {
namespace {

std::string Render(const MetricList& list) { return RenderMetrics({&list, 1}); }

TEST(MetricsTest, EmptyListRendersNothing) { EXPECT_EQ(Render(MetricList()), ""); }

TEST(MetricsTest, CountersAndGaugesRenderWithHelpAndType) {
  MetricList list;
  list.Gauge("queue_length", "Waiting now.", 1.5);
  list.Counter("etcd_puts_total", "Puts seen.", 42);
  list.FractionalCounter("cpu_seconds_total", "CPU time.", 0.25);
  EXPECT_EQ(Render(list),
            "# HELP cpu_seconds_total CPU time.\n"
            "# TYPE cpu_seconds_total counter\n"
            "cpu_seconds_total 0.25\n"
            "# HELP etcd_puts_total Puts seen.\n"
            "# TYPE etcd_puts_total counter\n"
            "etcd_puts_total 42\n"
            "# HELP queue_length Waiting now.\n"
            "# TYPE queue_length gauge\n"
            "queue_length 1.5\n");
}

TEST(MetricsTest, CountersKeepEveryDigit) {
  MetricList list;
  list.Counter("c", "h", UINT64_MAX);
  EXPECT_NE(Render(list).find("c 18446744073709551615\n"), std::string::npos);
}

TEST(MetricsTest, SeriesOfOneFamilyShareTheirHeader) {
  MetricList list;
  list.Counter("requests_total", "Requests.", 1, {{"method", "Put"}, {"code", "OK"}});
  list.Counter("other_total", "Other.", 3);
  list.Counter("requests_total", "Requests.", 2, {{"method", "Get"}, {"code", "OK"}});
  EXPECT_EQ(Render(list),
            "# HELP other_total Other.\n"
            "# TYPE other_total counter\n"
            "other_total 3\n"
            "# HELP requests_total Requests.\n"
            "# TYPE requests_total counter\n"
            "requests_total{method=\"Get\",code=\"OK\"} 2\n"
            "requests_total{method=\"Put\",code=\"OK\"} 1\n");
}

TEST(MetricsTest, LabelValuesAndHelpAreEscaped) {
  MetricList list;
  list.Gauge("g", "a \\ and\na \"line\"", 1.0, {{"path", "C:\\x\n\"y\""}});
  EXPECT_EQ(Render(list),
            "# HELP g a \\\\ and\\na \"line\"\n"
            "# TYPE g gauge\n"
            "g{path=\"C:\\\\x\\n\\\"y\\\"\"} 1\n");
}

TEST(MetricsTest, HistogramOfSpansIsInSecondsCumulativeAndInclusive) {
  const Duration bounds[] = {Microseconds(50), Milliseconds(10), Seconds(1)};
  Histogram latency(bounds);
  latency.Observe(Microseconds(50));  // on the bound: in its bucket
  latency.Observe(Nanoseconds(50'001));
  latency.Observe(Milliseconds(500));
  latency.Observe(Seconds(7));
  EXPECT_EQ(latency.count(), 4u);
  MetricList list;
  list.Add("latency_seconds", "Latency.", latency, {{"op", "put"}});
  EXPECT_EQ(Render(list),
            "# HELP latency_seconds Latency.\n"
            "# TYPE latency_seconds histogram\n"
            "latency_seconds_bucket{op=\"put\",le=\"5e-05\"} 1\n"
            "latency_seconds_bucket{op=\"put\",le=\"0.01\"} 2\n"
            "latency_seconds_bucket{op=\"put\",le=\"1\"} 3\n"
            "latency_seconds_bucket{op=\"put\",le=\"+Inf\"} 4\n"
            "latency_seconds_sum{op=\"put\"} 7.500100001\n"
            "latency_seconds_count{op=\"put\"} 4\n");
}

TEST(MetricsTest, HistogramOfSpansMayBeInMilliseconds) {
  const Duration bounds[] = {Microseconds(50), Seconds(1)};
  Histogram latency(bounds, SpanUnit::kMilliseconds);
  latency.Observe(Microseconds(1500));
  MetricList list;
  list.Add("latency_ms", "h", latency);
  EXPECT_NE(Render(list).find("latency_ms_bucket{le=\"0.05\"} 0\nlatency_ms_bucket{le=\"1000\"} 1\n"
                              "latency_ms_bucket{le=\"+Inf\"} 1\nlatency_ms_sum 1.5\n"),
            std::string::npos);
}

TEST(MetricsTest, HistogramOfNumbersRendersThemAsTheyAre) {
  const int64_t bounds[] = {1, 16};
  Histogram sizes(bounds);
  sizes.Observe(int64_t{1});
  sizes.Observe(int64_t{17});
  MetricList list;
  list.Add("sizes", "h", sizes);
  EXPECT_NE(Render(list).find("sizes_bucket{le=\"1\"} 1\nsizes_bucket{le=\"16\"} 1\n"
                              "sizes_bucket{le=\"+Inf\"} 2\nsizes_sum 18\nsizes_count 2\n"),
            std::string::npos);
}

TEST(MetricsTest, NumbersThatAreNoneRenderAsPrometheusHasThem) {
  MetricList list;
  list.Gauge("a", "h", std::numeric_limits<double>::infinity());
  list.Gauge("b", "h", -std::numeric_limits<double>::infinity());
  list.Gauge("c", "h", std::numeric_limits<double>::quiet_NaN());
  const std::string text = Render(list);
  EXPECT_NE(text.find("\na +Inf\n"), std::string::npos);
  EXPECT_NE(text.find("\nb -Inf\n"), std::string::npos);
  EXPECT_NE(text.find("\nc NaN\n"), std::string::npos);
}

TEST(MetricsTest, CoresAddUp) {
  const int64_t bounds[] = {1};
  MetricList cores[2];
  for (MetricList& core : cores) {
    Histogram histogram(bounds);
    histogram.Observe(int64_t{1});
    core.Counter("c", "h", 2);
    core.Gauge("g", "h", 1.5);
    core.Add("h", "h", histogram);
  }
  cores[1].Counter("only_here", "h", 1);
  const std::string text = RenderMetrics(cores);
  EXPECT_NE(text.find("\nc 4\n"), std::string::npos);
  EXPECT_NE(text.find("\ng 3\n"), std::string::npos);
  EXPECT_NE(text.find("\nh_bucket{le=\"1\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("\nh_sum 2\n"), std::string::npos);
  EXPECT_NE(text.find("\nonly_here 1\n"), std::string::npos);
  EXPECT_EQ(text.find("# TYPE c counter"), text.rfind("# TYPE c counter"));
}

TEST(MetricsTest, BadNamesDuplicatesAndMixedTypesAreCaught) {
  MetricList list;
  EXPECT_DEATH(list.Counter("1st", "h", 1), "IsValidName");
  EXPECT_DEATH(list.Counter("a-b", "h", 1), "IsValidName");
  EXPECT_DEATH(list.Counter("c", "h", 1, {{"a:b", "1"}}), "IsValidName");
  const int64_t falling[] = {2, 1};
  EXPECT_DEATH(Histogram{falling}, "bounds_");
  MetricList twice;
  twice.Counter("ok_total", "h", 1, {{"a", "1"}});
  twice.Counter("ok_total", "h", 1, {{"a", "1"}});
  EXPECT_DEATH(Render(twice), "list");
  MetricList mixed;
  mixed.Counter("ok_total", "h", 1, {{"a", "1"}});
  mixed.Gauge("ok_total", "h", 1.0, {{"a", "2"}});
  EXPECT_DEATH(Render(mixed), "type");
}

}  // namespace
}  // namespace metastore::io
