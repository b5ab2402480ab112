// URLs as etcd's flags carry them: scheme, host and port, no path. Pure functions on values.
//
// Invariant: ToString() of a parsed URL is the text it came from, but for surrounding blanks; so
// ids computed from peer URLs (server/membership.h) are etcd's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"
#include "io/socket.h"

namespace metastore::server {

struct Url {
  std::string scheme;  // "http"
  std::string host;    // a name or an IP literal; IPv6 without its brackets
  uint16_t port = 0;   // 1..65535

  bool operator==(const Url&) const = default;
  std::string ToString() const;  // http://127.0.0.1:2379, http://[::1]:2379
};

// Parses one URL of the form http://host:port. A trailing slash is a path, and refused, as in etcd.
// Errors: kInvalidArgument  not of that form, or https/unix, which this server does not speak yet
StatusOr<Url> ParseUrl(std::string_view text);

// Parses a comma-separated list of at least one URL, each once, in the order given.
// Errors: kInvalidArgument  as ParseUrl; an empty list; one named twice
StatusOr<std::vector<Url>> ParseUrlList(std::string_view text);

// The address to listen on: an IP literal as it is, "localhost" as 127.0.0.1.
// Errors: kInvalidArgument  another name: listen URLs take IP addresses, as in etcd
StatusOr<io::Address> BindAddress(const Url& url);

// The URLs' texts, in order.
std::vector<std::string> ToStrings(const std::vector<Url>& urls);

}  // namespace metastore::server
