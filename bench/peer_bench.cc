// peer_bench: what one link between two members carries: 256-byte messages from its Send to the
// other side's handler, over loopback, both ends on one core.
//
//   peer_bench [messages]       default 2,000,000 for each row
//
// Expected before measuring: a message is copied once into its frame, hashed twice at 10 GB/s or
// more, copied by the kernel twice and once into the decoder: 0.1 us, so some 5 million a second.
// Compression costs 0.5 us a message at 500 MB/s (fast), 1.2 us at 200 MB/s (dense), decompression
// 0.2 us. Contents: a third hexadecimal noise, the rest the text of a pod's record. Figures: median
// of three rounds; processor time is the core's for both ends together, kernel included.
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "io/base/prng.h"
#include "io/uring/uring_runtime.h"
#include "net/peer_link.h"
#include "net/peer_server.h"

namespace metastore::net {
namespace {

constexpr size_t kMessageBytes = 256;
constexpr size_t kNoiseBytes = 84;
constexpr size_t kWaitingMax = 4 * limits::kMiB;
constexpr size_t kAtOnce = 64;  // messages sent before others get their turn
constexpr int kRounds = 3;

struct Figures {
  double messages_a_second = 0;
  double cpu_ns = 0;       // a message
  double compress_ns = 0;  // a message
  double stored = 0;       // of the raw bytes
};

double CpuNow() {
  timespec now;
  CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

class Ends final : public PeerHandler, public PeerLinkListener {
 public:
  Status Admit(const PeerHello& /*hello*/) override { return OkStatus(); }
  io::Task<void> Serve(PeerStream& stream) override {
    while (true) {
      const StatusOr<PeerFrame> frame = co_await stream.Receive();
      if (!frame.ok()) co_return;
      const Status apart = ForEachPeerMessage(frame->body, [this](std::string_view message) {
        CHECK_EQ(message.size(), kMessageBytes);
        ++heard;
        return OkStatus();
      });
      CHECK(apart.ok());
    }
  }
  void OnPeerUp(NodeId) override { up = true; }
  void OnPeerDown(NodeId, const Status&) override { up = false; }

  bool up = false;
  size_t heard = 0;
};

// Messages that differ; taken in turn.
std::array<std::string, 1024> MakeMessages() {
  Prng prng(1);
  std::array<std::string, 1024> messages;
  for (std::string& message : messages) {
    message = Concat("/registry/pods/default/web-", prng.Below(100'000),
                     " phase: Running, ready: ", prng.Below(2), ", image: registry.local/web:1.",
                     prng.Below(30), " ");
    while (message.size() < kMessageBytes - kNoiseBytes) message += "restartCount: 0 ";
    message.resize(kMessageBytes - kNoiseBytes);
    while (message.size() < kMessageBytes) message += "0123456789abcdef"[prng.Below(16)];
  }
  return messages;
}

io::Task<void> Measure(io::Runtime& runtime, PeerCompression compression, size_t count,
                       Figures* figures) {
  const auto messages = std::make_unique<std::array<std::string, 1024>>(MakeMessages());
  Ends ends;
  PeerServer server(runtime, ends, {});
  const StatusOr<io::Address> address = server.Listen({.ip = "127.0.0.1", .port = 0});
  CHECK(address.ok());
  PeerLinkOptions options;
  options.hello = {.cluster = ClusterId(1), .from = NodeId(1), .to = NodeId(2)};
  options.endpoints = {{.host = address->ip, .port = address->port}};
  options.stream.compression = compression;
  PeerLink link(runtime, options, ends);
  link.Start();
  while (!ends.up) co_await io::SleepUntil(runtime, runtime.Now() + Milliseconds(1));
  const MonoTime begin = runtime.Now();
  const double cpu_begin = CpuNow();
  for (size_t sent = 0; sent < count; ++sent) {
    const std::string& message = (*messages)[sent % messages->size()];
    CHECK(link.Send(PeerUrgency::kBulk, [&](std::string& out) { out += message; }));
    if (sent % kAtOnce == 0) co_await io::Yield();
    while (link.stats().queued_bytes > kWaitingMax) co_await io::Yield();
  }
  while (ends.heard < count) co_await io::Yield();
  const double seconds = static_cast<double>((runtime.Now() - begin).ns) / 1e9;
  figures->cpu_ns = (CpuNow() - cpu_begin) / static_cast<double>(count);
  const PeerFrameStats& frames = link.stats().frames;
  figures->messages_a_second = static_cast<double>(count) / seconds;
  figures->compress_ns = static_cast<double>(frames.compress_ns) / static_cast<double>(count);
  figures->stored =
      static_cast<double>(frames.stored_bytes) / static_cast<double>(frames.raw_bytes);
  co_await link.Stop();
  co_await server.Shutdown();
}

io::Task<void> Run(io::uring::UringHost& host, size_t count) {
  constexpr std::array<const char*, 3> kNames = {"off", "fast", "dense"};
  std::printf("%-12s %12s %8s %12s %12s %8s   (ns: a message)\n", "compression", "messages/s",
              "MB/s", "cpu ns", "zstd ns", "stored");
  for (size_t i = 0; i < kNames.size(); ++i) {
    std::array<Figures, kRounds> rounds;
    for (Figures& figures : rounds) {
      co_await Measure(host.runtime(0), static_cast<PeerCompression>(i), count, &figures);
    }
    std::sort(rounds.begin(), rounds.end(), [](const Figures& a, const Figures& b) {
      return a.messages_a_second < b.messages_a_second;
    });
    const Figures& median = rounds[kRounds / 2];
    std::printf("%-12s %12.0f %8.0f %12.0f %12.0f %7.0f%%\n", kNames[i], median.messages_a_second,
                median.messages_a_second * kMessageBytes / 1e6, median.cpu_ns, median.compress_ns,
                median.stored * 100);
  }
  host.RequestExit(0);
}

int Main(size_t count) {
  io::uring::UringOptions options;
  options.log.level = io::LogLevel::kError;
  const StatusOr<int> code =
      io::uring::RunOneTask(std::move(options), "bench.main",
                            [count](io::uring::UringHost& host) { return Run(host, count); });
  if (code.ok()) return *code;
  std::fprintf(stderr, "peer_bench: %s\n", code.status().ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace metastore::net

int main(int argc, char** argv) {
  return metastore::net::Main(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2'000'000);
}
