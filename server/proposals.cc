#include "server/proposals.h"

#include <algorithm>
#include <utility>

#include "server/mutation.h"
#include "server/server_command.h"

namespace metastore::server {

Proposals::~Proposals() { CHECK(pending_.empty()); }

void Proposals::Admit(ProposeCall& call) {
  const size_t bytes = call.command.size();
  if (!HasRoom(bytes)) {
    ++stats_.refused_total;
    call.Fail(errors::kTooManyRequests);
    call.Return(runtime_);
    return;
  }
  const bool inserted = pending_.emplace(call.id, &call).second;
  CHECK(inserted);  // ids are unique by construction (state_calls.h)
  call.bytes = bytes;
  call.proposed_in = Term();
  bytes_ += bytes;
  if (call.op != nullptr) ++readers_;
  ++stats_.admitted_total;
  waiting_bytes_ += bytes;
  waiting_.push_back({std::move(call.command), &call});
}

bool Proposals::HasRoom(size_t bytes) const {
  const size_t calls = std::max(pending_.size(), waiting_.size());
  return calls < limits::kProposalsMax &&
         std::max(bytes_, waiting_bytes_) + bytes <= limits::kProposalsBytesMax;
}

void Proposals::Take(size_t count, Term term, std::vector<raft::Payload>& payloads) {
  CHECK_LE(count, waiting_.size());
  for (size_t i = 0; i < count; ++i) {
    Waiting& oldest = waiting_.front();
    if (oldest.call != nullptr) {
      oldest.call->proposed_in = term;
      waiting_bytes_ -= oldest.command.size();
      payloads.push_back(std::move(oldest.command));
    }
    waiting_.pop_front();
  }
}

void Proposals::PutBack(std::span<raft::Payload> payloads) {
  for (auto it = payloads.rbegin(); it != payloads.rend(); ++it) {
    ProposeCall* call = FindCall(it->view());
    if (call == nullptr) continue;
    call->proposed_in = Term();
    waiting_bytes_ += it->size();
    waiting_.push_front({std::move(*it), call});
  }
}

ProposeCall* Proposals::FindCall(std::string_view command) const {
  engine::RequestId id;
  if (IsServerCommand(command)) {
    const StatusOr<ServerCommand> decoded = DecodeServerCommand(command);
    if (!decoded.ok()) return nullptr;
    id = decoded->request;
  } else {
    const StatusOr<engine::CommandHeader> header = engine::DecodeCommandHeader(command);
    if (!header.ok()) return nullptr;
    id = header->request;
  }
  const auto found = pending_.find(id);
  return found == pending_.end() ? nullptr : found->second;
}

ProposeCall* Proposals::FindReader(std::string_view command) const {
  if (readers_ == 0) return nullptr;
  ProposeCall* call = FindCall(command);
  return call != nullptr && call->op != nullptr ? call : nullptr;
}

void Proposals::Detach(ProposeCall& call) {
  const auto found = pending_.find(call.id);
  CHECK(found != pending_.end());
  Remove(found);
}

void Proposals::Remove(PendingMap::iterator at) {
  const ProposeCall& call = *at->second;
  pending_.erase(at);
  CHECK_GE(bytes_, call.bytes);
  bytes_ -= call.bytes;
  if (call.op != nullptr) --readers_;
}

ProposeCall* Proposals::Detach(const engine::RequestId& id) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return nullptr;
  ProposeCall* call = found->second;
  Remove(found);
  return call;
}

void Proposals::StampApplied(ProposeCall& call, LogIndex index) const {
  if (!call.stages.has_value()) return;
  const std::optional<FlightTimes> flight = stages_.Find(index);
  if (!flight.has_value()) return call.stages.reset();
  call.stages->flight = *flight;
  call.stages->applied = runtime_.Now();
}

void Proposals::Resolve(engine::ApplyResult&& applied, Term term) {
  if (Mutated(Mutation::kNeighbourAnswered)) applied.request.counter ^= 1;
  ProposeCall* call = Detach(applied.request);
  if (call == nullptr) return;
  StampApplied(*call, applied.index);
  WriteAnswer& answer = call->result.emplace();
  answer.applied = std::move(applied);
  answer.term = term;
  call->Return(runtime_);
}

void Proposals::Fail(const engine::RequestId& id, const ClientError& error) {
  ProposeCall* call = Detach(id);
  call->Fail(error);
  call->Return(runtime_);
}

void Proposals::Expire(MonoTime now) {
  stats_.expired_total += FailWhere(
      [now](const ProposeCall& call) { return call.terms.deadline <= now; }, errors::kTimeout);
}

void Proposals::FailOfTermsBefore(Term term) {
  stats_.lost_total += FailWhere(
      [term](const ProposeCall& call) {
        return call.proposed_in != Term() && call.proposed_in < term;
      },
      errors::kTimeoutLeaderFailed);
}

void Proposals::FailAll(const ClientError& error) {
  stats_.failed_total += FailWhere([](const ProposeCall& /*call*/) { return true; }, error);
}

template <typename Predicate>
size_t Proposals::FailWhere(Predicate&& which, const ClientError& error) {
  for (Waiting& waiting : waiting_) {
    if (waiting.call == nullptr || !which(*waiting.call)) continue;
    waiting_bytes_ -= waiting.command.size();
    waiting = {};
  }
  while (!waiting_.empty() && waiting_.front().call == nullptr) waiting_.pop_front();
  ended_.clear();
  for (const auto& [id, call] : pending_) {
    if (which(*call)) ended_.push_back(id);
  }
  // The map's order differs from run to run; simulation must not.
  std::ranges::sort(ended_, {}, [](const engine::RequestId& id) { return id.counter; });
  for (const engine::RequestId& id : ended_) Fail(id, error);
  return ended_.size();
}

}  // namespace metastore::server
