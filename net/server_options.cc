#include "net/server_options.h"

#include "io/base/status.h"

namespace metastore::net {
namespace {

constexpr size_t kMessageBytesMax = limits::kGiB;

// Ten years: a time plus any of these cannot overflow.
constexpr Duration kTimeMax = Seconds(315'360'000);

void Positive(std::vector<std::string>& problems, const char* name, Duration value) {
  if (value > kTimeMax) problems.push_back(Concat(name, " must be at most ten years"));
  if (value.ns <= 0) problems.push_back(Concat(name, " must be positive, is ", value.ms(), " ms"));
}

}  // namespace

std::vector<std::string> ServerOptions::Validate() const {
  std::vector<std::string> problems;
  if (connections_max == 0) problems.push_back("connections_max must be at least 1");
  if (streams_max == 0) problems.push_back("streams_max must be at least 1");
  if (message_bytes_max == 0 || message_bytes_max > kMessageBytesMax) {
    problems.push_back(
        Concat("message_bytes_max must be 1 to ", kMessageBytesMax, ", is ", message_bytes_max));
  }
  if (held_request_bytes_max < 8 * message_bytes_max) {
    problems.push_back("held_request_bytes_max must be at least 8 times message_bytes_max");
  }
  if (held_reply_bytes_max == 0) problems.push_back("held_reply_bytes_max must be at least 1");
  Positive(problems, "preface_timeout", preface_timeout);
  Positive(problems, "http_header_timeout", http_header_timeout);
  Positive(problems, "send_timeout", send_timeout);
  Positive(problems, "keepalive.interval", keepalive.interval);
  Positive(problems, "keepalive.timeout", keepalive.timeout);
  if (keepalive.min_time.ns < 0) problems.push_back("keepalive.min_time must not be negative");
  return problems;
}

}  // namespace metastore::net
