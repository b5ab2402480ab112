// Sockets and listeners of SimRuntime, and SimEndpoint, what the simulated kernel knows of one
// end of a connection.
//
// A SimEndpoint belongs to the network and may outlive its socket (bytes under way, a half-open
// other side); the socket belongs to its user's core.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/sim/sim_clock.h"
#include "io/sim/sim_network.h"
#include "io/sim/sim_runtime.h"
#include "io/socket.h"

namespace metastore::sim {

struct SimEndpoint : SimEvent {  // as an event: giving up
  SimNetwork* network = nullptr;
  uint64_t id = 0;
  SimMachine* machine = nullptr;
  SimSocket* socket = nullptr;         // null: not accepted, closed or dead
  std::shared_ptr<SimEndpoint> other;  // null once the connection is forgotten
  io::Address peer;

  // What goes out.
  MonoTime last_arrival;  // keeps the segments' order
  MonoTime last_progress;
  size_t window_used = 0;         // bytes sent that the other side has not received
  size_t unacknowledged = 0;      // segments
  size_t unheard_segments = 0;    // of these: arrived, but the wire back is cut
  size_t unheard_bytes = 0;       // received, but the wire back is cut
  std::vector<SimSegment*> held;  // met a cut wire, in order; all later ones queue behind them
  struct Resend : SimEvent {
    SimEndpoint* end = nullptr;
  } resend;  // scheduled when the wire is healed
  bool end_sent = false;

  // What came in.
  std::deque<std::string> arrived;
  size_t first_at = 0;  // bytes of arrived.front() already received
  bool end_arrived = false;
  bool reset = false;
  bool closed = false;    // nobody has it any more
  bool vanished = false;  // closed by a power loss: silent until its machine runs again
};

struct SimSegment : SimEvent {
  enum Kind : uint8_t { kData, kEnd, kReset };
  Kind kind = kData;
  std::shared_ptr<SimEndpoint> from;
  std::string bytes;
};

class SimSocket final : public io::Socket {
 public:
  SimSocket(SimRuntime& runtime, std::shared_ptr<SimEndpoint> end);
  ~SimSocket() override;

  io::Task<StatusOr<io::ReceivedBytes>> Receive() override;
  io::Task<Status> Send(std::string_view bytes) override;
  void ShutdownSend() override;
  void Close() override;
  const io::Address& peer() const override { return peer_; }

  // The network: something arrived, or the window opened.
  void WakeReceiver() { receiver_.WakeIfSuspended(); }
  void WakeSender() { sender_.WakeIfSuspended(); }

 private:
  bool Ended() const;
  bool CanReceive() const;
  bool CanSend() const;
  Status SendFailure() const;
  StatusOr<io::ReceivedBytes> TakeReceived();

  SimRuntime& runtime_;
  SimNetwork& network_;
  std::shared_ptr<SimEndpoint> end_;
  io::Address peer_;
  SimWait receiver_;
  SimWait sender_;
  bool receiving_ = false;
  bool sending_ = false;
  bool closed_ = false;
};

class SimListener final : public io::Listener {
 public:
  SimListener(SimRuntime& runtime, SimNetwork& network);
  ~SimListener() override;

  io::Task<StatusOr<std::unique_ptr<io::Socket>>> Accept() override;
  void Close() override;
  const io::Address& local() const override { return local_; }

  SimRuntime& runtime() { return runtime_; }
  void set_local(io::Address local) { local_ = std::move(local); }
  size_t waiting() const { return waiting_.size(); }
  void Enqueue(std::shared_ptr<SimEndpoint> end);

 private:
  SimRuntime& runtime_;
  SimNetwork& network_;
  io::Address local_;
  std::deque<std::shared_ptr<SimEndpoint>> waiting_;
  SimWait acceptor_;
  bool accepting_ = false;
  bool closed_ = false;
};

}  // namespace metastore::sim
