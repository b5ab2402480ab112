#include "tools/walinspect/crashtest/node_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>
#include <vector>

#include "tools/walinspect/crashtest/real_disk.h"

extern char** environ;

namespace metastore::crashtest {
namespace {

constexpr std::string_view kServes = "\"msg\":\"ready to serve client requests\"";
constexpr std::string_view kPortTaken = "EADDRINUSE";
constexpr int kPortAttempts = 5;
// Part of the member's identity, so it is always the same. Nobody connects to it: a node of one
// member has no peers; it listens elsewhere.
constexpr const char* kPeerUrl = "http://127.0.0.1:1";
// Says how busy the machine is, not which way the start took.
constexpr std::string_view kSlowTurn = "slow turn of the reactor";

struct Ports {
  uint16_t client = 0;
  uint16_t peer = 0;
};

// Ports that nobody has now. Another process may take one before it is used.
Ports FreePorts() {
  Ports ports;
  int sockets[2];
  uint16_t* const found[2] = {&ports.client, &ports.peer};
  for (size_t i = 0; i < 2; ++i) {
    sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    if (bind(sockets[i], reinterpret_cast<sockaddr*>(&address), bytes) == 0 &&
        getsockname(sockets[i], reinterpret_cast<sockaddr*>(&address), &bytes) == 0) {
      *found[i] = ntohs(address.sin_port);
    }
  }
  for (const int fd : sockets) close(fd);
  return ports;
}

std::vector<std::string> Arguments(const NodeSettings& settings, const NodePlace& place,
                                   const Ports& ports) {
  std::vector<std::string> arguments{
      settings.program, "--name=crashtest", Concat("--data-dir=", place.data),
      Concat("--listen-client-urls=http://127.0.0.1:", ports.client),
      // Published through the log, so it must not differ between lives.
      "--advertise-client-urls=http://127.0.0.1:2",
      Concat("--listen-peer-urls=http://127.0.0.1:", ports.peer),
      Concat("--initial-advertise-peer-urls=", kPeerUrl),
      Concat("--initial-cluster=crashtest=", kPeerUrl), "--snapshot-count=40",
      "--snapshot-catchup-entries=5", "--max-request-bytes=20000",
      Concat("--wal-depth=", settings.depth),
      Concat("--wal-durable-method=", settings.durable_method),
      Concat("--experimental-wal-segment-bytes=", settings.segment_bytes)};
  if (!place.trace.empty()) arguments.push_back(Concat("--experimental-io-trace=", place.trace));
  return arguments;
}

StatusOr<pid_t> Spawn(std::vector<std::string> arguments, const std::string& log) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  // ETCD_ variables would change the node.
  std::vector<char*> variables;
  for (char** each = environ; *each != nullptr; ++each) {
    if (!std::string_view(*each).starts_with("ETCD")) variables.push_back(*each);
  }
  variables.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, pointers[0], &files, &attributes, pointers.data(), variables.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error == 0) return pid;
  return InternalError(std::string(pointers[0]),
                       ": cannot be started: ", std::string(std::strerror(error)));
}

std::string LastLine(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  return std::string(text.substr(text.rfind('\n') + 1));
}

std::string HowItEnded(int status) {
  return WIFSIGNALED(status) ? Concat("by signal ", WTERMSIG(status))
                             : Concat("with status ", WEXITSTATUS(status));
}

}  // namespace

void Pause() {
  const timespec wait = {.tv_sec = 0, .tv_nsec = 1'000'000};
  nanosleep(&wait, nullptr);
}

MonoTime MonotonicNow() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000'000 + now.tv_nsec};
}

StatusOr<std::unique_ptr<NodeProcess>> NodeProcess::Start(const NodeSettings& settings,
                                                          const NodePlace& place) {
  for (int attempt = 1;; ++attempt) {
    if (!place.trace.empty()) MS_RETURN_IF_ERROR(RemoveTree(place.trace));
    const Ports ports = FreePorts();
    StatusOr<pid_t> pid = Spawn(Arguments(settings, place, ports), place.log);
    if (!pid.ok()) return pid.status();
    std::unique_ptr<NodeProcess> node(new NodeProcess(*pid, ports.client));
    const MonoTime deadline = MonotonicNow() + kStartMax;
    int status = 0;
    bool ended = false;
    std::string log;
    while (!ended && MonotonicNow() < deadline) {
      ended = node->Ended(&status);
      log = ReadWholeFile(place.log).value_or("");
      if (!ended && log.find(kServes) != std::string::npos) return node;
      if (!ended) Pause();
    }
    if (!ended) return DeadlineExceededError("does not serve: ", LastLine(log));
    const bool again = log.find(kPortTaken) != std::string::npos && attempt < kPortAttempts;
    if (!again) return AbortedError("ended ", HowItEnded(status), ": ", LastLine(log));
  }
}

NodeProcess::~NodeProcess() { Kill(); }

bool NodeProcess::Ended(int* status) {
  if (pid_ < 0) return true;
  if (waitpid(pid_, status, WNOHANG) == 0) return false;
  pid_ = -1;
  return true;
}

void NodeProcess::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
}

Status NodeProcess::Stop() {
  int status = 0;
  if (pid_ >= 0) kill(pid_, SIGTERM);
  const MonoTime deadline = MonotonicNow() + kStartMax;
  while (!Ended(&status)) {
    if (MonotonicNow() > deadline) return DeadlineExceededError("does not end after SIGTERM");
    Pause();
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OkStatus();
  return AbortedError("ended ", HowItEnded(status), " after SIGTERM");
}

std::string StartPath(std::string_view log) {
  constexpr std::string_view kKey = "\"msg\":\"";
  std::string path;
  std::string last;
  while (true) {
    const size_t at = log.find(kKey);
    if (at == log.npos) return path;
    log.remove_prefix(at + kKey.size());
    std::string message(log.substr(0, log.find('"')));
    if (message == kSlowTurn) continue;
    if (message != last) path += Concat(path.empty() ? "" : "; ", message);
    last = std::move(message);
    if (path.ends_with("ready to serve client requests")) return path;
  }
}

}  // namespace metastore::crashtest
