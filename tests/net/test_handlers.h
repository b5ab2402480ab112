// Handlers for the tests of net/: a gRPC echo service with every way a call can behave, and an
// HTTP/1 handler.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/runtime.h"
#include "net/grpc.h"
#include "net/http1.h"

namespace metastore::net_test {

// Service test.Echo:
//   Unary    answers the request; metadata "want-code" (a number) and "want-message" ask for an
//            error, "want-bytes" for that many bytes instead, "want-trailer" for a trailer
//   Sleep    as Unary once the stop of the call or ReleaseSleepers comes: kCancelled, or the
//            request
//   Echo     (stream) answers each message with itself, until the half-close
//   Flood    (stream) reads one message, a number N, and writes N messages of 1,000 bytes
//   Collect  (stream) reads everything once ReleaseSleepers has come, and answers the count of
//            messages and bytes
//   Both     (stream) reads and writes 1,000 bytes for ever, in two tasks, until ReleaseSleepers
//            comes; then interrupts both, tries each once more, and ends with kAborted and the
//            codes of all four: "read 1 write 1, then 1 1"
class EchoService final : public net::GrpcHandler {
 public:
  explicit EchoService(io::Runtime& runtime) : runtime_(runtime) {}

  net::MethodMatch Find(std::string_view path) const override;
  io::Task<net::GrpcReply> Unary(net::MethodId method, net::GrpcRequest& request) override;
  io::Task<Status> Stream(net::MethodId method, net::GrpcStream& stream) override;

  void ReleaseSleepers();
  // A later Sleep or Collect waits again.
  void HoldSleepers() { released_ = false; }

  size_t begun = 0;      // handlers
  size_t running = 0;    // handlers
  size_t cancelled = 0;  // handlers that ended by their call's stop
  size_t written = 0;    // messages that Flood's Write has accepted
  std::map<std::string, std::string> last_metadata;
  MonoTime last_deadline;

 private:
  io::Task<net::GrpcReply> Answer(net::GrpcRequest& request);
  io::Task<bool> SleepUntilReleased(io::StopToken stop);
  io::Task<Status> Echo(net::GrpcStream& stream);
  io::Task<Status> Flood(net::GrpcStream& stream);
  io::Task<Status> Collect(net::GrpcStream& stream);
  io::Task<Status> Both(net::GrpcStream& stream);
  static io::Task<void> ReadOn(net::GrpcStream& stream, Status& ended);
  io::Task<void> WriteOn(net::GrpcStream& stream, Status& ended);

  io::Runtime& runtime_;
  bool released_ = false;
  io::Signal release_;
};

// GET and HEAD /hello answer "hello"; POST /echo the body; /slow as /hello one second later;
// everything else is 404, and another method on /hello 405.
class HelloPages final : public net::HttpHandler {
 public:
  explicit HelloPages(io::Runtime& runtime) : runtime_(runtime) {}
  io::Task<net::HttpResponse> Handle(net::HttpRequest& request) override;

  std::vector<std::string> handled;  // "METHOD target"

 private:
  io::Runtime& runtime_;
};

}  // namespace metastore::net_test
