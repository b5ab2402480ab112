#include "tests/wal/crash_matrix.h"

#include <algorithm>

#include "io/base/hash.h"

namespace metastore::wal {
namespace {

constexpr size_t kSector = sim::kSectorBytes;

bool ChangesDisk(sim::SimDiskOp op) {
  return op != sim::SimDiskOp::kRead && op != sim::SimDiskOp::kList;
}

// Tells when a disk, or what is known of it, has changed: at the submission and at the completion
// of every operation but reads, and at every acknowledgement.
class ChangeWatch final {
 public:
  explicit ChangeWatch(WalMachine& machine) : machine_(machine) {
    machine_.disk().OnIo([this](const sim::SimIo& io) {
      submitted_ += ChangesDisk(io.op) ? 1 : 0;
      return sim::SimIoVerdict();
    });
  }
  ~ChangeWatch() { machine_.disk().OnIo(nullptr); }
  ChangeWatch(const ChangeWatch&) = delete;
  ChangeWatch& operator=(const ChangeWatch&) = delete;

  bool Changed(const Progress& progress) {
    const sim::SimDiskCounters& done = machine_.disk().counters();
    const State now{submitted_,
                    done.writes + done.flushes() + done.directory_syncs + done.name_changes,
                    progress.acknowledged, progress.boots};
    const bool changed = !(now == last_);
    last_ = now;
    count_ += changed ? 1 : 0;
    return changed;
  }
  uint64_t count() const { return count_; }

 private:
  struct State {
    uint64_t submitted = 0;
    uint64_t completed = 0;
    uint64_t acknowledged = 0;
    uint64_t boots = 0;
    bool operator==(const State&) const = default;
  };

  WalMachine& machine_;
  State last_;
  uint64_t submitted_ = 0;
  uint64_t count_ = 0;
};

FixtureOptions Fixture(const MatrixOptions& options) {
  return {.seed = options.seed, .depth = options.depth};
}

class Crashes final {
 public:
  // Judges what follows `from_step`.
  Crashes(const MatrixOptions& options, MatrixReport& report, Script script, size_t from_step)
      : options_(options),
        report_(report),
        script_(std::move(script)),
        from_step_(from_step),
        machine_(Fixture(options)),
        victim_(Fixture(options)),
        again_(Fixture(options)) {
    for (WalMachine* machine : {&machine_, &victim_, &again_}) SetScriptOptions(*machine);
  }

  void Run() {
    ChangeWatch watch(machine_);
    ScriptRun run(machine_, script_);
    const RunEnd end = run.Run([&] {
      if (report_.failed() || !watch.Changed(run.progress())) return;
      if (watch.count() % options_.change_every != 0) return;
      if (run.progress().begun >= from_step_) Judge(watch.count(), run.progress());
    });
    if (report_.failed()) return;
    report_.Begin("the run itself");
    report_.Expect(end == RunEnd::kEnded ? "" : "did not end");
  }

 private:
  void Judge(uint64_t change, const Progress& progress) {
    const std::string at = Concat("change ", change, ", depth ", options_.depth);
    const bool goes_on = change % options_.goes_on_every == 0;
    for (uint64_t image = 0; image < options_.images; ++image) {
      report_.Begin(Concat("power loss at ", at));
      const uint64_t seed = change + image * 1'000'003;
      if (!Recover(machine_.disk().CloneAfterPowerLoss(seed), progress, goes_on)) return;
    }
    report_.Begin(Concat("kill at ", at));
    const bool kill_goes_on = change % options_.goes_on_every == options_.goes_on_every / 2;
    if (!Recover(machine_.disk().Clone(), progress, kill_goes_on)) return;
    if (change % options_.again_every != 0) return;
    CrashAgain(machine_.disk().CloneAfterPowerLoss(change), progress, at);
  }

  bool Recover(sim::SimImage image, const Progress& progress, bool goes_on) {
    victim_.disk().Restore(std::move(image));
    bool good = report_.Expect(CheckRecovered(victim_, script_, progress));
    if (good) good = report_.Expect(goes_on ? CheckGoesOn(victim_) : CheckClosesClean(victim_));
    victim_.Reboot();
    return good;
  }

