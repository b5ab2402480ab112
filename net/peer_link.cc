#include "net/peer_link.h"

#include <algorithm>
#include <utility>

#include "io/base/check.h"

namespace metastore::net {
namespace {

constexpr size_t kAddressesMax = 4;  // of one endpoint that are tried

PeerFrameStats Sum(const PeerFrameStats& a, const PeerFrameStats& b) {
  return {.frames = a.frames + b.frames,
          .raw_bytes = a.raw_bytes + b.raw_bytes,
          .stored_bytes = a.stored_bytes + b.stored_bytes,
          .compress_ns = a.compress_ns + b.compress_ns};
}

}  // namespace

PeerLink::PeerLink(io::Runtime& runtime, PeerLinkOptions options, PeerLinkListener& listener)
    : runtime_(runtime),
      options_(std::move(options)),
      listener_(listener),
      outbox_(options_.queue_bytes_max),
      gate_(runtime.scheduler()) {
  CHECK(options_.hello.kind == PeerStreamKind::kMessages);
  CHECK(options_.retry_min > Duration{} && options_.retry_min <= options_.retry_max);
  options_.stream.stop = stop_.token();
  if (options_.stream.silence_max == Duration{}) options_.stream.silence_max = kSilenceMax;
}

PeerLink::~PeerLink() = default;

void PeerLink::Start() {
  CHECK_EQ(gate_.running(), 0u);
  CHECK(gate_.Spawn("net.peer_link", io::ReadyClass::kCritical, Run()));
}

io::Task<void> PeerLink::Stop() {
  stop_.RequestStop();
  wanted_.NotifyAll();
  co_await gate_.Close();
}

bool PeerLink::Send(PeerUrgency urgency, absl::FunctionRef<void(std::string&)> encode) {
  const bool taken = stats_.up && outbox_.Add(urgency, encode);
  if (!taken) {
    ++stats_.dropped_total;
    return false;
  }
  stats_.queued_bytes = outbox_.bytes();
  wanted_.NotifyOne();
  return true;
}

void PeerLink::SetEndpoints(std::vector<PeerEndpoint> endpoints) {
  if (endpoints == options_.endpoints) return;
  options_.endpoints = std::move(endpoints);
  endpoint_ = 0;
  moved_ = true;
  if (stream_ != nullptr) End(UnavailableError("the peer has other addresses now"));
  wanted_.NotifyAll();
}

// --- the life of the link ------------------------------------------------------------------------

io::Task<void> PeerLink::Run() {
  Duration pause;
  while (!stop_.stopped()) {
    moved_ = false;
    std::unique_ptr<PeerStream> stream;
    Status why = co_await Connect(stream);
    if (stop_.stopped() || why.code() == StatusCode::kCancelled) break;
    if (moved_) continue;
    const MonoTime begin = runtime_.Now();
    if (why.ok()) {
      why = co_await Serve(*stream);
    } else {
      ++endpoint_;
    }
    WentDown(why);
    if (why.code() == StatusCode::kCancelled) break;
    pause = NextPause(pause, runtime_.Now() - begin);
    if (!moved_) co_await Rest(pause);
  }
}

// Grows until a connection has lasted: one that is made and ended at once is no better than none.
Duration PeerLink::NextPause(Duration last, Duration lasted) const {
  if (lasted >= options_.retry_max) return options_.retry_min;
  return std::clamp(last * 2, options_.retry_min, options_.retry_max);
}

// Between half of `pause` and all of it, so that members do not dial in step.
io::Task<void> PeerLink::Rest(Duration pause) {
  const auto half = static_cast<uint64_t>(pause.ns / 2);
  const auto drawn = static_cast<int64_t>(half + runtime_.Random() % (half + 1));
  const MonoTime until = runtime_.Now() + Nanoseconds(drawn);
  while (!moved_ && !stop_.stopped() && runtime_.Now() < until) {
    co_await wanted_.Wait(io::WaitLimit{.timers = &runtime_, .deadline = until});
  }
}

// One attempt: all addresses of one endpoint.
io::Task<Status> PeerLink::Connect(std::unique_ptr<PeerStream>& stream) {
  if (options_.endpoints.empty()) co_return FailedPreconditionError("no address of it is known");
  const PeerEndpoint endpoint = options_.endpoints[endpoint_ % options_.endpoints.size()];
  const StatusOr<std::vector<io::Address>> addresses =
      co_await runtime_.Resolve(endpoint.host, endpoint.port);
  if (!addresses.ok()) co_return addresses.status();
  Status why = UnavailableError(endpoint.host, " has no addresses");
  for (size_t i = 0; i < std::min(addresses->size(), kAddressesMax); ++i) {
    StatusOr<std::unique_ptr<PeerStream>> dialled =
        co_await PeerStream::Dial(runtime_, (*addresses)[i], options_.hello, options_.stream);
    if (dialled.ok()) stream = std::move(*dialled);
    why = dialled.status();
    if (why.ok() || stop_.stopped() || why.code() == StatusCode::kCancelled) break;
  }
  co_return why;
}

// An established connection, from its first to its last moment; returns why it ended.
io::Task<Status> PeerLink::Serve(PeerStream& stream) {
  end_ = OkStatus();
  stream_ = &stream;
  stats_.up = true;
  stats_.up_since = runtime_.Now();
  ++stats_.connects_total;
  watching_ = true;
  CHECK(gate_.Spawn("net.peer_watch", io::ReadyClass::kCritical, WatchEnd(stream)));
  listener_.OnPeerUp(peer());
  co_await SendFrames(stream);
  while (watching_) {
    co_await wanted_.Wait();
  }
  past_frames_ = Sum(past_frames_, stream.sent());
  stats_.frames = past_frames_;
  stream_ = nullptr;
  co_return end_;
}

void PeerLink::End(Status why) {
  CHECK(!why.ok());
  if (end_.ok()) end_ = std::move(why);
  stats_.up = false;
  stream_->Close();
  wanted_.NotifyAll();
}

void PeerLink::WentDown(const Status& why) {
  stats_.dropped_total += outbox_.Clear();
  stats_.queued_bytes = 0;
  ++stats_.failures_total;
  stats_.last_error = why;
  listener_.OnPeerDown(peer(), why);
}

// --- an established connection -------------------------------------------------------------------

io::Task<void> PeerLink::SendFrames(PeerStream& stream) {
  MonoTime alive_by = runtime_.Now() + kPeerAliveEvery;
  while (end_.ok()) {
    Status sent;
    if (!outbox_.empty()) {
      sent = co_await SendBatch(stream);
    } else if (runtime_.Now() >= alive_by) {
      sent = co_await stream.SendAlive();
    } else {
      co_await wanted_.Wait(io::WaitLimit{.timers = &runtime_, .deadline = alive_by});
      continue;
    }
    if (!sent.ok()) End(std::move(sent));
    alive_by = runtime_.Now() + kPeerAliveEvery;
  }
}

io::Task<Status> PeerLink::SendBatch(PeerStream& stream) {
  PeerBatch batch = outbox_.Take();
  stats_.queued_bytes = outbox_.bytes();
  const Status sent = co_await stream.SendInPlace(kPeerMessagesType, batch.bytes);
  (sent.ok() ? stats_.sent_total : stats_.dropped_total) += batch.messages;
  stats_.frames = Sum(past_frames_, stream.sent());
  outbox_.Reuse(std::move(batch));
  co_return sent;
}

// Ends the link as soon as the peer does: nothing but signs of life, which the stream keeps to
// itself, ever arrives here.
io::Task<void> PeerLink::WatchEnd(PeerStream& stream) {
  const StatusOr<PeerFrame> frame = co_await stream.Receive();
  Status why = frame.status();
  if (frame.ok()) why = DataLossError(stream.address().ToString(), ": messages the wrong way");
  watching_ = false;
  End(std::move(why));
}

}  // namespace metastore::net
