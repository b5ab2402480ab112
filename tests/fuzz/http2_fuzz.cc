// Aim: no bytes of a peer crash the HTTP/2 session, break its event order, or make it hold more
// than its bounds. Method: the input's first byte steers; the rest is fed behind a good preface (or
// as it is), in pieces, to a session whose listener answers, consumes, resets or ignores by the
// same byte.
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "io/base/check.h"
#include "net/http2_frame.h"
#include "net/http2_server_session.h"
#include "net/http2_session.h"

namespace {

using metastore::MonoTime;
namespace net = metastore::net;
namespace net_limits = metastore::net_limits;

class Listener final : public net::Http2Listener {
 public:
  explicit Listener(uint8_t steer) : steer_(steer) {}
  ~Listener() override { CHECK(open_.empty()); }

  void Attach(net::Http2Session* session) { session_ = session; }

  void OnRequest(net::Http2Stream& stream, std::span<const net::Http2Header> headers,
                 bool) override {
    CHECK(open_.emplace(stream.id, State{}).second);
    size_t bytes = 0;
    for (const net::Http2Header& header : headers)
      bytes += header.name.size() + header.value.size() + 32;
    CHECK_LE(bytes, net_limits::kHeaderListBytesMax);
    if ((steer_ & 3) == 3) session_->Reset(stream, net::Http2Code::kRefusedStream);
  }
  void OnData(net::Http2Stream& stream, std::string_view bytes) override {
    State& state = open_.at(stream.id);
    CHECK(!state.ended);
    state.unconsumed += bytes.size();
    // At most the window, and the frame that broke it.
    CHECK_LE(state.unconsumed, size_t{net_limits::kStreamWindowBytes} + 16'384);
    if ((steer_ & 4) != 0) session_->Consumed(stream, std::exchange(state.unconsumed, 0));
  }
  void OnEnd(net::Http2Stream& stream) override {
    State& state = open_.at(stream.id);
    CHECK(!std::exchange(state.ended, true));
    if ((steer_ & 3) == 0) return;
    static constexpr std::array<net::Http2Header, 1> kHead = {{{":status", "200"}}};
    static constexpr std::array<net::Http2Header, 1> kTail = {{{"grpc-status", "0"}}};
    static constexpr net::Http2FixedHeaders kFixedHead(kHead);
    static constexpr net::Http2FixedHeaders kFixedTail(kTail);
    if ((steer_ & 128) != 0) {
      (void)session_->Respond(stream, net::Http2Answer{.headers = kFixedHead,
                                                       .head = "12345",
                                                       .body = std::string(steer_ * 100U, 'x'),
                                                       .trailers = kFixedTail});
      return;
    }
    session_->SubmitHeaders(stream, kHead, (steer_ & 3) == 1);
    if ((steer_ & 3) == 1) return;
    session_->SendData(stream, "12345", std::string(20'000, 'x'));
    session_->SubmitTrailers(stream, kTail);
  }
  void OnSent(net::Http2Stream& stream, size_t) override { CHECK(open_.contains(stream.id)); }
  void OnClosed(net::Http2Stream& stream, net::Http2Code) override {
    CHECK_EQ(open_.erase(stream.id), size_t{1});
  }

 private:
  struct State {
    bool ended = false;
    size_t unconsumed = 0;
  };
  const uint8_t steer_;
  net::Http2Session* session_ = nullptr;
  std::map<int32_t, State> open_;
};

// Feeds `bytes` in pieces of `piece` bytes; false once the connection is over.
bool Feed(net::Http2Session& session, std::string_view bytes, size_t piece, MonoTime& now) {
  while (!bytes.empty()) {
    now = now + metastore::Microseconds(50);
    const bool ok = session.Feed(now, bytes.substr(0, piece)).ok();
    CHECK_EQ(ok, session.fault() == net::Http2Fault::kNone);
    bytes.remove_prefix(std::min(piece, bytes.size()));
    session.Pump(now);
    CHECK_LE(session.Output().size(), net_limits::kOutputBytesHigh + 40'000);
    session.Output().clear();
    if (!ok || session.finished()) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint8_t steer = data[0];
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  Listener listener(steer);
  MonoTime now{1'000'000'000};
  const std::unique_ptr<net::Http2Session> session =
      net::MakeHttp2Session(listener, net::Http2Options{}, now);
  listener.Attach(session.get());
  const size_t piece = (steer & 8) != 0 ? 1 : 16'384;
  std::string greeting;
  if ((steer & 16) == 0) {
    greeting = net::kHttp2Preface;
    net::AppendFrameHeader(greeting, {.type = net::FrameType::kSettings});
    if (!Feed(*session, greeting, greeting.size(), now)) return 0;
  }
  if ((steer & 32) != 0) session->Shutdown();
  Feed(*session, input, piece, now);
  if ((steer & 64) != 0) (void)session->Tick(session->next_tick());
  return 0;
}
