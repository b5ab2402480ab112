// Questions about leases that only the leader can answer, from an edge core or another member, on
// their way to the state core and back.
#pragma once

#include <cstdint>
#include <vector>

#include "io/cross_call.h"
#include "server/state_calls.h"

namespace metastore::server {

struct LeaseQuestion {
  LeaseId lease;
  bool renew = false;  // else it is only looked at
};

struct LeaseAnswer {
  bool found = false;
  int64_t granted_seconds = 0;    // its TTL; that is also what a renewed one has left
  int64_t remaining_seconds = 0;  // of one looked at
};

class LeaseCall;

class LeaseReceiver {
 public:
  virtual ~LeaseReceiver() = default;
  // Each call is returned exactly once, now or later.
  virtual void Ask(LeaseCall& call) = 0;
};

class LeaseCall final : public io::CrossCall {
 public:
  LeaseCall(io::Runtime& from, int to, LeaseReceiver& receiver)
      : CrossCall(from, to), receiver_(receiver) {}

  CallTerms terms;
  std::vector<LeaseQuestion> questions;
  bool forwarded = false;  // from another member, which took this one for the leader

  Status result;                     // set before the call is returned, as the others:
  std::vector<LeaseAnswer> answers;  // as many as questions
  Revision revision;                 // of this member, with its term: for the answers' header
  Term term;

  // GroupLeases' own: places in `questions` that have no answer yet.
  std::vector<uint32_t> open;

  void Fail(const ClientError& error) { result = ToStatus(error); }

 private:
  void Arrive() override { receiver_.Ask(*this); }

  LeaseReceiver& receiver_;
};

}  // namespace metastore::server
