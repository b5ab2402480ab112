#include "tools/metactl/http_client.h"

#include <curl/curl.h>

#include <vector>

#include "io/base/check.h"

namespace metastore::metactl {
namespace {

size_t TakeBytes(char* data, size_t size, size_t count, void* user) {
  std::string& body = *static_cast<std::string*>(user);
  const size_t bytes = size * count;
  if (body.size() + bytes > kPageBytesMax) return 0;  // makes libcurl give up
  body.append(data, bytes);
  return bytes;
}

Status Explain(CURLcode code, const std::string& endpoint, long timeout_ms) {
  switch (static_cast<int>(code)) {
    case CURLE_COULDNT_CONNECT:
      return UnavailableError(endpoint,
                              ": connection refused: is the server running, and is this its "
                              "client port?");
    case CURLE_COULDNT_RESOLVE_HOST:
      return UnavailableError(endpoint, ": no such host");
    case CURLE_OPERATION_TIMEDOUT:
      return DeadlineExceededError(endpoint, ": no answer within ", timeout_ms, " ms");
    case CURLE_URL_MALFORMAT:
      return InvalidArgumentError(endpoint, ": not a URL of the form http://HOST:PORT");
    case CURLE_UNSUPPORTED_PROTOCOL:  // of the URL, or an answer without HTTP's first line
      if (!endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
        return InvalidArgumentError(endpoint, ": not a URL of the form http://HOST:PORT");
      }
      [[fallthrough]];
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_GOT_NOTHING:
      return FailedPreconditionError(
          endpoint, ": the answer is not HTTP: is this the client port of a MetaStore server?");
    case CURLE_WRITE_ERROR:
      return FailedPreconditionError(endpoint, ": the page is larger than ", kPageBytesMax,
                                     " bytes: this is no MetaStore server");
    default:
      return UnavailableError(endpoint, ": ", curl_easy_strerror(code));
  }
}

}  // namespace

HttpClient::HttpClient(std::string endpoint, long timeout_ms)
    : endpoint_(std::move(endpoint)), timeout_ms_(timeout_ms), curl_(curl_easy_init()) {
  CHECK(curl_ != nullptr);
}

HttpClient::~HttpClient() { curl_easy_cleanup(curl_); }

StatusOr<Page> HttpClient::Get(std::string_view path) {
  Page page;
  const std::string url = Concat(endpoint_, path);
  curl_easy_setopt(curl_, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl_, CURLOPT_PROXY, "");  // a node is asked itself, whatever the environment
  curl_easy_setopt(curl_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl_, CURLOPT_TIMEOUT_MS, timeout_ms_);
  curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, TakeBytes);
  curl_easy_setopt(curl_, CURLOPT_WRITEDATA, &page.body);
  const CURLcode code = curl_easy_perform(curl_);
  if (code != CURLE_OK) return Explain(code, endpoint_, timeout_ms_);
  curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &page.http_status);
  curl_easy_getinfo(curl_, CURLINFO_TOTAL_TIME, &page.seconds);
  return page;
}

StatusOr<std::vector<std::string>> ParseEndpoints(std::string_view list) {
  std::vector<std::string> endpoints;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string_view one = list.substr(0, comma);
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    while (one.ends_with('/')) one.remove_suffix(1);
    while (one.starts_with(' ')) one.remove_prefix(1);
    if (one.empty()) continue;
    endpoints.push_back(one.find("://") == std::string_view::npos ? Concat("http://", one)
                                                                  : std::string(one));
  }
  if (endpoints.empty()) return InvalidArgumentError("--endpoints names no endpoint");
  return endpoints;
}

}  // namespace metastore::metactl
