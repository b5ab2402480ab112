// One HTTP/2 connection: a reader, a writer, and the calls, around the two pure machines
// Http2Session and GrpcSession.
//
// The writer sleeps on `wake_`. Whoever makes output (a reply, a window update, a ping) wakes it;
// it runs after what is already ready, so the replies of one turn share one frame buffer and one
// send. While a send is under way new output gathers in the session's other buffer.
//
// The reader stops while the output is full (the peer does not read), never for flow-control
// windows: the updates that would open them have to be read.
//
// One timer serves all that can be late: the peer's SETTINGS, a send, an answer to our ping, the
// peer's close after ours.
#include <algorithm>
#include <memory>
#include <utility>

#include "net/connection.h"
#include "net/grpc_session.h"
#include "net/http2_server_session.h"

namespace metastore::net {
namespace {

// After our last byte the peer may still be sending; closing at once would reset the connection
// under a GOAWAY that it has not read yet.
constexpr Duration kLinger = Seconds(1);

class Http2Connection final {
 public:
  Http2Connection(ConnectionHost& host, ByteStream& stream)
      : host_(host),
        stream_(stream),
        gate_(host.runtime.scheduler()),
        grpc_(GrpcSession::Environment{.runtime = host.runtime,
                                       .gate = gate_,
                                       .wake = wake_,
                                       .handler = host.grpc,
                                       .pool = host.calls,
                                       .held_requests = host.held_requests,
                                       .held_replies = host.held_replies,
                                       .stats = host.stats,
                                       .peer = stream.peer(),
                                       .message_bytes_max = host.options.message_bytes_max,
                                       .calls_max = host.options.streams_max}),
        session_(MakeHttp2Session(grpc_,
                                  Http2Options{.streams_max = host.options.streams_max,
                                               .keepalive = host.options.keepalive,
                                               .hash_seed = host.hash_seed},
                                  host.runtime.Now())),
        settings_due_(host.runtime.Now() + host.options.preface_timeout) {
    grpc_.Attach(*session_);
    tick_.owner = drain_.owner = stop_.owner = this;
    tick_.fired = [](io::Timer& timer) { static_cast<Tick&>(timer).owner->OnTick(); };
    drain_.stopped = [](io::StopCallback& callback) {
      static_cast<Callback&>(callback).owner->OnDrain();
    };
    stop_.stopped = [](io::StopCallback& callback) {
      static_cast<Callback&>(callback).owner->OnStop();
    };
  }
  ~Http2Connection() { host_.runtime.Cancel(tick_); }
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  io::Task<void> Run(std::string first);

 private:
  struct Tick : io::Timer {
    Http2Connection* owner = nullptr;
  };
  struct Callback : io::StopCallback {
    Http2Connection* owner = nullptr;
  };

  io::Task<void> ReadLoop();
  io::Task<void> WriteLoop();
  void Feed(std::string_view bytes);
  // For the writer: frames to make, or frames that the session made while it was fed.
  bool HasWork() { return session_->wants_pump() || !session_->Output().empty(); }
  bool OutputFull() {
    const bool send_stuck =
        send_due_ != MonoTime::Max() && sending_.size() >= net_limits::kOutputBytesHigh;
    return send_stuck || session_->Output().size() >= net_limits::kOutputBytesHigh;
  }
  void FinishSending();

  void OnTick();
  void OnDrain();
  void OnStop();
  MonoTime NextTick() const;
  void ArmTick();