  // Recovers `image`, and crashes at every change of that.
  void CrashAgain(sim::SimImage image, const Progress& before, const std::string& at) {
    again_.disk().Restore(std::move(image));
    ChangeWatch watch(again_);
    Progress progress = before;
    again_.OnEvent([&] {
      if (report_.failed() || !watch.Changed(progress)) return;
      report_.Begin(
          Concat("power loss at ", at, ", and at change ", watch.count(), " of recovery"));
      Recover(again_.disk().CloneAfterPowerLoss(watch.count()), progress, false);
    });
    Status refused;
    const bool opened = again_.TryOpen(&refused);
    again_.OnEvent(nullptr);
    if (report_.failed()) {
      again_.Reboot();
      return;
    }
    report_.Expect(opened ? "" : Concat("recovery failed: ", StdView(refused.message())));
    if (!opened) return;
    // What an open has shown stays.
    progress.boots = again_.log().boot_count();
    report_.Begin(Concat("power loss at ", at, ", and after recovery"));
    Recover(again_.disk().CloneAfterPowerLoss(1), progress, true);
    again_.Reboot();
  }

  const MatrixOptions& options_;
  MatrixReport& report_;
  Script script_;
  size_t from_step_;
  WalMachine machine_;
  WalMachine victim_;
  WalMachine again_;
};

using Contents = std::map<std::string, std::string>;

Contents FilesOf(sim::SimDisk& disk) {
  Contents contents;
  for (const std::string& path : disk.ListFiles()) {
    contents[path] = disk.ReadCached(path, 0, disk.FileSize(path));
  }
  return contents;
}

struct ChangedSector {
  std::string path;
  uint64_t offset = 0;
  std::string bytes;
};

// Of files that are in both, with equal sizes.
std::vector<ChangedSector> Difference(const Contents& before, const Contents& after) {
  std::vector<ChangedSector> sectors;
  for (const auto& [path, bytes] : after) {
    const auto old = before.find(path);
    if (old == before.end() || old->second.size() != bytes.size() || old->second == bytes) continue;
    for (size_t offset = 0; offset < bytes.size(); offset += kSector) {
      const std::string_view now = std::string_view(bytes).substr(offset, kSector);
      if (now != std::string_view(old->second).substr(offset, kSector)) {
        sectors.push_back({path, offset, std::string(now)});
      }
    }
  }
  return sectors;
}

class Subsets final {
 public:
  Subsets(const MatrixOptions& options, MatrixReport& report)
      : options_(options),
        report_(report),
        script_(options.seed, 90),
        machine_(Fixture(options)),
        victim_(Fixture(options)),
        prng_(options.seed) {
    SetScriptOptions(machine_);
    SetScriptOptions(victim_);
  }

  void Run() {
    ChangeWatch watch(machine_);
    ScriptRun run(machine_, script_);
    run.Run([&] {
      if (report_.failed() || !watch.Changed(run.progress())) return;
      Contents now = FilesOf(machine_.disk());
      const std::vector<ChangedSector> sectors = Difference(files_, now);
      if (!sectors.empty())
        Judge(sectors, Progress{run.progress().begun, last_.acknowledged, last_.boots},
              watch.count());
      files_ = std::move(now);
      image_ = machine_.disk().Clone();
      last_ = run.progress();
    });
  }

 private:
  void Judge(const std::vector<ChangedSector>& sectors, const Progress& progress, uint64_t change) {
    const bool every = sectors.size() < 20 && (size_t{1} << sectors.size()) <= options_.subsets_max;
    const size_t count = every ? size_t{1} << sectors.size() : options_.subsets_max / 4;
    for (size_t i = 0; i < count && !report_.failed(); ++i) {
      report_.Begin(Concat("subset ", i, " of ", sectors.size(), " sectors at change ", change,
                           ", depth ", options_.depth));
      victim_.disk().Restore(image_.Clone());
      const uint64_t density = prng_.Below(9);
      for (size_t k = 0; k < sectors.size(); ++k) {
        if (every ? (i >> k & 1) == 0 : !prng_.Chance(density, 8)) continue;
        victim_.disk().WriteRaw(sectors[k].path, sectors[k].offset, sectors[k].bytes);
      }
      victim_.Reboot();  // takes what else was not durable
      report_.Expect(CheckRecovered(victim_, script_, progress));
      victim_.Reboot();
    }
  }

