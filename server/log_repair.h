// LogRepair: a damaged log is set aside, and a new one begun whose entries the other members send.
//
// Owned by the StateCore; runs before the log is open, and holds no open file when it returns.
//
// What a lost log may have promised to others, and why none of it is broken:
//  1. Votes and acknowledgements in some term T. Whoever got a vote request or an append of T to
//     this member had made T durable. Every other voter is asked for its term while this member
//     says nothing to anybody, and the new log begins with a term greater than all answers: so
//     nothing is voted for or acknowledged again in T or below. A leader of T that still counts
//     what was acknowledged meets that term, steps down, and the next one counts anew. Who is asked
//     ends its old message streams from here first, so a vote request of the former process arrives
//     before the answer or never.
//  2. Entries that were committed by an acknowledgement of this member. Another voter of each
//     majority has them too, and while elections are closed here no majority can elect without one
//     of those: every leader of a later term has them. Once this member has applied an entry of a
//     term from the new one on (DurableState::repair_term) its log holds all of them, and it votes
//     again (Group::OpenElections).
//  3. Who the other voters are is what they say: all that any of them names and none knows to have
//     left. Each answers only once it has applied all that its log held when it was asked, so a
//     change that was committed before is known to one of a majority of those asked.
//  4. Request ids: the boot count goes on far above what is readable of the old one.
// A vote for a member that was removed while it campaigned is the one promise that nobody may be
// left to tell; it gets no answers here any more either.
//
// A crash at any step restarts into the same repair, or into a finished one: the new log is whole
// and durable under a name of its own; then snapshots and log are renamed, each atomically and
// durably; a log that is missing beside a new one is a switch to be finished. Nothing is deleted:
// what was set aside stays for walinspect, kSetsMax times.
//
// Refused, as before: a cluster of one voter; where less than a majority of the voters has a whole
// log; where no intact hard state says from which data directory this log is.
#pragma once

#include <map>
#include <string>

#include "io/runtime.h"
#include "server/config.h"
#include "server/edge.h"
#include "server/flight.h"
#include "server/member_rpc.h"
#include "wal/log.h"

namespace metastore::server {

class LogRepair final {
 public:
  static constexpr int kSetsMax = 3;

  struct Places {
    std::string log;        // directories; siblings of theirs get names that begin alike
    std::string snapshots;  // may be missing
    std::string mark;       // a file, see Suspicion
  };

  // Both outlive it.
  LogRepair(io::Runtime& runtime, const Config& config, Places places)
      : runtime_(runtime), config_(config), places_(std::move(places)) {}

  // First of all at a start: ends a switch that a crash has interrupted. Errors: those of files
  io::Task<Status> FinishSwitch();
  // What former runs have left behind: a disk that could not be read once need not be damaged, so
  // the next start looks at everything.
  enum class Suspicion : uint8_t {
    kNone,
    kOnce,   // something could not be read
    kTwice,  // and could not again by the start after that: it is damaged, wherever
  };
  io::Task<StatusOr<Suspicion>> Suspected();
  // Does nothing where nobody could repair anything.
  io::Task<Status> Suspect(Suspicion how);
  // All could be read. Errors: those of files
  io::Task<Status> Clear();
  // Whether the log is damaged for certain. Errors: those of files
  io::Task<StatusOr<bool>> Damaged();

  // Repairs the log of `identity`, which is damaged as `damage` (kDataLoss) says; `log` as it would
  // be opened. Afterwards a log is there that can be. Returns the members of the cluster.
  // Errors: kDataLoss           `damage`, and why it cannot be repaired, with the way out
  //         kUnavailable        not all voters answer; nothing has changed, try again
  //         kFailedPrecondition the cluster does not know this member any more
  //         kResourceExhausted  no space; and those of files
  io::Task<StatusOr<Members>> Run(Status damage, Identity identity, wal::LogOptions log);

 private:
  struct Answers {
    Members members;
    std::map<NodeId, TermAnswer> by_member;
  };

  io::Task<StatusOr<int>> FreeNumber();
  io::Task<StatusOr<Answers>> AskAll(const Identity& identity, uint64_t incarnation);
  io::Task<Status> AskMissing(const Identity& identity, uint64_t incarnation, Answers& answers);
  std::vector<NodeId> Missing(const Identity& identity, const Answers& answers) const;
  static Status JudgeMajority(const Answers& answers);
  io::Task<Status> MakeLog(wal::LogOptions options, DurableState begin);
  io::Task<Status> Switch(int number);
  io::Task<Status> RemoveAll(std::string directory);
  io::Task<StatusOr<bool>> HasMark(Suspicion how);
  io::Task<StatusOr<bool>> Exists(std::string directory);
  std::string NewLog() const { return places_.log + ".repair"; }
  std::string MarkOf(Suspicion how) const {
    return how == Suspicion::kTwice ? places_.mark + "-again" : places_.mark;
  }
  std::string MarksFolder() const { return places_.mark.substr(0, places_.mark.rfind('/')); }

  io::Runtime& runtime_;
  const Config& config_;
  const Places places_;
};

}  // namespace metastore::server
