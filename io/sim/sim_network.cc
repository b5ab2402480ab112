#include "io/sim/sim_network.h"

#include <algorithm>
#include <utility>

#include "io/sim/sim_machine.h"
#include "io/sim/sim_runtime.h"
#include "io/sim/sim_socket.h"

namespace metastore::sim {
namespace {

bool IsLoopback(std::string_view ip) { return ip == "127.0.0.1" || ip == "::1"; }
bool IsAny(std::string_view ip) { return ip == "0.0.0.0" || ip == "::"; }

}  // namespace

SimNetwork::SimNetwork(SimClock& clock, Prng prng, SimNetworkOptions options)
    : clock_(clock), prng_(prng), options_(options) {}

SimNetwork::~SimNetwork() {
  CHECK(listeners_.empty());
  for (auto& [id, end] : endpoints_) {
    CHECK(end->socket == nullptr);
    clock_.Cancel(*end);
    clock_.Cancel(end->resend);
    end->other = nullptr;  // they hold each other
  }
  for (const std::unique_ptr<SimSegment>& segment : segments_) clock_.Cancel(*segment);
}

// --- wires -------------------------------------------------------------------------------------

void SimNetwork::CutOneWay(const SimMachine& from, const SimMachine& to) {
  cuts_.emplace(from.name(), to.name());
}

void SimNetwork::Cut(const SimMachine& a, const SimMachine& b) {
  CutOneWay(a, b);
  CutOneWay(b, a);
}

void SimNetwork::Heal(const SimMachine& a, const SimMachine& b) {
  cuts_.erase(Wire(a.name(), b.name()));
  cuts_.erase(Wire(b.name(), a.name()));
  ResendHeld();
}

void SimNetwork::Isolate(const SimMachine& machine) {
  for (const SimMachine* other : machines_) {
    if (other != &machine) Cut(machine, *other);
  }
}

void SimNetwork::Rejoin(const SimMachine& machine) {
  std::erase_if(cuts_, [&machine](const Wire& wire) {
    return wire.first == machine.name() || wire.second == machine.name();
  });
  ResendHeld();
}

void SimNetwork::HealAll() {
  cuts_.clear();
  ResendHeld();
}

bool SimNetwork::IsCut(const SimMachine& from, const SimMachine& to) const {
  return !cuts_.empty() && cuts_.contains(Wire(from.name(), to.name()));
}

void SimNetwork::SetSlowFactor(const SimMachine& a, const SimMachine& b, int64_t factor) {
  slow_[Wire(a.name(), b.name())] = factor;
  slow_[Wire(b.name(), a.name())] = factor;
}

Duration SimNetwork::Delay(const SimMachine& from, const SimMachine& to) {
  if (&from == &to) {
    return Nanoseconds(
        static_cast<int64_t>(prng_.Below(static_cast<uint64_t>(options_.local_delay.ns) + 1)));
  }
  // Squared, so that most delays are near the least and a few near the greatest.
  const auto spread = (options_.delay_max - options_.delay_min).ns;
  const auto draw = static_cast<int64_t>(prng_.Below(1001));
  int64_t ns = options_.delay_min.ns + spread / 1000 * draw / 1000 * draw;
  if (!slow_.empty()) {
    const auto slow = slow_.find(Wire(from.name(), to.name()));
    if (slow != slow_.end()) ns *= slow->second;
  }
  return Nanoseconds(ns);
}

Duration SimNetwork::DelayTo(const SimMachine& from, const io::Address& to) {
  if (IsLoopback(to.ip)) return Delay(from, from);
  for (const SimMachine* machine : machines_) {
    if (machine->ip() == to.ip) return Delay(from, *machine);
  }
  return options_.delay_max;
}

SimMachine* SimNetwork::FindByName(std::string_view name) const {
  for (SimMachine* machine : machines_) {
    if (machine->name() == name) return machine;
  }
  return nullptr;
}

SimMachine* SimNetwork::FindByIp(SimMachine& from, const std::string& ip) const {
  if (IsLoopback(ip)) return &from;
  for (SimMachine* machine : machines_) {
    if (machine->ip() == ip) return machine;
  }
  return nullptr;
}

// --- listening and connecting ------------------------------------------------------------------

StatusOr<io::Address> SimNetwork::AddListener(SimListener& listener, const io::Address& address) {
  const SimMachine& machine = listener.runtime().machine();
  if (!IsAny(address.ip) && !IsLoopback(address.ip) && address.ip != machine.ip()) {
    return FailedPreconditionError(address.ToString(), ": listen: not an address of this machine");
  }
  io::Address local = address;
  if (local.port == 0) local.port = next_port_++;
  for (SimListener* other : listeners_) {
    if (&other->runtime().machine() != &machine || other->local().port != local.port) continue;
    const bool overlap =
        other->local().ip == local.ip || IsAny(local.ip) || IsAny(other->local().ip);
    const bool shared = &other->runtime() != &listener.runtime() && other->local() == local;
    if (overlap && !shared) {
      return AlreadyExistsError(local.ToString(), ": listen: address in use");
    }
  }
  listeners_.push_back(&listener);
  return local;
}

void SimNetwork::RemoveListener(SimListener& listener) { std::erase(listeners_, &listener); }

SimListener* SimNetwork::ChooseListener(const SimMachine& machine, const io::Address& to) {
  std::vector<SimListener*> found;
  for (SimListener* listener : listeners_) {
    const io::Address& local = listener->local();
    const bool same_ip = local.ip == to.ip || IsAny(local.ip);
    if (&listener->runtime().machine() == &machine && local.port == to.port && same_ip) {
      found.push_back(listener);
    }
  }
  return found.empty() ? nullptr : found[static_cast<size_t>(prng_.Below(found.size()))];
}

SimNetwork::End SimNetwork::NewEnd(SimMachine& machine, io::Address peer) {
  End end = std::make_shared<SimEndpoint>();
  end->network = this;
  end->id = ++last_endpoint_;
  end->machine = &machine;
  end->peer = std::move(peer);
  end->run = [](SimEvent& event) {
    auto& self = static_cast<SimEndpoint&>(event);
    self.network->GiveUp(self);
  };
  end->resend.end = end.get();
  end->resend.run = [](SimEvent& event) {
    SimEndpoint& self = *static_cast<SimEndpoint::Resend&>(event).end;
    self.network->DeliverHeld(self);
  };
  endpoints_[end->id] = end;
  return end;
}

SimNetwork::Answer SimNetwork::TryConnect(SimRuntime& from, const io::Address& to, End* end) {
  SimMachine* machine = FindByIp(from.machine(), to.ip);
  if (machine == nullptr || !machine->powered()) return Answer::kNone;
  if (IsCut(from.machine(), *machine) || IsCut(*machine, from.machine())) return Answer::kNone;
  SimListener* listener = ChooseListener(*machine, to);
  if (listener == nullptr) {
    ++counters_.refused;
    return Answer::kRefused;
  }
  if (listener->waiting() >= options_.backlog) return Answer::kNone;
  const bool inside = machine == &from.machine();
  const io::Address client{inside ? to.ip : from.machine().ip(), next_port_++};
  End near = NewEnd(from.machine(), to);
  End far = NewEnd(*machine, client);
  near->other = far;
  far->other = near;
  listener->Enqueue(far);
  *end = near;
  ++counters_.connections;
  return Answer::kAccepted;
}

// --- segments ----------------------------------------------------------------------------------

SimSegment& SimNetwork::NewSegment() {
  if (free_segments_.empty()) {
    segments_.push_back(std::make_unique<SimSegment>());
    free_segments_.push_back(segments_.back().get());
  }
  SimSegment& segment = *free_segments_.back();
  free_segments_.pop_back();
  return segment;
}

void SimNetwork::FreeSegment(SimSegment& segment) {
  segment.from = nullptr;
  segment.bytes.clear();
  free_segments_.push_back(&segment);
}

size_t SimNetwork::WindowLeft(const SimEndpoint& end) const {
  return options_.window_bytes > end.window_used ? options_.window_bytes - end.window_used : 0;
}

void SimNetwork::SendBytes(const End& from, std::string_view bytes) {
  while (!bytes.empty()) {
    size_t size = std::min(bytes.size(), options_.segment_bytes);
    if (prng_.Chance(options_.small_per_cent, 100)) {
      size = std::min(size, static_cast<size_t>(prng_.Between(1, 64)));
    }
    from->window_used += size;
    Send(from, SimSegment::kData, std::string(bytes.substr(0, size)));
    bytes.remove_prefix(size);
  }
}

void SimNetwork::SendEnd(const End& from) {
  if (from->end_sent) return;
  from->end_sent = true;
  Send(from, SimSegment::kEnd, "");
}

// A reset is not repeated when it is lost; whatever is sent to the closed end draws another.
void SimNetwork::SendReset(const End& from) { Send(from, SimSegment::kReset, ""); }

void SimNetwork::Send(const End& from, uint8_t kind, std::string bytes) {
  if (from->other == nullptr) return;
  SimSegment& segment = NewSegment();
  segment.kind = static_cast<SimSegment::Kind>(kind);
  segment.from = from;
  segment.bytes = std::move(bytes);
  segment.run = [](SimEvent& event) {
    auto& self = static_cast<SimSegment&>(event);
    self.from->network->Arrive(self);
  };
  if (kind != SimSegment::kReset) {
    if (from->unacknowledged++ == 0) from->last_progress = clock_.Now();
    if (!from->scheduled()) clock_.Schedule(*from, clock_.Now() + options_.give_up);
  }
  ScheduleArrival(segment, Delay(*from->machine, *from->other->machine));
}

void SimNetwork::ScheduleArrival(SimSegment& segment, Duration delay) {
  SimEndpoint& from = *segment.from;
  const bool lost = options_.loss_per_million > 0 && from.machine != from.other->machine &&
                    prng_.Chance(options_.loss_per_million, 1'000'000);
  if (lost) delay = delay + options_.retransmit;
  from.last_arrival = std::max(clock_.Now() + delay, from.last_arrival + Nanoseconds(1));
  clock_.Schedule(segment, from.last_arrival);
}

bool SimNetwork::Blocked(const SimEndpoint& from) const {
  const SimEndpoint& to = *from.other;
  return IsCut(*from.machine, *to.machine) || (to.vanished && !to.machine->running());
}

void SimNetwork::Arrive(SimSegment& segment) {
  const End from = segment.from;
  if (from->other == nullptr) {
    FreeSegment(segment);
    return;
  }
  const bool waits = Blocked(*from) || !from->held.empty();
  if (waits && segment.kind != SimSegment::kReset) {
    from->held.push_back(&segment);
    return;
  }
  if (!waits) Deliver(segment);
  FreeSegment(segment);
}

void SimNetwork::Deliver(SimSegment& segment) {
  const End from = segment.from;
  const End to = from->other;
  clock_.Trace(from->id, segment.bytes.size());
  if (segment.kind == SimSegment::kReset) {
    ResetEnd(*to);
    return;
  }
  if (IsCut(*to->machine, *from->machine)) {
    ++from->unheard_segments;
  } else {
    Acknowledge(*from, 1);
  }
  if (to->closed || to->reset) {
    if (segment.kind == SimSegment::kData || to->vanished) SendReset(to);
    return;
  }
  ++counters_.segments;
  counters_.bytes += segment.bytes.size();
  if (segment.kind == SimSegment::kEnd) {
    to->end_arrived = true;
  } else {
    to->arrived.push_back(std::move(segment.bytes));
  }
  if (to->socket != nullptr) to->socket->WakeReceiver();
}

void SimNetwork::Acknowledge(SimEndpoint& sender, size_t segments) {
  sender.unacknowledged -= std::min(segments, sender.unacknowledged);
  sender.last_progress = clock_.Now();
  if (sender.unacknowledged == 0) clock_.Cancel(sender);
}

void SimNetwork::Drained(const SimEndpoint& end, size_t bytes) {
  if (end.other == nullptr) return;
  SimEndpoint& sender = *end.other;
  if (IsCut(*end.machine, *sender.machine)) {
    sender.unheard_bytes += bytes;
    return;
  }
  sender.window_used -= bytes;
  if (sender.socket != nullptr) sender.socket->WakeSender();
}

void SimNetwork::ResendHeld() {
  std::vector<End> ends;
  for (const auto& [id, end] : endpoints_) ends.push_back(end);
  for (const End& end : ends) {
    if (end->other == nullptr) continue;
    if (!IsCut(*end->other->machine, *end->machine)) {
      Acknowledge(*end, std::exchange(end->unheard_segments, 0));
      end->window_used -= std::exchange(end->unheard_bytes, 0);
      if (end->socket != nullptr) end->socket->WakeSender();
    }
    if (end->held.empty() || end->resend.scheduled() || Blocked(*end)) continue;
    clock_.Schedule(end->resend, clock_.Now() + Delay(*end->machine, *end->other->machine));
  }
}

void SimNetwork::DeliverHeld(SimEndpoint& end) {
  if (end.other == nullptr || Blocked(end)) return;
  for (SimSegment* segment : std::exchange(end.held, {})) {
    Deliver(*segment);
    FreeSegment(*segment);
  }
}

// --- ends --------------------------------------------------------------------------------------

void SimNetwork::GiveUp(SimEndpoint& end) {
  const MonoTime due = end.last_progress + options_.give_up;
  if (clock_.Now() < due) {
    clock_.Schedule(end, due);
  } else {
    ResetEnd(end);
  }
}

void SimNetwork::ResetEnd(SimEndpoint& end) {
  DropHeld(end);
  clock_.Cancel(end);
  if (end.closed || end.reset) return;
  end.reset = true;
  ++counters_.resets;
  if (end.socket == nullptr) return;
  end.socket->WakeReceiver();
  end.socket->WakeSender();
}

void SimNetwork::DropHeld(SimEndpoint& end) {
  for (SimSegment* segment : std::exchange(end.held, {})) FreeSegment(*segment);
}

void SimNetwork::CloseEnd(const End& end) {
  end->socket = nullptr;
  if (end->closed) return;
  end->closed = true;
  const bool unread = !end->arrived.empty();
  end->arrived.clear();
  if (unread) {
    SendReset(end);
  } else if (!end->reset) {
    SendEnd(end);
  }
  ForgetIfDone(end);
}

// Both sides are gone: nothing that is still under way can matter to anybody.
void SimNetwork::ForgetIfDone(const End& end) {
  const End other = end->other;
  if (other == nullptr || !end->closed || !other->closed) return;
  for (const End& each : {end, other}) {
    each->other = nullptr;
    DropHeld(*each);
    clock_.Cancel(*each);
    clock_.Cancel(each->resend);
    endpoints_.erase(each->id);
  }
}

std::vector<SimNetwork::End> SimNetwork::EndsOf(const SimMachine& machine) const {
  std::vector<End> ends;
  for (const auto& [id, end] : endpoints_) {
    if (end->machine == &machine) ends.push_back(end);
  }
  return ends;
}

void SimNetwork::ResetConnections(const SimMachine& a, const SimMachine& b) {
  for (const SimMachine* machine : {&a, &b}) {
    const SimMachine* other = machine == &a ? &b : &a;
    for (const End& end : EndsOf(*machine)) {
      if (end->other != nullptr && end->other->machine == other) ResetEnd(*end);
    }
  }
}

void SimNetwork::MachineKilled(SimMachine& machine) {
  std::erase_if(listeners_, [&machine](SimListener* listener) {
    return &listener->runtime().machine() == &machine;
  });
  for (const End& end : EndsOf(machine)) {
    end->socket = nullptr;
    if (end->closed) continue;
    end->closed = true;
    end->arrived.clear();
    if (!end->reset) SendReset(end);
    ForgetIfDone(end);
  }
}

void SimNetwork::MachineLostPower(SimMachine& machine) {
  for (const End& end : EndsOf(machine)) {
    DropHeld(*end);
    if (end->closed || !prng_.Chance(options_.silent_power_loss_per_cent, 100)) continue;
    end->closed = true;
    end->vanished = true;
    end->arrived.clear();
    ForgetIfDone(end);
  }
  MachineKilled(machine);
}

void SimNetwork::MachineStarted() { ResendHeld(); }

}  // namespace metastore::sim
