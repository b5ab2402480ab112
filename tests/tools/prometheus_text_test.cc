// Aim: a metrics page is read as Prometheus reads it, and what is none is refused by its line.
// Method: small pages by hand, and a page of our own renderer.

#include "tools/metactl/prometheus_text.h"

#include <gtest/gtest.h>

#include "io/metrics.h"

namespace metastore::metactl {
namespace {

MetricsText MustParse(std::string_view text) {
  StatusOr<MetricsText> parsed = MetricsText::Parse(text);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *std::move(parsed);
}

TEST(PrometheusTextTest, SamplesHaveNamesLabelsAndValues) {
  const MetricsText text = MustParse(
      "# HELP a Some help {with=\"braces\"} 1\n# TYPE a counter\n"
      "a 42\n\nb{x=\"1\",y=\"q\\\"\\\\\\n\"} 1.5e-05 1700000000\nb{x=\"2\"} +Inf\n");
  ASSERT_EQ(text.samples().size(), 3u);
  EXPECT_EQ(text.Find("a"), 42);
  EXPECT_EQ(text.Find("b"), 1.5e-05);
  EXPECT_EQ(text.LabelOf("b", "y"), "q\"\\\n");
  EXPECT_EQ(text.LabelOf("b", "z"), "");
  EXPECT_EQ(text.Find("c"), std::nullopt);
  EXPECT_EQ(text.Sum("c"), std::nullopt);
}

TEST(PrometheusTextTest, WhatIsNoPageIsNamedByItsLine) {
  for (const std::string_view bad : {"<html>\n", "a\n", "a b\n", "{x=\"1\"} 2\n", "a{x=\"1} 2\n",
                                     "a{x=1} 2\n", "a{x 1\n", "a{x=\"\\", "a 1x\n"}) {
    const StatusOr<MetricsText> parsed = MetricsText::Parse(bad);
    EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument) << bad;
  }
  const StatusOr<MetricsText> parsed = MetricsText::Parse("good 1\nbad line here\n");
  EXPECT_NE(StdView(parsed.status().message()).find("bad line here"), std::string_view::npos);
}

TEST(PrometheusTextTest, QuantilesInterpolateInTheirBucket) {
  const MetricsText text = MustParse(
      "h_bucket{le=\"1\"} 0\nh_bucket{le=\"2\"} 50\nh_bucket{le=\"4\"} 90\n"
      "h_bucket{le=\"+Inf\"} 100\nh_sum 1\nh_count 100\n");
  EXPECT_DOUBLE_EQ(*text.Quantile("h", 0.5), 2);
  EXPECT_DOUBLE_EQ(*text.Quantile("h", 0.25), 1.5);
  EXPECT_DOUBLE_EQ(*text.Quantile("h", 0.7), 3);
  EXPECT_DOUBLE_EQ(*text.Quantile("h", 0.99), 4);  // above the last bound
  EXPECT_EQ(text.Quantile("none", 0.5), std::nullopt);
  EXPECT_EQ(MustParse("h_bucket{le=\"+Inf\"} 0\n").Quantile("h", 0.5), std::nullopt);
}

TEST(PrometheusTextTest, QuantilesAndSumsTakeAllSeriesTogether) {
  const MetricsText text = MustParse(
      "h_bucket{core=\"0\",le=\"1\"} 10\nh_bucket{core=\"0\",le=\"+Inf\"} 10\n"
      "h_bucket{core=\"1\",le=\"1\"} 0\nh_bucket{core=\"1\",le=\"+Inf\"} 30\n"
      "s{core=\"0\"} 2\ns{core=\"1\"} 3\n");
  EXPECT_DOUBLE_EQ(*text.Quantile("h", 0.125), 0.5);
  EXPECT_EQ(text.Sum("s"), 5);
}

TEST(PrometheusTextTest, OurOwnPageComesBack) {
  const Duration bounds[] = {Microseconds(100), Milliseconds(1)};
  io::Histogram histogram(bounds);
  for (int i = 0; i < 10; ++i) histogram.Observe(Microseconds(300));
  io::MetricList list;
  list.Add("flush_seconds", "h", histogram, {{"what", "a \"b\"\n"}});
  list.Gauge("g", "h", uint64_t{1} << 40);
  const MetricsText text = MustParse(io::RenderMetrics({&list, 1}));
  EXPECT_DOUBLE_EQ(*text.Quantile("flush_seconds", 0.5), 0.00055);
  EXPECT_EQ(text.LabelOf("flush_seconds_count", "what"), "a \"b\"\n");
  EXPECT_EQ(text.Find("g"), 0x1p40);
}

TEST(PrometheusTextTest, LinesAreChosenByPrefix) {
  constexpr std::string_view kPage =
      "# HELP ab first\n# TYPE ab counter\nab 1\n# HELP b second\n# TYPE b gauge\nb{a=\"x\"} 2\n";
  EXPECT_EQ(LinesOf(kPage, ""), kPage);
  EXPECT_EQ(LinesOf(kPage, "a"), "# HELP ab first\n# TYPE ab counter\nab 1\n");
  EXPECT_EQ(LinesOf(kPage, "x"), "");
}

}  // namespace
}  // namespace metastore::metactl
