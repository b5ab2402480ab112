#include "tests/wal/crash_script.h"

#include <algorithm>

#include "wal/replayer.h"

namespace metastore::wal {
namespace {

constexpr GroupId kIdleGroup{7};
constexpr GroupId kLaterGroup{9};

class StepMaker final {
 public:
  explicit StepMaker(uint64_t seed) : prng_(seed) {}

  Step Make(size_t number) {
    Step step{.group = GroupId(1 + prng_.Below(3)), .records = {}, .reopen = false};
    const uint64_t next = prng_.Below(4);
    step.next = next == 0 ? Next::kSubmitted : next == 1 ? Next::kAtOnce : Next::kCompleted;
    GroupModel& group = model_[step.group];
    const std::string bytes(prng_.Between(10, prng_.Chance(1, 2) ? 900 : 12'000),
                            static_cast<char>('a' + number % 26));
    Fill(step.records, group, Concat(number), bytes);
    for (const OwnedRecord& record : step.records) group.Apply(record);
    return step;
  }

 private:
  void Fill(std::vector<OwnedRecord>& records, const GroupModel& group, const std::string& name,
            const std::string& bytes) {
    const uint64_t choice = prng_.Below(24);
    const uint64_t last = group.last().value();
    if (choice < 11) {
      records.push_back(HardState(Concat("h", name)));
      records.push_back(Entry(last + 1, term_, bytes));
      if (choice < 4) records.push_back(Entry(last + 2, term_, Concat("second ", name)));
    } else if (choice < 13 && last > group.purged.index.value() + 2) {
      records.push_back(Entry(last - 1, ++term_, bytes));
    } else if (choice == 13 && last > group.purged.index.value()) {
      records.push_back({RecordKind::kTruncate, Term(), LogIndex(last), ""});
    } else if (choice == 14) {
      records.push_back(
          {RecordKind::kSnapshotMeta, Term(term_), LogIndex(last + 5), Concat("meta ", name)});
      records.push_back(HardState(Concat("installed ", name)));
    } else if (choice == 15) {
      records.push_back(HardState(Concat("wide ", name)));  // more than a frame
      for (uint64_t i = 1; i <= 3; ++i) {
        records.push_back(Entry(last + i, term_, std::string(30'000, bytes[0])));
      }
    } else if (choice >= 16 && choice < 23 && !group.entries.empty()) {
      const auto& [index, entry] = *std::prev(group.entries.end());
      records.push_back({RecordKind::kPurge, entry.first, index, ""});
    } else {
      records.push_back(HardState(Concat("only ", name)));
    }
  }

  Prng prng_;
  LogModel model_;
  uint64_t term_ = 1;
};

std::string Describe(const LogModel& model) {
  std::string text;
  for (const auto& [id, group] : model) {
    text += Concat("group ", id.value(), ": ", group.hard_state, ", ", group.snapshot_meta,
                   ", purged ", group.purged.term.value(), "/", group.purged.index.value(),
                   ", last ", group.last().value(), " of ", group.entries.size(), "; ");
    for (const auto& [index, entry] : group.entries) {
      text += Concat(index.value(), ":", entry.first.value(), ":", entry.second.size(),
                     entry.second.substr(0, 1), " ");
    }
  }
  return text;
}

}  // namespace

bool SameContents(const LogModel& a, const LogModel& b) {
  static const GroupModel kNothing;
  const auto covers = [](const LogModel& some, const LogModel& other) {
    return std::ranges::all_of(some, [&](const auto& item) {
      const auto found = other.find(item.first);
      return item.second == (found == other.end() ? kNothing : found->second);
    });
  };
  return covers(a, b) && covers(b, a);
}

namespace {

std::vector<Step> RandomSteps(uint64_t seed, size_t count) {
  StepMaker maker(seed);
  std::vector<Step> steps;
  steps.push_back({.group = kIdleGroup,
                   .records = {HardState("idle vote"), Entry(1, 1, std::string(600, 'i')),
                               Entry(2, 1, "idle two")}});
  for (size_t i = 1; i < count; ++i) {
    const bool reopen = i == count / 3 || i == count / 3 + 1 || i == count * 3 / 4;
    steps.push_back(reopen ? Step{.group = GroupId(), .records = {}, .reopen = true}
                           : maker.Make(i));
  }
  return steps;
}

}  // namespace

Script::Script(uint64_t seed, size_t steps_count) : Script(RandomSteps(seed, steps_count)) {}

Script::Script(std::vector<Step> steps) : steps_(std::move(steps)) {
  states_.resize(1);
  for (const Step& step : steps_) {
    LogModel next = states_.back();
    for (const OwnedRecord& record : step.records) next[step.group].Apply(record);
    states_.push_back(std::move(next));
  }
}

bool Script::Admits(const LogModel& got, const Progress& progress) const {
  for (size_t n = progress.acknowledged; n <= progress.begun; ++n) {
    if (SameContents(states_[n], got)) return true;
    if (n == progress.begun || steps_[n].records.size() < 2) continue;
    LogModel partial = states_[n];
    for (const OwnedRecord& record : steps_[n].records) {
      partial[steps_[n].group].Apply(record);
      if (SameContents(partial, got)) return true;
    }
  }
  return false;
}

std::string Script::Explain(const LogModel& got, const Progress& progress) const {
  return Concat("acknowledged ", progress.acknowledged, ", begun ", progress.begun, "\ngot ",
                Describe(got), "\nexpected ", Describe(states_[progress.acknowledged]), "\nor ",
                Describe(states_[progress.begun]));
}

void SetScriptOptions(WalMachine& machine) { machine.options().rewrite_after_segments = 2; }

RunEnd ScriptRun::Run(std::function<void()> observe) {
  machine_.OnEvent([this, &observe] {
    Note();
    if (observe != nullptr) observe();
  });
  const RunEnd end = RunSteps();
  machine_.OnEvent(nullptr);
  if (machine_.machine().dead()) machine_.Bury();
  return end;
}

RunEnd ScriptRun::RunSteps() {
  if (!machine_.TryOpen(&refused_)) return refused_.ok() ? RunEnd::kDied : RunEnd::kRefused;
  Note();
  for (size_t i = 0; i < script_.steps().size(); ++i) {
    const Step& step = script_.steps()[i];
    const RunEnd end = step.reopen ? Reopen() : Append(step);
    if (end != RunEnd::kEnded) return end;
  }
  WaitFor([&] { return ops_.empty(); });
  if (machine_.machine().dead()) return RunEnd::kDied;
  Cover();
  return machine_.log().poisoned().ok() ? RunEnd::kEnded : RunEnd::kPoisoned;
}

RunEnd ScriptRun::Reopen() {
  WaitFor([&] { return ops_.empty(); });
  if (machine_.machine().dead()) return RunEnd::kDied;
  if (!machine_.log().poisoned().ok()) return RunEnd::kPoisoned;
  Cover();
  if (!machine_.TryClose()) return RunEnd::kDied;
  if (!machine_.TryOpen(&refused_)) return refused_.ok() ? RunEnd::kDied : RunEnd::kRefused;
  ++progress_.begun;
  progress_.acknowledged = progress_.begun;
  Note();
  return RunEnd::kEnded;
}

RunEnd ScriptRun::Append(const Step& step) {
  ops_.emplace_back(progress_.begun, std::make_unique<TestOp>());
  TestOp& op = *ops_.back().second;
  const size_t number = progress_.begun++;
  Status submitted;
  do {
    WaitFor([&] { return machine_.log().stats().segments_prepared > 0; });
    if (machine_.machine().dead()) return RunEnd::kDied;
    submitted = machine_.Submit(step.group, step.records, op);
    if (!submitted.ok()) WaitABit();
  } while (absl::IsResourceExhausted(submitted) && !machine_.machine().dead());
  if (machine_.machine().dead()) return RunEnd::kDied;
  if (!submitted.ok()) {
    ops_.pop_back();
    --progress_.begun;
    return RunEnd::kPoisoned;
  }
  if (step.next == Next::kSubmitted) {
    const uint64_t before = machine_.disk().io_count();
    WaitFor([&] { return machine_.disk().io_count() > before || progress_.acknowledged > number; });
  } else if (step.next == Next::kCompleted) {
    WaitFor([&] { return ops_.empty(); });
  }
  return machine_.machine().dead() ? RunEnd::kDied : RunEnd::kEnded;
}

void ScriptRun::Cover() {
  const LogStats stats = machine_.log().stats();
  covered_.sealed += stats.segments_sealed;
  covered_.recycled += stats.segments_recycled;
  covered_.rewritten += stats.rewritten_records;
}

// Takes the completed ops. A later step's completion covers those before it.
void ScriptRun::Note() {
  if (machine_.open()) progress_.boots = std::max(progress_.boots, machine_.log().boot_count());
  std::erase_if(ops_, [&](const auto& item) {
    if (!item.second->done || machine_.machine().dead()) return false;
    if (item.second->status.ok()) {
      progress_.acknowledged = std::max(progress_.acknowledged, item.first + 1);
    }
    return true;
  });
}

bool ScriptRun::WaitFor(const std::function<bool()>& done) {
  return machine_.WaitFor([&] { return machine_.machine().dead() || done(); });
}

void ScriptRun::WaitABit() {
  const MonoTime until = machine_.world().Now() + Milliseconds(1);
  WaitFor([&] { return machine_.world().Now() >= until; });
}

namespace {

io::Task<StatusOr<Finding>> VerifyOnce(io::Runtime& runtime, const LogOptions& options) {
  LogScan scan(runtime, {.directory = options.directory,
                         .identity = LogIdentity{options.cluster, options.member}});
  Status opened = co_await scan.OpenFiles();
  if (!opened.ok()) co_return opened;
  Status headers = co_await scan.ReadHeaders();
  if (!headers.ok()) co_return headers;
  SegmentTable segments;
  GroupTable groups;
  Replayer replayer(segments, groups, limits::kFrameBytesMax);
  Status walked = co_await scan.Walk(replayer);
  if (!walked.ok()) co_return walked;
  Finding finding = scan.finding();
  const Status complete = groups.CheckComplete();
  const bool damaged = finding.verdict == Verdict::kCorrupt || finding.verdict == Verdict::kForeign;
  if (!damaged && !complete.ok()) {
    finding = {.verdict = Verdict::kCorrupt, .detail = std::string(complete.message())};
  }
  co_return finding;
}

}  // namespace

Finding Verify(WalMachine& machine) {
  StatusOr<Finding> finding =
      machine.world().Await(machine.runtime(), VerifyOnce(machine.runtime(), machine.options()));
  // A directory that was never made holds no log.
  if (absl::IsNotFound(finding.status())) return {};
  CHECK_EQ(std::string(finding.status().message()), "");
  return *finding;
}

std::string CheckRecovered(WalMachine& machine, const Script& script, const Progress& progress) {
  const Finding found = Verify(machine);
  if (found.verdict != Verdict::kClean && found.verdict != Verdict::kTornTail) {
    return Concat("verify: ", VerdictText(found.verdict), " ", found.file, " ", found.offset, " ",
                  found.detail);
  }
  const Status opened = machine.Open();
  if (!opened.ok()) return Concat("open: ", StdView(opened.message()));
  if (machine.log().boot_count() <= progress.boots) {
    return Concat("boot ", machine.log().boot_count(), " after ", progress.boots);
  }
  const StatusOr<LogModel> contents = machine.Contents();
  if (!contents.ok()) return Concat("read: ", StdView(contents.status().message()));
  if (script.Admits(*contents, progress)) return "";
  return Concat("contents: ", script.Explain(*contents, progress));
}

std::string CheckClosesClean(WalMachine& machine) {
  if (!machine.Close().ok()) return "the log could not be closed";
  machine.Reboot();
  const Finding found = Verify(machine);
  if (found.verdict == Verdict::kClean) return "";
  return Concat("closed, and ", VerdictText(found.verdict), ": ", found.detail);
}

std::string CheckGoesOn(WalMachine& machine, bool clean) {
  LogModel expected = *machine.Contents();
  const uint64_t goal = machine.log().stats().segments_sealed + 1;
  std::vector<std::unique_ptr<TestOp>> ops;
  for (int i = 0; i < 40 && machine.log().stats().segments_sealed < goal; ++i) {
    if (!machine.WaitFor([&] { return machine.log().accepting(); })) return "accepts nothing";
    const OwnedRecord entry = Entry(machine.log().LastIndex(kLaterGroup).value() + 1, 99,
                                    std::string(i == 0 ? 100 : 20'000, 'z'));
    expected[kLaterGroup].Apply(entry);
    ops.push_back(std::make_unique<TestOp>());
    const Status submitted = machine.Submit(kLaterGroup, {entry}, *ops.back());
    if (!submitted.ok()) return Concat("append: ", StdView(submitted.message()));
    if (i % 3 != 1) machine.WaitFor([&] { return ops.back()->done; });
  }
  machine.WaitFor([&] { return ops.back()->done; });
  for (const std::unique_ptr<TestOp>& op : ops) {
    if (!op->done || !op->status.ok()) return "an append afterwards failed";
  }
  for (const bool closed : {false, true}) {
    const std::string wrong = closed && clean ? CheckClosesClean(machine) : "";
    if (!wrong.empty()) return wrong;
    if (!closed || !clean) machine.Reboot();
    const Status opened = machine.Open();
    if (!opened.ok()) return Concat("open afterwards: ", StdView(opened.message()));
    const StatusOr<LogModel> after = machine.Contents();
    if (!after.ok()) return Concat("read afterwards: ", StdView(after.status().message()));
    if (!SameContents(*after, expected)) {
      return Concat("afterwards: ", Describe(*after), "\nexpected ", Describe(expected));
    }
  }
  return "";
}

}  // namespace metastore::wal
