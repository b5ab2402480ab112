#include "net/http1_format.h"

#include <array>

#include "absl/strings/str_format.h"
#include "io/base/status.h"

namespace metastore::net {
namespace {

constexpr std::array<const char*, 7> kDays = {"Thu", "Fri", "Sat", "Sun",
                                              "Mon", "Tue", "Wed"};  // 1970 began on one
constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

bool IsLeap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

int64_t DaysIn(size_t month, int64_t year) {
  constexpr std::array<int64_t, 12> kDaysIn = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return kDaysIn[month] + (month == 1 && IsLeap(year) ? 1 : 0);
}

void AppendHeader(std::string& to, std::string_view name, std::string_view value) {
  to.append(name).append(": ").append(value.substr(0, value.find_first_of("\r\n"))).append("\r\n");
}

}  // namespace

std::string FormatHttpDate(WallTime time) {
  const int64_t seconds = time.ns / 1'000'000'000;
  const int64_t days = seconds / 86400;
  const int64_t second = seconds % 86400;
  int64_t day = days;
  int64_t year = 1970;
  while (day >= (IsLeap(year) ? 366 : 365)) day -= IsLeap(year++) ? 366 : 365;
  size_t month = 0;
  while (day >= DaysIn(month, year)) day -= DaysIn(month++, year);
  return absl::StrFormat("%s, %02d %s %04d %02d:%02d:%02d GMT",
                         kDays[static_cast<size_t>(days % 7)], day + 1, kMonths[month], year,
                         second / 3600, second / 60 % 60, second % 60);
}

std::string FormatHttpResponse(const HttpResponse& response, const HttpFraming& framing) {
  std::string bytes =
      Concat("HTTP/1.1 ", response.status, " ", HttpReason(response.status), "\r\n");
  AppendHeader(bytes, "Content-Type", response.content_type);
  for (const HttpHeader& header : response.headers) AppendHeader(bytes, header.name, header.value);
  AppendHeader(bytes, "Date", FormatHttpDate(framing.now));
  AppendHeader(bytes, "Content-Length", Concat(response.body.size()));
  if (!framing.keep_alive) AppendHeader(bytes, "Connection", "close");
  if (framing.keep_alive && framing.http_1_0) AppendHeader(bytes, "Connection", "keep-alive");
  bytes.append("\r\n");
  if (!framing.head) bytes.append(response.body);
  return bytes;
}

}  // namespace metastore::net
