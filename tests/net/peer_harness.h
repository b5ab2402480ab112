// Members on simulated machines, each with a PeerServer and links to others, and what they heard.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/sim/sim_world.h"
#include "net/peer_link.h"
#include "net/peer_server.h"

namespace metastore::net_test {

inline constexpr uint16_t kPeerPort = 2380;
inline constexpr ClusterId kPeerCluster{0xc1};

struct PeerHeard {
  NodeId from;
  std::string message;
};

// One member, and what it saw. Its process is started by Boot and ends by Halt, Kill or PowerLoss.
class PeerMember final : public net::PeerHandler, public net::PeerLinkListener {
 public:
  PeerMember(sim::SimWorld& world, std::string name, uint64_t id);
  ~PeerMember() override;
  PeerMember(const PeerMember&) = delete;
  PeerMember& operator=(const PeerMember&) = delete;

  // A process with a server on kPeerPort.
  void Boot(net::PeerStreamOptions options = {});
  net::PeerLinkOptions OptionsTo(const PeerMember& to) const;
  // A link to `to`, started.
  net::PeerLink& Dial(const PeerMember& to);
  net::PeerLink& Dial(net::PeerLinkOptions options);
  // Everything stops as a node does. The machine keeps its power.
  void Halt();
  void Kill();
  void PowerLoss();

  // PeerHandler
  Status Admit(const net::PeerHello& hello) override;
  io::Task<void> Serve(net::PeerStream& stream) override;
  // PeerLinkListener
  void OnPeerUp(NodeId peer) override;
  void OnPeerDown(NodeId peer, const Status& why) override;

  sim::SimMachine& machine() { return machine_; }
  io::Runtime& runtime() { return machine_.runtime(); }
  NodeId id() const { return id_; }
  net::PeerServer& server() { return *server_; }
  net::PeerLink& link(size_t i = 0) { return *links_[i]; }

  bool reading = true;    // Serve takes frames
  bool hangs_up = false;  // Serve returns at once
  Status verdict;         // of Admit
  std::vector<PeerHeard> heard;
  std::vector<net::PeerHello> admitted;
  std::vector<Status> stream_ends;  // of Serve
  size_t frames = 0;
  size_t serving = 0;
  size_t ups = 0;
  std::vector<Status> downs;

 private:
  void Bury();

  sim::SimWorld& world_;
  sim::SimMachine& machine_;
  const NodeId id_;
  std::unique_ptr<io::StopSource> halt_;
  std::unique_ptr<net::PeerServer> server_;
  std::vector<std::unique_ptr<net::PeerLink>> links_;
};

// Sends `message` as it is.
bool SendText(net::PeerLink& link, net::PeerUrgency urgency, std::string_view message);

// A world with two members, the first with a link to the second.
struct PeerPair {
  explicit PeerPair(uint64_t seed = 1, sim::SimOptions options = {})
      : world(seed, options), a(world, "a", 1), b(world, "b", 2) {}

  // Boots both, and links a to b.
  net::PeerLink& Join() {
    b.Boot();
    a.Boot();
    return a.Dial(b);
  }
  bool Until(const std::function<bool()>& done, Duration limit = Seconds(30)) {
    return world.RunUntil(done, limit);
  }
  bool UntilUp() {
    return Until([this] { return a.link().up(); });
  }

  sim::SimWorld world;
  PeerMember a;
  PeerMember b;
};

}  // namespace metastore::net_test
