// Aim: values are read as Go reads them, and nothing else is. Method: tables of texts and results.
#include "server/config_values.h"

#include <gtest/gtest.h>

#include "server/config_url.h"

namespace metastore::server {
namespace {

TEST(ConfigValues, BooleansAreGoOnes) {
  for (const char* text : {"1", "t", "T", "true", "True", "TRUE"}) {
    EXPECT_TRUE(ParseBool(text).value()) << text;
  }
  for (const char* text : {"0", "f", "F", "false", "False", "FALSE"}) {
    EXPECT_FALSE(ParseBool(text).value()) << text;
  }
  for (const char* text : {"", "yes", "tRUE", " true", "2"})
    EXPECT_FALSE(ParseBool(text).ok()) << text;
}

TEST(ConfigValues, NumbersAreDecimalAndWhole) {
  EXPECT_EQ(ParseUint("0").value(), 0U);
  EXPECT_EQ(ParseUint("18446744073709551615").value(), UINT64_MAX);
  EXPECT_EQ(ParseInt("-1").value(), -1);
  for (const char* text : {"", "-1", "+1", "1.5", "1e3", "0x10", "10 ", "18446744073709551616"}) {
    EXPECT_EQ(ParseUint(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
  for (const char* text : {"", "--1", "9223372036854775808", "one"}) {
    EXPECT_EQ(ParseInt(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(ConfigValues, DurationsHaveUnits) {
  const struct {
    const char* text;
    int64_t ns;
  } cases[] = {{"0", 0},
               {"0s", 0},
               {"5s", 5'000'000'000},
               {"100ms", 100'000'000},
               {"300us", 300'000},
               {"300\u00b5s", 300'000},
               {"7ns", 7},
               {"1h30m", 5'400'000'000'000},
               {"1.5s", 1'500'000'000},
               {"0.1s", 100'000'000},
               {"2h", 7'200'000'000'000}};
  for (const auto& one : cases) EXPECT_EQ(ParseDuration(one.text).value().ns, one.ns) << one.text;
  for (const char* text :
       {"", "5", "s", "-5s", "5 s", "5x", "1.2.3s", ".s", "1e3s", "9999999h", "infs"}) {
    EXPECT_EQ(ParseDuration(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(ConfigValues, CpuListsTakeNumbersAndRanges) {
  EXPECT_EQ(ParseCpuList("0-2,5").value(), (std::vector<int>{0, 1, 2, 5}));
  EXPECT_TRUE(ParseCpuList("").value().empty());
  for (const char* text : {"a", "3-1", "1024", "0-", "-1", "1,1", "0-2,1", "0-99999999999"}) {
    EXPECT_EQ(ParseCpuList(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(ConfigValues, ListsLoseBlanksAndEmptyParts) {
  EXPECT_EQ(SplitList(" a, b,,c ,"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(SplitList(" , ").empty());
}

TEST(ConfigUrl, GoodUrlsComeBackAsTheyWere) {
  for (const char* text : {"http://localhost:2379", "http://127.0.0.1:1", "http://[::1]:65535",
                           "http://Node-1.a_b:2380"}) {
    const StatusOr<Url> url = ParseUrl(text);
    ASSERT_TRUE(url.ok()) << url.status();
    EXPECT_EQ(url->ToString(), text);
  }
  EXPECT_EQ(ParseUrl("  HTTP://a:1 ").value().ToString(), "http://a:1");
}

TEST(ConfigUrl, BadUrlsSayWhatIsWrong) {
  const struct {
    const char* text;
    const char* what;
  } cases[] = {{"", "form http://host:port"},
               {"localhost:2379", "form http://host:port"},
               {"http://localhost", "form http://host:port"},
               {"http://:2379", "form http://host:port"},
               {"http://a b:1", "form http://host:port"},
               {"http://::1:2379", "form http://host:port"},
               {"http://[localhost]:1", "form http://host:port"},
               {"http://user@host:1", "form http://host:port"},
               {"http://a:0", "port"},
               {"http://a:65536", "port"},
               {"http://a:080", "port"},
               {"http://a:", "port"},
               {"http://a:1/", "path"},
               {"http://a:1/v3", "path"},
               {"http://a:1?x", "path"},
               {"https://a:1", "TLS"},
               {"unix://a:1", "unix sockets"},
               {"ftp://a:1", "scheme"}};
  for (const auto& one : cases) {
    const Status status = ParseUrl(one.text).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << one.text;
    EXPECT_NE(status.message().find(one.what), absl::string_view::npos)
        << one.text << ": " << status;
  }
}

TEST(ConfigUrl, ListsAreNeitherEmptyNorRepeated) {
  EXPECT_EQ(ToStrings(ParseUrlList("http://b:1, http://a:1").value()),
            (std::vector<std::string>{"http://b:1", "http://a:1"}));
  EXPECT_EQ(ParseUrlList("").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseUrlList("http://a:1,http://a:1").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseUrlList("http://a:1,b").status().code(), StatusCode::kInvalidArgument);
}

TEST(ConfigUrl, OnlyAddressesAndLocalhostAreListenedOn) {
  EXPECT_EQ(BindAddress({"http", "localhost", 1}).value(),
            (io::Address{.ip = "127.0.0.1", .port = 1}));
  EXPECT_EQ(BindAddress({"http", "0.0.0.0", 2}).value(), (io::Address{.ip = "0.0.0.0", .port = 2}));
  EXPECT_EQ(BindAddress({"http", "::1", 3}).value(), (io::Address{.ip = "::1", .port = 3}));
  EXPECT_EQ(BindAddress({"http", "example.com", 4}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace metastore::server
