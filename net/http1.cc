#include "net/http1.h"

#include <algorithm>

#include "io/base/status.h"
#include "net/grpc_codec.h"

namespace metastore::net {
namespace {

// A query component: '+' is a space, then percent escapes.
std::string QueryDecoded(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return PercentDecoded(spaced);
}

}  // namespace

std::optional<std::string_view> HttpRequest::Find(std::string_view name) const {
  for (const HttpHeader& header : headers) {
    if (header.name == name) return std::string_view(header.value);
  }
  return std::nullopt;
}

std::vector<std::string> HttpRequest::QueryValues(std::string_view name) const {
  std::vector<std::string> values;
  std::string_view rest = query;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    if (QueryDecoded(pair.substr(0, equals)) != name) continue;
    values.push_back(QueryDecoded(pair.substr(std::min(equals + 1, pair.size()))));
  }
  return values;
}

std::string_view HttpReason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

HttpResponse HttpError(int status) {
  HttpResponse response;
  response.status = status;
  if (status == 404) {
    response.body = "404 page not found\n";
  } else {
    response.body = Concat(status, " ", HttpReason(status), "\n");
  }
  response.headers.push_back(HttpHeader{.name = "X-Content-Type-Options", .value = "nosniff"});
  return response;
}

}  // namespace metastore::net
