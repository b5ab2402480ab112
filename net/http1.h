// What a server implements to answer HTTP/1.1 requests: /health, /version, /metrics and the like.
//
// Requests of one connection are handled one after the other (pipelined ones wait unread), each as
// a whole: the body has been received, bounded by ServerOptions::http_body_bytes_max. HEAD is
// passed on as such; the transport drops the body and keeps its length.
//
// Answered by the transport itself: 400 malformed, 413 body too large, 431 headers too large, 501
// unknown transfer coding, 505 a version other than 1.0 and 1.1. A request that does not arrive in
// time gets no answer: the connection is closed. The handler answers 404 and 405 (HttpError).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/signal.h"
#include "io/socket.h"
#include "io/task.h"

namespace metastore::net {

struct HttpHeader {
  std::string name;  // requests: lower case
  std::string value;
};

struct HttpRequest {
  std::string method;  // GET, HEAD, POST, ...
  std::string target;  // as received: /health?serializable=true
  std::string path;    // the part before '?', percent-decoded
  std::string query;   // the part after '?', as received
  std::vector<HttpHeader> headers;
  std::string body;
  bool http_1_0 = false;
  bool keep_alive = true;
  io::Address peer;
  io::StopToken cancelled;  // stops when the server gives up waiting in Shutdown

  // The first value of header `name` (lower case).
  std::optional<std::string_view> Find(std::string_view name) const;
  // The percent-decoded values of query parameter `name`, in order; "" for one without '='.
  std::vector<std::string> QueryValues(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<HttpHeader> headers;  // beside Content-Type, Content-Length, Date and Connection
};

// A plain-text error page of ours: "404 page not found\n" and so on, as Go's net/http answers.
HttpResponse HttpError(int status);
// The reason phrase of `status`; "Unknown" for codes without one.
std::string_view HttpReason(int status);

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // `request` outlives the task.
  virtual io::Task<HttpResponse> Handle(HttpRequest& request) = 0;
};

}  // namespace metastore::net
