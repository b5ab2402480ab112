// One HTTP/1 connection: requests one after the other. While one is handled nothing is received, so
// that pipelined requests cost no more than the bytes that came with the first.
#include <utility>

#include "net/close_timer.h"
#include "net/connection.h"
#include "net/http1_format.h"
#include "net/http1_parser.h"

namespace metastore::net {
namespace {

class Http1Connection final {
 public:
  Http1Connection(ConnectionHost& host, ByteStream& stream)
      : host_(host),
        stream_(stream),
        parser_(host.options.http_body_bytes_max),
        timer_(host.runtime, stream) {
    drain_.owner = this;
    drain_.stopped = [](io::StopCallback& callback) {
      static_cast<Drain&>(callback).owner->OnDrain();
    };
  }
  Http1Connection(const Http1Connection&) = delete;
  Http1Connection& operator=(const Http1Connection&) = delete;

  io::Task<void> Run(std::string first);

 private:
  struct Drain : io::StopCallback {
    Http1Connection* owner = nullptr;
  };

  // The next request is whole, or the parser has failed (true); the connection ends (false).
  io::Task<bool> ReceiveRequest();
  io::Task<Status> SendContinue();
  io::Task<bool> Handle();
  io::Task<Status> Respond(HttpResponse response, bool keep_alive);
  io::Task<void> Refuse();
  // Takes from rest_ what the parser wants.
  Http1Parser::State Parse();
  void OnDrain();

  ConnectionHost& host_;
  ByteStream& stream_;
  Http1Parser parser_;
  CloseTimer timer_;
  Drain drain_;
  std::string rest_;  // received, not parsed: of pipelined requests
  bool draining_ = false;
  bool waiting_ = false;    // for the first byte of a request
  bool continued_ = false;  // "100 Continue" has been sent for the request under way
};

// An idle connection is closed at once; a request under way is still answered.
void Http1Connection::OnDrain() {
  draining_ = true;
  if (waiting_) stream_.Close();
}

Http1Parser::State Http1Connection::Parse() {
  std::string_view bytes = rest_;
  const Http1Parser::State state = parser_.Take(bytes);
  rest_.erase(0, rest_.size() - bytes.size());
  return state;
}

io::Task<void> Http1Connection::Run(std::string first) {
  rest_ = std::move(first);
  if (!host_.draining.Register(drain_)) OnDrain();
  bool going_on = true;
  while (going_on) {
    const bool received = co_await ReceiveRequest();
    if (!received) break;
    going_on = co_await Handle();
  }
  if (timer_.expired()) ++host_.stats.timeouts;
}

io::Task<bool> Http1Connection::ReceiveRequest() {
  timer_.Set(host_.options.http_header_timeout);
  while (true) {
    const Http1Parser::State state = Parse();
    if (state != Http1Parser::State::kNeedMore) break;
    if (parser_.awaits_continue() && !std::exchange(continued_, true)) {
      const Status sent = co_await SendContinue();
      if (!sent.ok()) co_return false;
    }
    waiting_ = parser_.idle();
    if (waiting_ && draining_) co_return false;
    StatusOr<io::ReceivedBytes> received = co_await stream_.Receive();
    waiting_ = false;
    if (!received.ok() || received->end_of_stream()) co_return false;
    host_.stats.received_bytes += received->view().size();
    rest_.append(received->view());
  }
  timer_.Cancel();
  co_return true;
}

io::Task<Status> Http1Connection::SendContinue() {
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  host_.stats.sent_bytes += kContinue.size();
  const Status sent = co_await stream_.Send(kContinue);
  co_return sent;
}

// Answers the request that has been received; true if another may follow.
io::Task<bool> Http1Connection::Handle() {
  if (parser_.error_status() != 0) {
    co_await Refuse();
    co_return false;
  }
  HttpRequest& request = parser_.request();
  request.peer = stream_.peer();
  request.cancelled = host_.stopped;
  ++host_.stats.http_requests_total;
  HttpResponse response = co_await host_.http.Handle(request);
  const bool keep_alive = request.keep_alive && !draining_ && !host_.stopped.stopped();
  const Status sent = co_await Respond(std::move(response), keep_alive);
  if (!sent.ok() || !keep_alive) co_return false;
  parser_.Next();
  continued_ = false;
  co_await io::Yield();  // a long pipeline shares the core
  co_return true;
}

io::Task<Status> Http1Connection::Respond(HttpResponse response, bool keep_alive) {
  const HttpRequest& request = parser_.request();
  const std::string bytes =
      FormatHttpResponse(response, HttpFraming{.keep_alive = keep_alive,
                                               .head = request.method == "HEAD",
                                               .http_1_0 = request.http_1_0,
                                               .now = host_.runtime.WallNow()});
  timer_.Set(host_.options.send_timeout);
  const Status sent = co_await stream_.Send(bytes);
  timer_.Cancel();
  if (sent.ok()) host_.stats.sent_bytes += bytes.size();
  if (sent.ok() && !keep_alive) stream_.ShutdownSend();
  co_return sent;
}

// Answers what is no request, then takes in what the client is still sending, for a while: closing
// with unread bytes would reset the connection under the answer.
io::Task<void> Http1Connection::Refuse() {
  ++host_.stats.http_errors;
  HttpResponse response = HttpError(parser_.error_status());
  const Status sent = co_await Respond(std::move(response), false);
  if (!sent.ok()) co_return;
  CloseTimer linger(host_.runtime, stream_);
  linger.Set(Seconds(1));
  while (true) {
    const StatusOr<io::ReceivedBytes> received = co_await stream_.Receive();
    if (!received.ok() || received->end_of_stream()) co_return;
  }
}

}  // namespace

io::Task<void> ServeHttp1(ConnectionHost& host, ByteStream& stream, std::string first) {
  Http1Connection connection(host, stream);
  co_await connection.Run(std::move(first));
}

}  // namespace metastore::net
