// Aim: no bytes crash the HTTP/1 parser or make it hold more than its limits; every cut gives the
// same requests; what a request holds is safe to pass on. Method: the input is parsed whole, byte
// by byte and in pieces of seven, and the outcomes compared.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/check.h"
#include "net/http1_format.h"
#include "net/http1_parser.h"
#include "net/net_limits.h"

namespace {

namespace net = metastore::net;
namespace net_limits = metastore::net_limits;

constexpr size_t kBodyMax = 2000;

struct Outcome {
  std::vector<std::string> requests;  // all fields of each, joined
  int error = 0;
  bool operator==(const Outcome&) const = default;
};

std::string Flat(const net::HttpRequest& request) {
  CHECK_LE(request.body.size(), kBodyMax);
  CHECK_LE(request.headers.size(), net_limits::kHttpHeadersMax);
  CHECK_LE(request.target.size(), net_limits::kHttpHeaderBytesMax);
  CHECK(request.target.find_first_of("\r\n \t") == std::string::npos);
  std::string flat =
      request.method + " " + request.target + " " + request.path + " " + request.query;
  for (const net::HttpHeader& header : request.headers) {
    CHECK(header.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
    flat += "\n" + header.name + ": " + header.value;
  }
  for (const std::string& value : request.QueryValues("a")) flat += "\n?" + value;
  return flat + (request.keep_alive ? "\nkeep\n" : "\nclose\n") + request.body;
}

Outcome Parse(std::string_view bytes, size_t piece) {
  net::Http1Parser parser(kBodyMax);
  Outcome outcome;
  while (!bytes.empty() && outcome.error == 0) {
    std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    while (!part.empty() && outcome.error == 0) {
      const net::Http1Parser::State state = parser.Take(part);
      CHECK_EQ(state == net::Http1Parser::State::kFailed, parser.error_status() != 0);
      outcome.error = parser.error_status();
      (void)parser.awaits_continue();
      if (state != net::Http1Parser::State::kComplete) continue;
      outcome.requests.push_back(Flat(parser.request()));
      parser.Next();
    }
  }
  return outcome;
}

void FuzzFormat(std::string_view input) {
  net::HttpResponse response;
  response.headers.push_back({"X-Input", std::string(input)});
  const std::string bytes = net::FormatHttpResponse(response, net::HttpFraming{});
  const size_t end = bytes.find("\r\n\r\n");
  CHECK_EQ(end + 4, bytes.size());  // nothing of the value ended the headers
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Outcome whole = Parse(input, input.size());
  CHECK(Parse(input, 1) == whole);
  CHECK(Parse(input, 7) == whole);
  FuzzFormat(input);
  return 0;
}
