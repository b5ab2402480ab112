#include "server/config_url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "server/config_values.h"

namespace metastore::server {
namespace {

constexpr size_t kHostBytesMax = 253;  // RFC 1035 names; IP literals are shorter

bool IsIpLiteral(const std::string& host) {
  std::array<unsigned char, 16> address{};
  return inet_pton(AF_INET, host.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
}

bool IsHostName(std::string_view host) {
  return !host.empty() && host.size() <= kHostBytesMax && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

Status CheckScheme(std::string_view scheme, std::string_view text) {
  if (scheme == "http") return OkStatus();
  if (scheme == "https") {
    return InvalidArgumentError("\"", text, "\": TLS is not offered yet; use http");
  }
  if (scheme == "unix" || scheme == "unixs") {
    return InvalidArgumentError("\"", text, "\": unix sockets are not offered; use http");
  }
  return InvalidArgumentError("\"", text, "\": the URL scheme must be http");
}

// Splits host:port or [v6]:port.
Status ParseHostPort(std::string_view authority, std::string_view text, Url& url) {
  const Status form =
      InvalidArgumentError("\"", text, "\": the URL does not have the form http://host:port");
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos) return form;
  std::string_view host = authority.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  url.host = host;
  const bool literal_v6 = IsIpLiteral(url.host) && host.find(':') != std::string_view::npos;
  if (bracketed ? !literal_v6 : !IsHostName(host)) return form;

  const std::string_view digits = authority.substr(colon + 1);
  StatusOr<uint64_t> port = ParseUint(digits);
  if (!port.ok() || *port < 1 || *port > UINT16_MAX || digits.front() == '0') {
    return InvalidArgumentError("\"", text, "\": the port must be a number from 1 to 65535");
  }
  url.port = static_cast<uint16_t>(*port);
  return OkStatus();
}

}  // namespace

std::string Url::ToString() const {
  const bool v6 = host.find(':') != std::string::npos;
  return Concat(scheme, "://", v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
}

StatusOr<Url> ParseUrl(std::string_view text) {
  text = TrimBlanks(text);
  const size_t mark = text.find("://");
  if (mark == std::string_view::npos) {
    return InvalidArgumentError("\"", text, "\": the URL does not have the form http://host:port");
  }
  Url url;
  url.scheme = text.substr(0, mark);
  std::ranges::transform(url.scheme, url.scheme.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  MS_RETURN_IF_ERROR(CheckScheme(url.scheme, text));
  const std::string_view authority = text.substr(mark + 3);
  if (authority.find_first_of("/?#") != std::string_view::npos) {
    return InvalidArgumentError("\"", text, "\": the URL must not contain a path");
  }
  MS_RETURN_IF_ERROR(ParseHostPort(authority, text, url));
  return url;
}

StatusOr<std::vector<Url>> ParseUrlList(std::string_view text) {
  std::vector<Url> urls;
  for (const std::string& part : SplitList(text)) {
    StatusOr<Url> url = ParseUrl(part);
    if (!url.ok()) return url.status();
    if (std::ranges::find(urls, *url) != urls.end()) {
      return InvalidArgumentError("\"", part, "\" is named twice");
    }
    urls.push_back(*std::move(url));
  }
  if (urls.empty()) return InvalidArgumentError("expected at least one URL");
  return urls;
}

StatusOr<io::Address> BindAddress(const Url& url) {
  if (url.host == "localhost") return io::Address{.ip = "127.0.0.1", .port = url.port};
  if (IsIpLiteral(url.host)) return io::Address{.ip = url.host, .port = url.port};
  return InvalidArgumentError("\"", url.ToString(),
                              "\": expected an IP address or localhost to listen on");
}

std::vector<std::string> ToStrings(const std::vector<Url>& urls) {
  std::vector<std::string> texts;
  texts.reserve(urls.size());
  for (const Url& url : urls) texts.push_back(url.ToString());
  return texts;
}

}  // namespace metastore::server
