#include "net/peer_server.h"

#include <utility>

#include "io/base/check.h"
#include "io/yield_as.h"

namespace metastore::net {
namespace {

// How long accepting rests when the system is out of descriptors.
constexpr Duration kAcceptPause = Milliseconds(100);
constexpr Duration kLogPause = Seconds(1);

}  // namespace

PeerServer::PeerServer(io::Runtime& runtime, PeerHandler& handler, PeerStreamOptions options)
    : runtime_(runtime), handler_(handler), options_(options), gate_(runtime.scheduler()) {
  options_.stop = stop_.token();
}

PeerServer::~PeerServer() { CHECK_EQ(stats_.streams, 0u); }

StatusOr<io::Address> PeerServer::Listen(const io::Address& address) {
  if (stop_.stopped()) return FailedPreconditionError("the peer server has been shut down");
  StatusOr<std::unique_ptr<io::Listener>> listener = runtime_.Listen(address);
  if (!listener.ok()) return Annotate(listener.status(), Concat("listen on ", address.ToString()));
  io::Listener& added = *listeners_.emplace_back(std::move(*listener));
  CHECK(gate_.Spawn("net.peer_accept", io::ReadyClass::kCritical, AcceptLoop(added)));
  return added.local();
}

io::Task<void> PeerServer::AcceptLoop(io::Listener& listener) {
  while (true) {
    StatusOr<std::unique_ptr<io::Socket>> socket = co_await listener.Accept();
    if (socket.ok()) {
      Accepted(std::move(*socket));
      continue;
    }
    // Cancelled: shut down, or the runtime stops. Anything else passes.
    if (socket.status().code() == StatusCode::kCancelled) co_return;
    const io::WaitResult rested =
        co_await io::SleepUntil(runtime_, runtime_.Now() + kAcceptPause, stop_.token());
    if (rested == io::WaitResult::kStopped) co_return;
  }
}

void PeerServer::Accepted(std::unique_ptr<io::Socket> socket) {
  ++stats_.accepted_total;
  if (stats_.streams >= kStreamsMax) {
    Refused(ResourceExhaustedError(kStreamsMax, " peer streams are open"));
    return;
  }
  ++stats_.streams;
  const bool spawned =
      gate_.Spawn("net.peer_stream", io::ReadyClass::kCritical, Serve(std::move(socket)));
  if (!spawned) --stats_.streams;
}

io::Task<void> PeerServer::Serve(std::unique_ptr<io::Socket> socket) {
  StatusOr<std::unique_ptr<PeerStream>> stream =
      co_await PeerStream::Accept(runtime_, std::move(socket), options_);
  Status ended = stream.status();
  if (stream.ok()) ended = co_await ServeIntroduced(**stream);
  if (!ended.ok()) Refused(ended);
  --stats_.streams;
}

io::Task<Status> PeerServer::ServeIntroduced(PeerStream& stream) {
  const PeerHello hello = stream.hello();
  const Status verdict = handler_.Admit(hello);
  if (!verdict.ok()) {
    const Status told = co_await stream.Answer(verdict);
    static_cast<void>(told);  // it may have gone meanwhile
    co_return Annotate(verdict, stream.address().ToString());
  }
  if (hello.kind == PeerStreamKind::kMessages) CloseOlder(hello);
  streams_.push_back(&stream);
  const Status told = co_await stream.Answer(OkStatus());
  if (told.ok()) {
    if (hello.kind == PeerStreamKind::kSnapshot) {
      co_await io::YieldAs(io::ReadyClass::kBackground);
    }
    co_await handler_.Serve(stream);
  }
  stream.Close();
  std::erase(streams_, &stream);
  co_return OkStatus();
}

void PeerServer::CloseOlder(const PeerHello& newer) {
  for (PeerStream* stream : streams_) {
    const PeerHello& hello = stream->hello();
    if (hello.from == newer.from && hello.kind == newer.kind) stream->Close();
  }
}

void PeerServer::CloseStreamsOf(NodeId member) {
  for (PeerStream* stream : streams_) {
    if (stream->hello().from == member) stream->Close();
  }
}

void PeerServer::CloseStreamsButOf(NodeId member, uint64_t incarnation) {
  for (PeerStream* stream : streams_) {
    const PeerHello& hello = stream->hello();
    if (hello.from == member && hello.incarnation != incarnation) stream->Close();
  }
}

void PeerServer::CloseMessagesOf(NodeId member) {
  for (PeerStream* stream : streams_) {
    const PeerHello& hello = stream->hello();
    if (hello.from == member && hello.kind != PeerStreamKind::kMembers) stream->Close();
  }
}

void PeerServer::Refused(const Status& why) {
  if (why.code() == StatusCode::kCancelled) return;  // shut down
  ++stats_.refused_total;
  const MonoTime now = runtime_.Now();
  if (now < quiet_until_) return;
  quiet_until_ = now + kLogPause;
  runtime_.log().Warn("peer stream refused",
                      {{"reason", StdView(why.message())}, {"refused", stats_.refused_total}});
}

io::Task<void> PeerServer::Shutdown() {
  for (const std::unique_ptr<io::Listener>& listener : listeners_) listener->Close();
  stop_.RequestStop();
  co_await gate_.Close();
}

}  // namespace metastore::net
