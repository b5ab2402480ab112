// SimNetwork: the wires between the simulated machines. Streams are as TCP gives them: what
// arrives is in order and whole; lost packets and cut wires show as delay, stall or reset,
// never as damaged bytes.
//
// Addresses: the N-th machine has 10.0.0.N; 127.0.0.1 and ::1 are the machine itself, 0.0.0.0
// and :: all of its own.
//
// Ends of a connection:
//  - Close or ShutdownSend: the other side reads what was sent, then end of stream.
//  - Close with unread bytes, or anything sent to a closed end: the other side gets a reset
//    (kUnavailable).
//  - A killed process: its machine resets all its connections.
//  - Power loss: on a part of the connections nothing is heard any more (half open). Such a one
//    ends only by sending: after `give_up` without an answer, or by the reset a machine gives once
//    it runs a process again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/base/prng.h"
#include "io/base/status.h"
#include "io/sim/sim_clock.h"
#include "io/socket.h"

namespace metastore::sim {

class SimListener;
class SimMachine;
class SimRuntime;
class SimSocket;
struct SimEndpoint;
struct SimSegment;

struct SimNetworkOptions {
  Duration delay_min = Microseconds(50);  // one way, between machines
  Duration delay_max = Microseconds(400);
  Duration local_delay = Microseconds(10);  // within one machine
  uint32_t loss_per_million = 0;            // of segments: they, and all behind, come late
  Duration retransmit = Milliseconds(200);
  uint32_t small_per_cent = 10;  // of segments, cut down to 1..64 bytes
  size_t segment_bytes = 32 * 1024;
  size_t window_bytes = 256 * 1024;     // sent but not yet received, a direction; then Send waits
  Duration give_up = Seconds(15);       // nothing acknowledged for this long: reset
  Duration connect_retry = Seconds(1);  // an unanswered Connect tries again
  uint32_t silent_power_loss_per_cent = 50;
  size_t backlog = 1024;  // connections not yet accepted, a listener
};

struct SimNetworkCounters {
  uint64_t connections = 0;  // established
  uint64_t refused = 0;
  uint64_t resets = 0;    // ends that got one
  uint64_t segments = 0;  // delivered
  uint64_t bytes = 0;     // delivered
};

class SimNetwork final {
 public:
  SimNetwork(SimClock& clock, Prng prng, SimNetworkOptions options);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  SimNetworkOptions& options() { return options_; }
  const SimNetworkCounters& counters() const { return counters_; }

  // --- wires -----------------------------------------------------------------------------------
  // Nothing sent from `from` arrives at `to`, until healed: it waits, connecting times out.
  void CutOneWay(const SimMachine& from, const SimMachine& to);
  void Cut(const SimMachine& a, const SimMachine& b);
  void Heal(const SimMachine& a, const SimMachine& b);
  // Cuts every wire between the machine and all others, or heals them.
  void Isolate(const SimMachine& machine);
  void Rejoin(const SimMachine& machine);
  void HealAll();
  bool IsCut(const SimMachine& from, const SimMachine& to) const;
  // All connections between the two are reset, both ends; new ones may be made.
  void ResetConnections(const SimMachine& a, const SimMachine& b);
  // Delays between the two, both ways, are `factor` times as long; 1 is normal.
  void SetSlowFactor(const SimMachine& a, const SimMachine& b, int64_t factor);
  // Ends that exist: two a connection.
  size_t endpoints_count() const { return endpoints_.size(); }

  // --- for the runtime and the machine ---------------------------------------------------------
  using End = std::shared_ptr<SimEndpoint>;

  void AddMachine(SimMachine& machine) { machines_.push_back(&machine); }
  // Where `listener` listens: `address`, with a port chosen if it has none.
  // Errors: kAlreadyExists     taken by another process, or by the same core
  //         kFailedPrecondition  no address of this machine
  StatusOr<io::Address> AddListener(SimListener& listener, const io::Address& address);
  void RemoveListener(SimListener& listener);
  // What an attempt to connect meets that arrives now. kNone: nothing answers.
  enum class Answer : uint8_t { kNone, kRefused, kAccepted };
  Answer TryConnect(SimRuntime& from, const io::Address& to, End* end);
  // One way, drawn anew.
  Duration DelayTo(const SimMachine& from, const io::Address& to);
  // Puts `bytes`, at most WindowLeft, on the way.
  void SendBytes(const End& from, std::string_view bytes);
  size_t WindowLeft(const SimEndpoint& end) const;
  void SendEnd(const End& from);
  void CloseEnd(const End& end);
  // The socket at `end` took `bytes` of what had arrived.
  void Drained(const SimEndpoint& end, size_t bytes);
  void MachineKilled(SimMachine& machine);
  void MachineLostPower(SimMachine& machine);
  void MachineStarted();
  // Machine of that name, or null.
  SimMachine* FindByName(std::string_view name) const;

 private:
  // Directed; by name, so that every run has the same order.
  using Wire = std::pair<std::string, std::string>;

  SimMachine* FindByIp(SimMachine& from, const std::string& ip) const;
  SimListener* ChooseListener(const SimMachine& machine, const io::Address& to);
  End NewEnd(SimMachine& machine, io::Address peer);
  Duration Delay(const SimMachine& from, const SimMachine& to);
  void Send(const End& from, uint8_t kind, std::string bytes);
  void ScheduleArrival(SimSegment& segment, Duration delay);
  void SendReset(const End& from);
  bool Blocked(const SimEndpoint& from) const;
  void Arrive(SimSegment& segment);
  void Deliver(SimSegment& segment);
  void Acknowledge(SimEndpoint& sender, size_t segments);
  void ResendHeld();
  void DeliverHeld(SimEndpoint& end);
  void GiveUp(SimEndpoint& end);
  void ResetEnd(SimEndpoint& end);
  void DropHeld(SimEndpoint& end);
  void ForgetIfDone(const End& end);
  std::vector<End> EndsOf(const SimMachine& machine) const;
  SimSegment& NewSegment();
  void FreeSegment(SimSegment& segment);

  SimClock& clock_;
  Prng prng_;
  SimNetworkOptions options_;
  std::vector<SimMachine*> machines_;
  std::vector<SimListener*> listeners_;
  std::map<uint64_t, End> endpoints_;
  uint64_t last_endpoint_ = 0;
  std::set<Wire> cuts_;
  std::map<Wire, int64_t> slow_;
  std::vector<std::unique_ptr<SimSegment>> segments_;
  std::vector<SimSegment*> free_segments_;
  uint16_t next_port_ = 32768;
  SimNetworkCounters counters_;
};

}  // namespace metastore::sim