  const MatrixOptions& options_;
  MatrixReport& report_;
  Script script_;
  WalMachine machine_;
  WalMachine victim_;
  Prng prng_;
  Contents files_;
  sim::SimImage image_;
  Progress last_;
};

// Gives `fault` to the `number`-th durable write of an open log, counted from 1.
void FaultAt(WalMachine& machine, uint64_t number, sim::SimFault fault, uint64_t& count) {
  machine.disk().OnIo([&machine, number, fault, &count](const sim::SimIo& io) {
    sim::SimIoVerdict verdict;
    if (machine.open() && io.op == sim::SimDiskOp::kDurableWrite && ++count == number) {
      verdict.fault = fault;
    }
    return verdict;
  });
}

uint64_t CountWrites(const MatrixOptions& options, const Script& script) {
  uint64_t count = 0;  // outlives the hook that has it
  WalMachine machine(Fixture(options));
  SetScriptOptions(machine);
  FaultAt(machine, 0, sim::SimFault::kNone, count);
  CHECK(ScriptRun(machine, script).Run() == RunEnd::kEnded);
  return count;
}

// What is shown after a kill is shown again after a power loss.
std::string CheckShownTwice(WalMachine& machine, const Script& script, Progress progress) {
  machine.Reboot(false);
  std::string wrong = CheckRecovered(machine, script, progress);
  if (!wrong.empty()) return wrong;
  const LogModel shown = *machine.Contents();
  progress.boots = machine.log().boot_count();
  machine.Reboot();
  wrong = CheckRecovered(machine, script, progress);
  if (!wrong.empty()) return wrong;
  return SameContents(*machine.Contents(), shown) ? "" : "what an open has shown is gone";
}

// What the device has lied about is told, or did not matter.
std::string CheckToldOrWhole(WalMachine& machine, const Script& script, RunEnd end,
                             const ScriptRun& run) {
  if (end == RunEnd::kRefused) {
    return absl::IsDataLoss(run.refused()) ? "" : std::string(run.refused().message());
  }
  if (end != RunEnd::kEnded) return "the run did not end";
  if (!machine.Close().ok()) return "the log could not be closed";
  machine.Reboot();
  const Status opened = machine.Open();
  if (!opened.ok()) return absl::IsDataLoss(opened) ? "" : std::string(opened.message());
  const StatusOr<LogModel> contents = machine.Contents();
  if (!contents.ok()) return absl::IsDataLoss(contents.status()) ? "" : "an entry cannot be read";
  return script.Admits(*contents, run.progress()) ? "" : "silently lost";
}

// Loses every write of zeros while a log is opened.
std::string CheckWithoutZeros(WalMachine& machine, const Script& script, Progress progress) {
  machine.disk().OnIo([&machine](const sim::SimIo& io) {
    sim::SimIoVerdict verdict;
    if (!machine.open() && io.op == sim::SimDiskOp::kWrite && io.offset > 0) {
      verdict.fault = sim::SimFault::kLostWrite;
    }
    return verdict;
  });
  std::string wrong = CheckRecovered(machine, script, progress);
  machine.disk().OnIo(nullptr);
  if (!wrong.empty()) return wrong;
  const LogModel shown = *machine.Contents();
  progress.boots = machine.log().boot_count();
  machine.Reboot();
  wrong = CheckRecovered(machine, script, progress);
  if (!wrong.empty()) return wrong;
  if (!SameContents(*machine.Contents(), shown)) return "a frame that was cut is back";
  return CheckGoesOn(machine, false);
}

}  // namespace

void CrashAtEveryChange(const MatrixOptions& options, MatrixReport& report) {
  Crashes(options, report, Script(options.seed), 0).Run();
}

namespace {

// Appends that fill a segment by four, a purge of all of them, and one append more.
std::vector<Step> PurgeAfterWide(uint64_t appends) {
  std::vector<Step> steps;
  const std::string wide(30'000, 'x');
  for (uint64_t i = 1; i <= appends + 2; ++i) {
    steps.push_back(
        {.group = kGroup, .records = {Entry(2 * i - 1, 1, wide), Entry(2 * i, 1, wide)}});
  }
  steps[appends].records.push_back({RecordKind::kPurge, Term(1), LogIndex(2 * appends), ""});
  return steps;
}

}  // namespace

void CrashInPurge(const MatrixOptions& options, MatrixReport& report) {
  std::vector<Step> steps;
  constexpr uint64_t kEntries = 60;  // into a third segment
  for (uint64_t i = 1; i <= kEntries; ++i) {
    steps.push_back({.group = kGroup, .records = {Entry(i, 1, std::string(9000, 'x'))}});
  }
  steps.back().next = Next::kSubmitted;
  // Gathers meanwhile. Its frame is wide enough to be torn behind its header.
  steps.push_back({.group = kGroup,
                   .records = {{RecordKind::kPurge, Term(1), LogIndex(kEntries), ""},
                               Entry(kEntries + 1, 1, std::string(9000, 'y'))}});
  MatrixOptions dense = options;
  dense.change_every = 1;
  dense.images = std::max<uint64_t>(options.images, 20);
  Crashes(dense, report, Script(std::move(steps)), kEntries).Run();
  // Wherever in its segment the purge lies: at its end, the next frame begins one in a file that
  // may just have been freed.
  dense.images = options.images;
  for (uint64_t appends = 9; appends < 13 && !report.failed(); ++appends) {
    Crashes(dense, report, Script(PurgeAfterWide(appends)), appends + 1).Run();
  }
}

void CrashInRecycled(const MatrixOptions& options, MatrixReport& report) {
  constexpr uint64_t kEntries = 130;  // each of three blocks: seven segments, one epoch
  constexpr size_t kFrom = 90;
  std::vector<Step> steps;
  for (uint64_t i = 1; i <= kEntries; ++i) {
    steps.push_back({.group = kGroup, .records = {Entry(i, 1, std::string(9000, 'x'))}});
    if (i % 8 == 0) {
      steps.back().records.push_back({RecordKind::kPurge, Term(1), LogIndex(i - 2), ""});
    }
  }
  Crashes(options, report, Script(std::move(steps)), kFrom).Run();
}

void CrashWithSubsets(const MatrixOptions& options, MatrixReport& report) {
  Subsets(options, report).Run();
}

void FailEachWrite(const MatrixOptions& options, MatrixReport& report) {
  const Script script(options.seed);
  const uint64_t writes = CountWrites(options, script);
  for (uint64_t number = 1; number <= writes && !report.failed(); number += options.device_every) {
    const bool half = number % 2 == 0;
    report.Begin(Concat(half ? "write error" : "flush error", " at durable write ", number,
                        ", depth ", options.depth));
    uint64_t count = 0;  // outlives the hook that has it
    WalMachine machine(Fixture(options));
    SetScriptOptions(machine);
    FaultAt(machine, number, half ? sim::SimFault::kWriteError : sim::SimFault::kSyncError, count);
    ScriptRun run(machine, script);
    const RunEnd end = run.Run();
    machine.disk().OnIo(nullptr);
    if (end == RunEnd::kDied || end == RunEnd::kRefused) {
      report.Expect("the run ended otherwise than by the failed write");
      return;
    }
    report.Expect(CheckShownTwice(machine, script, run.progress()));
  }
}

void LoseEachWrite(const MatrixOptions& options, MatrixReport& report) {
  const Script script(options.seed);
  const uint64_t writes = CountWrites(options, script);
  // Of the last ones nothing later speaks.
  for (uint64_t number = 1; number + 3 <= writes && !report.failed();
       number += options.device_every) {
    const bool lost = number % 2 == 0;
    report.Begin(Concat(lost ? "lost" : "misdirected", " durable write ", number, ", depth ",
                        options.depth));
    uint64_t count = 0;  // outlives the hook that has it
    WalMachine machine(Fixture(options));
    SetScriptOptions(machine);
    FaultAt(machine, number, lost ? sim::SimFault::kLostWrite : sim::SimFault::kMisdirectedWrite,
            count);
    ScriptRun run(machine, script);
    const RunEnd end = run.Run();
    report.Expect(CheckToldOrWhole(machine, script, end, run));
  }
}

void LoseZeros(const MatrixOptions& options, MatrixReport& report) {
  const Script script(options.seed);
  WalMachine machine(Fixture(options));
  WalMachine victim(Fixture(options));
  SetScriptOptions(machine);
  SetScriptOptions(victim);
  ChangeWatch watch(machine);
  ScriptRun run(machine, script);
  run.Run([&] {
    if (report.failed() || !watch.Changed(run.progress())) return;
    if (watch.count() % (2 * options.device_every - 1) != 0) return;
    report.Begin(Concat("power loss at change ", watch.count(), ", depth ", options.depth,
                        ", and the zeros of the cut are lost"));
    victim.disk().Restore(machine.disk().CloneAfterPowerLoss(watch.count()));
    report.Expect(CheckWithoutZeros(victim, script, run.progress()));
    victim.Reboot();
  });
}

}  // namespace metastore::wal