  ConnectionHost& host_;
  ByteStream& stream_;
  io::Signal wake_;     // the writer has something to do
  io::Signal drained_;  // the reader may go on
  io::Gate gate_;
  GrpcSession grpc_;
  std::unique_ptr<Http2Session> session_;
  std::string sending_;
  bool reading_ = true;
  bool writing_ = true;
  Tick tick_;
  Callback drain_;
  Callback stop_;
  MonoTime settings_due_;
  MonoTime send_due_ = MonoTime::Max();  // Max: none is under way
  MonoTime linger_due_ = MonoTime::Max();
};

io::Task<void> Http2Connection::Run(std::string first) {
  CHECK(gate_.Spawn("net.http2.write", io::ReadyClass::kClient, WriteLoop()));
  if (!host_.draining.Register(drain_)) OnDrain();
  if (!host_.stopped.Register(stop_)) OnStop();
  ArmTick();
  Feed(first);
  std::string().swap(first);
  co_await ReadLoop();
  reading_ = false;
  grpc_.StopCalls("the connection is lost");
  wake_.NotifyAll();
  linger_due_ = std::min(linger_due_, host_.runtime.Now() + kLinger);
  ArmTick();
  co_await gate_.Close();
  session_.reset();  // closes the streams that are left, and with them their calls
}

void Http2Connection::Feed(std::string_view bytes) {
  if (session_->finished()) return;  // only waiting for the peer to close
  // A fault is noted by the session; the writer sends the GOAWAY and ends.
  const MonoTime now = host_.runtime.Now();
  grpc_.NoteReceived(now);
  const Status fed = session_->Feed(now, bytes);
  if (!fed.ok() || HasWork() || session_->finished()) wake_.NotifyOne();
}

io::Task<void> Http2Connection::ReadLoop() {
  while (true) {
    while (writing_ && OutputFull()) {
      co_await drained_.Wait();
    }
    StatusOr<io::ReceivedBytes> received = co_await stream_.Receive();
    if (!received.ok() || received->end_of_stream()) co_return;
    host_.stats.received_bytes += received->view().size();
    Feed(received->view());
    *received = io::ReceivedBytes();  // back to the pool before others run
    co_await io::Yield();
  }
}

io::Task<void> Http2Connection::WriteLoop() {
  while (true) {
    const MonoTime now = host_.runtime.Now();
    session_->Pump(now);
    grpc_.NoteSent(now);
    if (session_->Output().empty()) {
      if (!reading_ || session_->finished()) break;
      co_await wake_.Wait();
      continue;
    }
    sending_.swap(session_->Output());
    send_due_ = host_.runtime.Now() + host_.options.send_timeout;
    ArmTick();
    const Status sent = co_await stream_.Send(sending_);
    send_due_ = MonoTime::Max();
    if (!sent.ok()) break;
    host_.stats.sent_bytes += sending_.size();
    sending_.clear();
    if (sending_.capacity() > net_limits::kOutputKeptBytes) std::string().swap(sending_);
    if (!OutputFull()) drained_.NotifyAll();
  }
  FinishSending();
}

void Http2Connection::FinishSending() {
  writing_ = false;
  ++host_.stats.faults[static_cast<size_t>(session_->fault())];
  drained_.NotifyAll();
  if (!reading_) return;
  if (!session_->finished()) return stream_.Close();  // the send failed
  grpc_.StopCalls("the connection is closed");
  stream_.ShutdownSend();
  linger_due_ = host_.runtime.Now() + kLinger;
  ArmTick();
}

void Http2Connection::OnDrain() {
  session_->Shutdown();
  wake_.NotifyOne();
}

// The stream is closed by ServeConnection, which ends both loops.
void Http2Connection::OnStop() { grpc_.StopCalls("the server is shutting down"); }

MonoTime Http2Connection::NextTick() const {
  const MonoTime settings_due = session_->settings_received() ? MonoTime::Max() : settings_due_;
  return std::min({settings_due, send_due_, linger_due_, session_->next_tick()});
}

// An earlier alarm than needed may stay: it finds nothing due and sets the next. So a busy
// connection does not pay for a timer at every send.
void Http2Connection::ArmTick() {
  const MonoTime next = NextTick();
  if (tick_.armed() && tick_.when <= next) return;
  host_.runtime.Cancel(tick_);
  if (next != MonoTime::Max()) host_.runtime.Arm(tick_, next);
}

void Http2Connection::OnTick() {
  const MonoTime now = host_.runtime.Now();
  const bool settings_late = !session_->settings_received() && now >= settings_due_;
  if (settings_late || now >= send_due_) ++host_.stats.timeouts;
  if (settings_late || now >= send_due_ || now >= linger_due_) return stream_.Close();
  const Status alive = session_->Tick(now);
  if (!alive.ok() || HasWork()) wake_.NotifyOne();
  ArmTick();
}

}  // namespace

io::Task<void> ServeHttp2(ConnectionHost& host, ByteStream& stream, std::string first) {
  Http2Connection connection(host, stream);
  co_await connection.Run(std::move(first));
}

}  // namespace metastore::net
