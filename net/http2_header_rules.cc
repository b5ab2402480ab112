#include "net/http2_header_rules.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <utility>

namespace metastore::net {
namespace {

constexpr uint8_t kMethod = 1;
constexpr uint8_t kScheme = 2;
constexpr uint8_t kPath = 4;
constexpr uint8_t kAuthority = 8;

const uint8_t* Bytes(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool EqualIgnoringCase(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                    [](char a, char b) { return Lower(a) == b; });
}

// RFC 3986 section 3.1.
bool IsScheme(std::string_view text) {
  if (text.empty() || !IsLetter(text.front())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return IsLetter(c) || IsDigit(c) || c == '+' || c == '-' || c == '.';
  });
}

// -1: no number, or none that fits.
int64_t ParseLength(std::string_view text) {
  if (text.empty()) return -1;
  int64_t length = 0;
  for (const char c : text) {
    if (!IsDigit(c) || length > (INT64_MAX - (c - '0')) / 10) return -1;
    length = length * 10 + (c - '0');
  }
  return length;
}

// RFC 9113 8.2.2: of one connection's hops, which HTTP/2 has no use for.
bool IsConnectionHeader(std::string_view name) {
  switch (name.size()) {
    case 7:
      return name == "upgrade";
    case 10:
      return name == "connection" || name == "keep-alive";
    case 16:
      return name == "proxy-connection";
    case 17:
      return name == "transfer-encoding";
    default:
      return false;
  }
}

bool IsMethod(std::string_view text) { return nghttp2_check_method(Bytes(text), text.size()) != 0; }
bool IsPath(std::string_view text) { return nghttp2_check_path(Bytes(text), text.size()) != 0; }
bool IsAuthority(std::string_view text) {
  return nghttp2_check_authority(Bytes(text), text.size()) != 0;
}
bool IsName(std::string_view text) {
  return nghttp2_check_header_name(Bytes(text), text.size()) != 0;
}
bool IsValue(std::string_view text) {
  return nghttp2_check_header_value_rfc9113(Bytes(text), text.size()) != 0;
}

}  // namespace

void HeaderRules::BeginRequest() { *this = HeaderRules(); }

void HeaderRules::BeginTrailers(const RequestFacts& request) {
  *this = HeaderRules();
  facts_ = request;
  trailers_ = true;
}

bool HeaderRules::Check(std::string_view name, std::string_view value) {
  if (!IsName(name)) return false;
  return name.front() == ':' ? CheckPseudo(name, value) : CheckRegular(name, value);
}

bool HeaderRules::Note(uint8_t seen, std::string_view value) {
  if ((seen_ & seen) != 0 || value.empty()) return false;
  seen_ |= seen;
  return true;
}

bool HeaderRules::CheckPseudo(std::string_view name, std::string_view value) {
  if (trailers_ || regular_seen_) return false;
  if (name == ":method") {
    connect_ = value == "CONNECT";
    options_ = value == "OPTIONS";
    return IsMethod(value) && Note(kMethod, value);
  }
  if (name == ":scheme") {
    scheme_http_ = EqualIgnoringCase(value, "http") || EqualIgnoringCase(value, "https");
    return IsScheme(value) && Note(kScheme, value);
  }
  if (name == ":path") {
    path_absolute_ = value.starts_with('/');
    path_asterisk_ = value == "*";
    return IsPath(value) && Note(kPath, value);
  }
  return name == ":authority" && IsAuthority(value) && Note(kAuthority, value);
}

bool HeaderRules::CheckRegular(std::string_view name, std::string_view value) {
  regular_seen_ = true;
  if (name == "host") {
    if (std::exchange(facts_.host, true)) return false;
    return !value.empty() && IsAuthority(value);
  }
  if (!IsValue(value)) return false;
  if (name == "te") return EqualIgnoringCase(value, "trailers");
  if (name == "content-length") {
    if (facts_.content_length != -1) return false;
    facts_.content_length = ParseLength(value);
    return facts_.content_length != -1;
  }
  return !IsConnectionHeader(name);
}

bool HeaderRules::CompleteRequest() {
  if (connect_) {
    facts_.content_length = -1;
    return (seen_ & (kScheme | kPath)) == 0 && (seen_ & kAuthority) != 0;
  }
  constexpr uint8_t kNeeded = kMethod | kScheme | kPath;
  if ((seen_ & kNeeded) != kNeeded) return false;
  if ((seen_ & kAuthority) == 0 && !facts_.host) return false;
  // RFC 9113 8.3.1: the path of an http request begins with a slash; "*" is for OPTIONS.
  return !scheme_http_ || path_absolute_ || (options_ && path_asterisk_);
}

}  // namespace metastore::net
