// metastore: one member of a cluster. Reads its configuration, builds the runtimes, boots the Node
// on them, and ends it on SIGTERM or when it can no longer work.

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "io/uring/uring_runtime.h"
#include "server/config.h"
#include "server/node.h"
#include "wal/mutation.h"

namespace metastore::server {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
// Clients get this long to finish their calls after SIGTERM.
constexpr Duration kDrain = Seconds(5);

// The process on core 0, from start to exit code.
class Process {
 public:
  Process(io::uring::UringHost& host, Config config, std::vector<std::string> warnings)
      : host_(host), config_(std::move(config)), warnings_(std::move(warnings)) {}

  void Begin(std::span<io::Runtime* const> cores) {
    cores_.assign(cores.begin(), cores.end());
    gate_ = std::make_unique<io::Gate>(cores.front()->scheduler());
    gate_->Spawn("main", io::ReadyClass::kCritical, Run());
  }

 private:
  io::Task<void> Run() {
    io::Logger& log = host_.log();
    for (const std::string& warning : warnings_) log.Warn(warning);
    log.Info("starting", {{"metastore-version", kMetaStoreVersion},
                          {"etcd-version", kEtcdVersion},
                          {"name", config_.member.name},
                          {"data-dir", config_.member.data_dir},
                          {"reactors", config_.runtime.reactors}});
    node_ = std::make_unique<Node>(cores_, config_, &host_);
    Status started = co_await node_->Start();
    int code = kExitFailed;
    if (started.ok()) {
      gate_->Spawn("main.ready", io::ReadyClass::kBackground, AnnounceReady());
      gate_->Spawn("main.failed", io::ReadyClass::kCritical, AwaitFailure());
      gate_->Spawn("main.signal", io::ReadyClass::kCritical, AwaitSignal());
      while (!ending_) {
        co_await ended_.Wait();
      }
      code = failed_ ? kExitFailed : kExitOk;
    } else {
      log.Error("cannot start", {{"error", StdView(started.message())}});
    }
    stop_.RequestStop();
    co_await node_->Stop(kDrain);
    node_.reset();
    if (code == kExitOk) log.Info("stopped");
    host_.RequestExit(code);
  }

  io::Task<void> AnnounceReady() {
    const io::WaitResult result = co_await node_->WaitServing(io::WaitLimit{.stop = stop_.token()});
    if (result != io::WaitResult::kNotified) co_return;
    const Identity& identity = node_->state().identity();
    host_.log().Info("ready to serve client requests",
                     {{"cluster-id", Concat(absl::Hex(identity.cluster.value()))},
                      {"member-id", Concat(absl::Hex(identity.member.value()))},
                      {"address", node_->client_addresses().front().ToString()}});
  }

  io::Task<void> AwaitFailure() {
    Status failure = co_await node_->WaitFailed(stop_.token());
    if (failure.ok()) co_return;
    failed_ = true;
    End();
  }

  io::Task<void> AwaitSignal() {
    const int signal = co_await host_.WaitForSignal();
    if (signal != 0) host_.log().Info("received signal; shutting down", {{"signal", signal}});
    End();
  }

  void End() {
    ending_ = true;
    ended_.NotifyAll();
  }

  io::uring::UringHost& host_;
  const Config config_;
  const std::vector<std::string> warnings_;
  std::vector<io::Runtime*> cores_;
  std::unique_ptr<io::Gate> gate_;
  std::unique_ptr<Node> node_;
  io::StopSource stop_;
  io::Signal ended_;
  bool ending_ = false;
  bool failed_ = false;
};

#ifdef MS_MUTATIONS
// In test builds METASTORE_MUTATION names a bug of docs/MUTATIONS.md to plant. False: no such.
bool PlantMutation() {
  const char* name = std::getenv("METASTORE_MUTATION");
  if (name == nullptr) return true;
  for (const MutationName<wal::Mutation>& known : wal::Mutations()) {
    if (known.name != name) continue;
    Plant(known.mutation);
    return true;
  }
  std::fprintf(stderr, "METASTORE_MUTATION=%s: no such mutation\n", name);
  return false;
}
#else
bool PlantMutation() { return true; }
#endif

int Main(int argc, const char* const* argv) {
  if (!PlantMutation()) return kExitUsage;
  StatusOr<ParsedConfig> parsed = ParseConfig(argc, argv, ProcessConfigSources());
  if (!parsed.ok()) {
    std::fprintf(stderr, "%s\n", std::string(parsed.status().message()).c_str());
    return kExitUsage;
  }
  if (parsed->action == ConfigAction::kPrint) {
    std::fputs(parsed->text.c_str(), stdout);
    return kExitOk;
  }
  const Config& config = parsed->config;
  io::uring::UringOptions options;
  options.reactors = config.runtime.reactors;
  options.cpu_list = config.runtime.cpu_list;
  options.spin = config.runtime.spin.ns > 0;
  options.trace_path = config.runtime.io_trace;
  options.log.level = config.log.level;
  options.log.format = config.log.format == LogFormat::kJson ? io::uring::LogFormat::kJson
                                                             : io::uring::LogFormat::kConsole;
  StatusOr<std::unique_ptr<io::uring::UringHost>> host =
      io::uring::UringHost::Create(std::move(options));
  if (!host.ok()) {
    std::fprintf(stderr, "metastore: %s\n", std::string(host.status().message()).c_str());
    return kExitFailed;
  }
  Process process(**host, config, parsed->warnings);
  return (*host)->Run([&](std::span<io::Runtime* const> cores) { process.Begin(cores); });
}

}  // namespace
}  // namespace metastore::server

int main(int argc, char** argv) { return metastore::server::Main(argc, argv); }
