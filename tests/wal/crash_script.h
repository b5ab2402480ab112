// What the crash tests of the log share: a script of appends that makes a small log append, split,
// switch segments, truncate, install, purge, recycle, rewrite and reopen; what the log must hold
// after any part of it; and the judgement of a log that a crash has left.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/wal/wal_fixture.h"
#include "wal/scan.h"

namespace metastore::wal {

// When the step after it is appended.
enum class Next : uint8_t {
  kCompleted,  // all before it have completed
  kSubmitted,  // it was written, or something else was
  kAtOnce,     // in the same turn: they gather in one frame
};

struct Step {
  GroupId group;
  std::vector<OwnedRecord> records;
  bool reopen = false;
  Next next = Next::kCompleted;
};

// How far a run has come.
struct Progress {
  size_t begun = 0;         // steps
  size_t acknowledged = 0;  // steps: all before are, too
  uint64_t boots = 0;       // greatest boot count seen
};

class Script final {
 public:
  explicit Script(uint64_t seed, size_t steps_count = 170);
  explicit Script(std::vector<Step> steps);

  const std::vector<Step>& steps() const { return steps_; }
  // Whether `got` is what a prefix of the records gives: at least the acknowledged steps', at most
  // those begun.
  bool Admits(const LogModel& got, const Progress& progress) const;
  // What was got, and what was expected.
  std::string Explain(const LogModel& got, const Progress& progress) const;

 private:
  std::vector<Step> steps_;
  std::vector<LogModel> states_;  // after each number of steps
};

// Equal but for groups without anything.
bool SameContents(const LogModel& a, const LogModel& b);

// Options under which the script has its variety.
void SetScriptOptions(WalMachine& machine);

enum class RunEnd : uint8_t {
  kEnded,
  kDied,      // the machine did; another process runs, without a log
  kPoisoned,  // a write failed; the log is open still
  kRefused,   // the log could not be opened: refused()
};

// Runs `script` on a machine without an open log, keeping `progress` true at every event.
class ScriptRun final {
 public:
  ScriptRun(WalMachine& machine, const Script& script) : machine_(machine), script_(script) {}

  // `observe` (may be null) is called after each event of the world, with progress() up to date.
  RunEnd Run(std::function<void()> observe = nullptr);
  const Progress& progress() const { return progress_; }
  const Status& refused() const { return refused_; }
  // What a run to the end has gone through.
  struct Covered {
    uint64_t sealed = 0;     // segments
    uint64_t recycled = 0;   // segments
    uint64_t rewritten = 0;  // records
  };
  const Covered& covered() const { return covered_; }

 private:
  RunEnd RunSteps();
  RunEnd Reopen();
  RunEnd Append(const Step& step);
  void Cover();
  void Note();
  bool WaitFor(const std::function<bool()>& done);
  void WaitABit();

  WalMachine& machine_;
  const Script& script_;
  Progress progress_;
  Covered covered_;
  Status refused_;
  std::vector<std::pair<size_t, std::unique_ptr<TestOp>>> ops_;  // with their step's number
};

// What `walinspect verify` finds: every byte looked at, footers not trusted.
Finding Verify(WalMachine& machine);

// Opens a log that a crash has left. Empty, or what is wrong with it; the log stays open if it
// could be opened.
std::string CheckRecovered(WalMachine& machine, const Script& script, const Progress& progress);

// An open log is closed, and is clean after a power loss. Empty, or what is wrong.
std::string CheckClosesClean(WalMachine& machine);
// An open log goes on: appends through the start of another segment, is acknowledged, loses power
// and holds all of it; closed, it is `clean`. Empty, or what is wrong.
std::string CheckGoesOn(WalMachine& machine, bool clean = true);

}  // namespace metastore::wal
