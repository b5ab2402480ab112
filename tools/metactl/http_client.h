// HTTP GET from a node's client port, with errors that say in one line what is wrong with the
// endpoint. Blocks; for tools.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/base/limits.h"
#include "io/base/status.h"

namespace metastore::metactl {

// A page is refused above this: no page of a node comes near it.
inline constexpr size_t kPageBytesMax = 64 * limits::kMiB;

struct Page {
  long http_status = 0;
  std::string body;
  double seconds = 0;  // from the request to the last byte
};

// One connection a client, kept between pages.
class HttpClient final {
 public:
  //   endpoint     http://HOST:PORT
  //   timeout_ms   of one page, connecting included
  HttpClient(std::string endpoint, long timeout_ms);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Errors: kInvalidArgument     the endpoint is no URL
  //         kUnavailable         refused, unknown host, or the connection was lost
  //         kDeadlineExceeded    no answer in time
  //         kFailedPrecondition  the answer is not HTTP, or too large: another port or program
  StatusOr<Page> Get(std::string_view path);

  const std::string& endpoint() const { return endpoint_; }

 private:
  const std::string endpoint_;
  const long timeout_ms_;
  void* curl_;  // CURL*, whose header is not for ours
};

// "127.0.0.1:2379,http://b:2379/" as URLs, with their scheme and without a slash at the end.
// Errors: kInvalidArgument  there is none
StatusOr<std::vector<std::string>> ParseEndpoints(std::string_view list);

}  // namespace metastore::metactl
