// rawdisk: what the machine itself can do, as the reference of one lone client: the latency of bare
// durable writes (O_DIRECT with RWF_DSYNC into an already written file, as the log does it) and of
// a round trip over loopback TCP between two threads that sleep while they wait. No server, no
// protocol.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "bench/load/clock.h"
#include "bench/load/histogram.h"
#include "bench/load/options.h"
#include "bench/load/scratch_file.h"

namespace metastore::bench {
namespace {

constexpr char kUsage[] = R"(usage: rawdisk [options]
  --file PATH           scratch file on the disk to measure, removed in the end (rawdisk.tmp)
  --sizes LIST          bytes a write, multiples of 4096 (default 4096,65536,524288)
  --seconds S           per size, and for the round trips (default 1)
  --method dsync|fdatasync|none   write with RWF_DSYNC (default), then fdatasync, or not durable
  --cpu N --peer-cpu N  cores of the writer (and of the pinging side), and of the answering side
  --message-bytes N     of a round trip, each way (default 350)
)";

constexpr uint64_t kAnyCpu = 1 << 20;

struct Options {
  std::string file = "rawdisk.tmp";
  std::string sizes = "4096,65536,524288";
  std::string method = "dsync";
  double seconds = 1;
  uint64_t cpu = kAnyCpu;
  uint64_t peer_cpu = kAnyCpu;
  uint64_t message_bytes = 350;
};

void Pin(uint64_t cpu) {
  if (cpu == kAnyCpu) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "rawdisk: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

std::string Describe(const LatencyHistogram& latency) {
  char text[256];
  std::snprintf(
      text, sizeof text,
      "{\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"mean_us\":%.1f,\"count\":%" PRIu64 "}",
      latency.PercentileUs(50), latency.PercentileUs(99), latency.PercentileUs(99.9),
      latency.mean_us(), latency.count());
  return text;
}

void Print(const std::string& name, const LatencyHistogram& latency) {
  std::printf("%-28s p50 %7.1f us  p99 %7.1f us  p99.9 %7.1f us  (%" PRIu64 " samples)\n",
              name.c_str(), latency.PercentileUs(50), latency.PercentileUs(99),
              latency.PercentileUs(99.9), latency.count());
}

WriteMode ModeOf(const std::string& method) {
  if (method == "dsync") return WriteMode::kDsync;
  return method == "fdatasync" ? WriteMode::kFdatasync : WriteMode::kNotDurable;
}

// A connected pair over loopback TCP.
struct Pair {
  int near = -1;
  int far = -1;
};

Pair Connect() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, size) != 0 || listen(listener, 1) != 0) Die("listen");
  getsockname(listener, generic, &size);
  Pair pair;
  pair.near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(pair.near, generic, size) != 0) Die("connect");
  pair.far = accept(listener, nullptr, nullptr);
  if (pair.far < 0) Die("accept");
  close(listener);
  const int on = 1;
  setsockopt(pair.near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(pair.far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return pair;
}

bool ReadAll(int fd, std::vector<char>* buffer) {
  size_t used = 0;
  while (used < buffer->size()) {
    const ssize_t got = recv(fd, buffer->data() + used, buffer->size() - used, 0);
    if (got <= 0) return false;
    used += static_cast<size_t>(got);
  }
  return true;
}

LatencyHistogram MeasureRoundTrips(const Options& options) {
  const Pair pair = Connect();
  std::thread echo([&options, far = pair.far] {
    Pin(options.peer_cpu);
    std::vector<char> buffer(options.message_bytes);
    while (ReadAll(far, &buffer)) {
      if (send(far, buffer.data(), buffer.size(), MSG_NOSIGNAL) < 0) break;
    }
  });
  LatencyHistogram latency;
  std::vector<char> buffer(options.message_bytes, 'x');
  const uint64_t end = NowNs() + static_cast<uint64_t>(options.seconds * 1e9);
  for (uint64_t before = NowNs(); before < end;) {
    if (send(pair.near, buffer.data(), buffer.size(), MSG_NOSIGNAL) < 0) Die("send");
    if (!ReadAll(pair.near, &buffer)) Die("recv");
    const uint64_t after = NowNs();
    latency.Record(after - before);
    before = after;
  }
  shutdown(pair.near, SHUT_RDWR);
  echo.join();
  close(pair.near);
  close(pair.far);
  return latency;
}

std::vector<uint64_t> ParseSizes(const CommandLine& line, const std::string& list) {
  std::vector<uint64_t> sizes;
  for (const char* at = list.c_str(); *at != '\0';) {
    char* end = nullptr;
    const uint64_t size = std::strtoull(at, &end, 10);
    if (end == at || size == 0 || size % ScratchFile::kBlockBytes != 0 ||
        size > ScratchFile::kBytes / 2) {
      line.Stop(2, "--sizes: multiples of 4096 up to 33554432, with commas between");
    }
    sizes.push_back(size);
    at = *end == ',' ? end + 1 : end;
  }
  return sizes;
}

int RunMain(int argc, char** argv) {
  Options options;
  CommandLine line(kUsage);
  line.Text("file", &options.file);
  line.Text("sizes", &options.sizes);
  line.Text("method", &options.method);
  line.Number("seconds", &options.seconds);
  line.Count("cpu", &options.cpu);
  line.Count("peer-cpu", &options.peer_cpu);
  line.Count("message-bytes", &options.message_bytes);
  line.Parse(argc, argv);
  const std::vector<uint64_t> sizes = ParseSizes(line, options.sizes);
  if (options.method != "dsync" && options.method != "fdatasync" && options.method != "none") {
    line.Stop(2, "--method: dsync, fdatasync or none");
  }
  if (options.message_bytes == 0 || options.message_bytes > 65536) {
    line.Stop(2, "--message-bytes: 1 to 65536");
  }
  Pin(options.cpu);
  std::string json = "{\"method\":\"" + options.method + "\",\"write\":{";
  {
    ScratchFile file(options.file);
    for (size_t i = 0; i < sizes.size(); i++) {
      const LatencyHistogram latency =
          file.Write(sizes[i], ModeOf(options.method), options.seconds);
      Print("durable write of " + std::to_string(sizes[i]), latency);
      if (i > 0) json += ",";
      json += "\"" + std::to_string(sizes[i]) + "\":" + Describe(latency);
    }
  }
  const LatencyHistogram round_trip = MeasureRoundTrips(options);
  Print("loopback round trip", round_trip);
  json += "},\"round_trip\":" + Describe(round_trip) + "}";
  std::printf("%s\n", json.c_str());
  return 0;
}

}  // namespace
}  // namespace metastore::bench

int main(int argc, char** argv) { return metastore::bench::RunMain(argc, argv); }
