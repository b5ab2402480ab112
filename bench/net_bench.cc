// net_bench: what the HTTP/2 session and the gRPC layer above it cost a unary call, beside
// nghttp2's session, which the tests hold ours against.
//
//   net_bench [calls]       default 400,000 of 256 bytes for each row
//
// Expected before measuring: nghttp2 some 1.2 us a call, two thirds of it its header checks, HPACK
// and stream table; ours reads 80 bytes of headers, compares them with a block it knows, copies 256
// bytes in and 30 out: 0.1 us, and 0.25 us where the headers differ each time. The gRPC layer makes
// a call, a task and an answer: 0.2 us. Answers are given inside the event (session rows) or by a
// task (gRPC rows). 16 calls to a read, one connection, one thread, no I/O. Figures: ns a call, of
// this thread's processor time, median of five rounds.
#include <nghttp2/nghttp2.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "io/gate.h"
#include "io/sim/sim_world.h"
#include "net/grpc_codec.h"
#include "net/grpc_session.h"
#include "net/http2_frame.h"
#include "net/http2_server_session.h"
#include "tests/net/oracle/nghttp2_session.h"

namespace metastore::net {
namespace {

constexpr size_t kCallsARead = 16;
constexpr size_t kMessageBytes = 256;
constexpr int kRounds = 5;

double NanosecondsNow() {
  timespec now;
  CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// How a client writes its headers.
enum class Habit : uint8_t {
  kIndexed,       // all in the dynamic table after the first request
  kLiteralPath,   // :path as a literal each time: h2load, nghttp2's clients
  kVaryingField,  // another grpc-timeout each time, and that into the table: a client with
                  // deadlines
};

class Client final {
 public:
  explicit Client(Habit habit) : habit_(habit) {
    CHECK_EQ(nghttp2_hd_deflate_new(&deflater_, 4096), 0);
    const auto prefix = MessagePrefix(kMessageBytes);
    message_ = std::string(prefix.data(), prefix.size()) + std::string(kMessageBytes, 'm');
  }
  ~Client() { nghttp2_hd_deflate_del(deflater_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  std::string Greeting() const {
    std::string bytes(kHttp2Preface);
    std::string settings("\0\x4\x7f\xff\xff\xff", 6);
    AppendFrameHeader(bytes, {.length = settings.size(), .type = FrameType::kSettings});
    bytes += settings;
    AppendFrameHeader(bytes, {.type = FrameType::kSettings, .flags = kFlagAck});
    AppendFrameHeader(bytes, {.length = 4, .type = FrameType::kWindowUpdate});
    AppendBigEndian32(bytes, 0x7fff0000 - 65'535);
    return bytes;
  }

  // The next requests of one read, and the window that their answers used.
  std::string Requests() {
    std::string bytes;
    AppendFrameHeader(bytes, {.length = 4, .type = FrameType::kWindowUpdate});
    AppendBigEndian32(bytes, kCallsARead * static_cast<uint32_t>(message_.size()));
    if (id_ == 1) bytes.clear();
    for (size_t i = 0; i < kCallsARead; ++i, id_ += 2) {
      const std::string block = Block();
      AppendFrameHeader(bytes, {.length = block.size(),
                                .type = FrameType::kHeaders,
                                .flags = kFlagEndHeaders,
                                .stream = id_});
      bytes += block;
      AppendFrameHeader(bytes, {.length = message_.size(),
                                .type = FrameType::kData,
                                .flags = kFlagEndStream,
                                .stream = id_});
      bytes += message_;
    }
    return bytes;
  }

 private:
  std::string Block() {
    const std::string timeout = std::to_string(100'000 + id_ % 800'000) + "u";
    std::vector<std::pair<std::string, std::string>> headers = {
        {":method", "POST"},
        {":scheme", "http"},
        {":path", "/etcdserverpb.KV/Put"},
        {":authority", "127.0.0.1:2379"},
        {"content-type", "application/grpc"},
        {"user-agent", "grpc-go/1.41.0"},
        {"te", "trailers"}};
    if (habit_ == Habit::kVaryingField) headers.emplace_back("grpc-timeout", timeout);
    std::vector<nghttp2_nv> list;
    for (auto& [name, value] : headers) {
      const bool literal = habit_ == Habit::kLiteralPath && name == ":path";
      list.push_back({reinterpret_cast<uint8_t*>(name.data()),
                      reinterpret_cast<uint8_t*>(value.data()), name.size(), value.size(),
                      literal ? uint8_t{NGHTTP2_NV_FLAG_NO_INDEX} : uint8_t{0}});
    }
    std::array<uint8_t, 512> block;
    const ssize_t bytes =
        nghttp2_hd_deflate_hd(deflater_, block.data(), block.size(), list.data(), list.size());
    CHECK_GT(bytes, 0);
    return std::string(reinterpret_cast<const char*>(block.data()), static_cast<size_t>(bytes));
  }

  const Habit habit_;
  nghttp2_hd_deflater* deflater_ = nullptr;
  std::string message_;
  uint32_t id_ = 1;
};

// Answers inside the event, with a message of the same size.
class Answerer final : public Http2Listener {
 public:
  void Attach(Http2Session& session) { session_ = &session; }
  void OnRequest(Http2Stream&, std::span<const Http2Header>, bool) override {}
  void OnData(Http2Stream&, std::string_view) override {}
  void OnEnd(Http2Stream& stream) override {
    static constexpr std::array<Http2Header, 2> kHead = {
        {{":status", "200"}, {"content-type", "application/grpc"}}};
    static constexpr std::array<Http2Header, 1> kEnd = {{{"grpc-status", "0"}}};
    static constexpr Http2FixedHeaders kFixedHead(kHead);
    static constexpr Http2FixedHeaders kFixedEnd(kEnd);
    (void)session_->Respond(stream, Http2Answer{.headers = kFixedHead,
                                                .head = std::string_view("\0\0\0\1\0", 5),
                                                .body = std::string(kMessageBytes, 'a'),
                                                .trailers = kFixedEnd});
  }
  void OnSent(Http2Stream&, size_t) override {}
  void OnClosed(Http2Stream&, Http2Code) override { ++closed; }

  size_t closed = 0;

 private:
  Http2Session* session_ = nullptr;
};

class Echo final : public GrpcHandler {
 public:
  MethodMatch Find(std::string_view) const override {
    return {.kind = MethodKind::kUnary, .id = MethodId(1)};
  }
  io::Task<GrpcReply> Unary(MethodId, GrpcRequest& request) override {
    GrpcReply reply;
    reply.message = std::move(request.message);
    ++answered;
    co_return reply;
  }
  io::Task<Status> Stream(MethodId, GrpcStream&) override { co_return OkStatus(); }

  size_t answered = 0;
};

using Make = std::unique_ptr<Http2Session> (*)(Http2Listener&, const Http2Options&, MonoTime);

// ns a call of feeding `requests` and `after`, which runs what became ready, with output dropped.
template <typename After>
double Measure(Http2Session& session, Client& client, size_t calls, const After& after) {
  double spent = 0;
  MonoTime now{1'000'000'000};
  CHECK(session.Feed(now, client.Greeting()).ok());
  for (size_t done = 0; done < calls; done += kCallsARead) {
    const std::string requests = client.Requests();
    now = now + Microseconds(20);
    const double begin = NanosecondsNow();
    CHECK(session.Feed(now, requests).ok());
    after();
    session.Pump(now);
    session.Output().clear();
    spent += NanosecondsNow() - begin;
  }
  return spent / static_cast<double>(calls);
}

double SessionRound(Make make, Habit habit, size_t calls) {
  Answerer answerer;
  const std::unique_ptr<Http2Session> session = make(answerer, {}, MonoTime{1'000'000'000});
  answerer.Attach(*session);
  Client client(habit);
  const double result = Measure(*session, client, calls, [] {});
  CHECK_EQ(answerer.closed, calls);
  return result;
}

double GrpcRound(Make make, Habit habit, size_t calls) {
  sim::SimWorld world(1);
  sim::SimMachine& machine = world.AddMachine("one");
  io::Runtime& runtime = *machine.StartProcess()[0];
  Echo echo;
  double result = 0;
  {
    io::Gate gate(runtime.scheduler());
    io::Signal wake;
    GrpcCallPool pool;
    ByteBudget requests(64 << 20);
    ByteBudget replies(64 << 20);
    ServerStats stats;
    const io::Address peer;
    GrpcSession grpc(GrpcSession::Environment{.runtime = runtime,
                                              .gate = gate,
                                              .wake = wake,
                                              .handler = echo,
                                              .pool = pool,
                                              .held_requests = requests,
                                              .held_replies = replies,
                                              .stats = stats,
                                              .peer = peer,
                                              .message_bytes_max = 1 << 20,
                                              .calls_max = 1000});
    const std::unique_ptr<Http2Session> session = make(grpc, {}, MonoTime{1'000'000'000});
    grpc.Attach(*session);
    Client client(habit);
    result = Measure(*session, client, calls, [&runtime] {
      while (!runtime.scheduler().idle()) runtime.scheduler().RunTurn();
    });
  }
  CHECK_EQ(echo.answered, calls);
  machine.EndProcess();
  return result;
}

double Median(std::array<double, kRounds> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <typename Round>
void Row(const char* name, const Round& round) {
  std::array<double, kRounds> ours;
  std::array<double, kRounds> oracle;
  for (size_t i = 0; i < kRounds; ++i) {
    ours[i] = round(MakeHttp2Session);
    oracle[i] = round(MakeNghttp2Session);
  }
  std::printf("%-32s %8.0f %8.0f\n", name, Median(ours), Median(oracle));
}

int Main(size_t calls) {
  struct Load {
    Habit habit;
    const char* name;
  };
  constexpr std::array<Load, 3> kLoads = {{{Habit::kIndexed, "indexed headers"},
                                           {Habit::kLiteralPath, "literal path"},
                                           {Habit::kVaryingField, "varying grpc-timeout"}}};
  std::printf("%-32s %8s %8s   ns a call, %zu to a read\n", "", "ours", "nghttp2", kCallsARead);
  for (const Load& load : kLoads) {
    const std::string session = std::string("session, ") + load.name;
    Row(session.c_str(), [&](Make make) { return SessionRound(make, load.habit, calls); });
  }
  for (const Load& load : kLoads) {
    const std::string grpc = std::string("session and gRPC, ") + load.name;
    Row(grpc.c_str(), [&](Make make) { return GrpcRound(make, load.habit, calls); });
  }
  return 0;
}

}  // namespace
}  // namespace metastore::net

int main(int argc, char** argv) {
  const size_t calls = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 400'000;
  return metastore::net::Main(calls / 16 * 16);
}
