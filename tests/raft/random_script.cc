// Recorded runs as text, in processes of their own, and shrunk.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/raft/interaction_text.h"
#include "tests/raft/random_run.h"

namespace metastore::raft {
namespace {

struct StepName {
  StepKind kind;
  std::string_view name;
  size_t numbers;
};

constexpr auto kStepNames = std::to_array<StepName>({
    {StepKind::kDeliver, "deliver", 1},
    {StepKind::kDrop, "drop", 1},
    {StepKind::kRepeat, "repeat", 1},
    {StepKind::kTrim, "trim", 0},
    {StepKind::kPartition, "partition", 1},
    {StepKind::kFlush, "flush", 1},
    {StepKind::kApply, "apply", 1},
    {StepKind::kFetch, "fetch", 1},
    {StepKind::kTick, "tick", 1},
    {StepKind::kTime, "time", 1},
    {StepKind::kPause, "pause", 2},
    {StepKind::kPropose, "propose", 2},
    {StepKind::kRead, "read", 2},
    {StepKind::kCrash, "crash", 2},
    {StepKind::kRestart, "restart", 1},
    {StepKind::kSnapshot, "snapshot", 1},
    {StepKind::kChange, "change", 1},
    {StepKind::kTransfer, "transfer", 2},
    {StepKind::kReportUnreachable, "report-unreachable", 2},
    {StepKind::kReportSnapshotDone, "report-snapshot-done", 2},
    {StepKind::kReportSnapshotFailed, "report-snapshot-failed", 2},
    {StepKind::kStepDown, "step-down", 1},
    {StepKind::kForgetLeader, "forget-leader", 1},
    {StepKind::kCampaign, "campaign", 1},
    {StepKind::kSettle, "settle", 1},
    {StepKind::kRecover, "recover", 0},
});

constexpr std::array<std::string_view, 3> kElections = {"safe", "plain", "leases"};
constexpr std::array<std::string_view, 3> kTransitions = {"auto", "implicit", "explicit"};

std::string StepText(const RandomStep& step) {
  const auto name = std::find_if(kStepNames.begin(), kStepNames.end(),
                                 [&](const StepName& n) { return n.kind == step.kind; });
  std::string out(name->name);
  if (name->numbers > 0) out += Concat(" ", step.a);
  if (name->numbers > 1) out += Concat(" ", step.b);
  if (step.kind != StepKind::kChange) return out;
  if (!step.changes.empty()) out += " " + ShowSteps(step.changes);
  return out + Concat(" transition=", kTransitions[static_cast<size_t>(step.transition)]);
}

Status ParseChange(const Directive& directive, RandomStep& step) {
  std::vector<std::string> words;
  for (size_t i = 1; i < directive.args.size(); ++i) {
    if (directive.args[i].values.empty()) words.push_back(directive.args[i].key);
  }
  StatusOr<std::vector<ConfChangeStep>> changes = ParseSteps(words);
  if (!changes.ok()) return changes.status();
  step.changes = *std::move(changes);
  const std::string name = directive.Value("transition", "auto");
  const auto at = std::find(kTransitions.begin(), kTransitions.end(), name);
  if (at == kTransitions.end()) return InvalidArgumentError("unknown transition ", name);
  step.transition = static_cast<ConfTransition>(at - kTransitions.begin());
  return OkStatus();
}

StatusOr<RandomStep> ParseStep(const std::string& line) {
  const StatusOr<Directive> directive = ParseDirective(line);
  if (!directive.ok()) return directive.status();
  const auto name = std::find_if(kStepNames.begin(), kStepNames.end(),
                                 [&](const StepName& n) { return n.name == directive->command; });
  const std::vector<uint64_t> numbers = directive->Numbers();
  if (name == kStepNames.end() || numbers.size() != name->numbers) {
    return InvalidArgumentError("no step: ", line);
  }
  RandomStep step{.kind = name->kind};
  if (!numbers.empty()) step.a = numbers[0];
  if (numbers.size() > 1) step.b = numbers[1];
  if (step.kind == StepKind::kChange) MS_RETURN_IF_ERROR(ParseChange(*directive, step));
  return step;
}

constexpr unsigned kSecondsMax = 60;

// Of the child process: where its record goes when a CHECK ends it.
struct Child {
  const RandomRun* run = nullptr;
  std::string path;
};
Child child;

[[noreturn]] void Leave(const std::string& broken) {
  RecordedRun record = child.run->record();
  record.broken = broken;
  std::ofstream(child.path) << ScriptText(record);
  std::_Exit(broken.empty() ? EXIT_SUCCESS : EXIT_FAILURE);
}

// The process ends right here, so what a signal handler may not do otherwise is harmless.
void OnSignal(int signal) { Leave(signal == SIGALRM ? "it does not end" : "a CHECK failed"); }

template <typename Go>
std::optional<RecordedRun> RunInChild(RunOptions options, const Go& go) {
  std::fflush(nullptr);
  const std::string path =
      (std::filesystem::temp_directory_path() / Concat("raft_run_", getpid())).string();
  const pid_t pid = fork();
  if (pid == 0) {
    // What a CHECK prints of the many runs of a shrinking is of no use.
    if (std::freopen("/dev/null", "w", stderr) == nullptr) std::_Exit(EXIT_FAILURE);
    std::signal(SIGABRT, OnSignal);
    std::signal(SIGALRM, OnSignal);
    alarm(kSecondsMax);
    RandomRun run(options);
    child = {&run, path};
    go(run);
    Leave(run.record().broken);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return std::nullopt;
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  std::filesystem::remove(path);
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) return std::nullopt;
  const StatusOr<std::vector<Directive>> script = ParseScript(text.str());
  if (!script.ok() || script->empty()) return RecordedRun{options, {}, "the process ended"};
  StatusOr<RecordedRun> run = ParseRun(script->front());
  if (!run.ok()) return RecordedRun{options, {}, std::string(StdView(run.status().message()))};
  return *std::move(run);
}

std::optional<RecordedRun> FailsWith(const RecordedRun& run, std::vector<RandomStep> steps) {
  return RunInChild(run.options, [&](RandomRun& again) { again.Replay(steps); });
}

}  // namespace

std::string_view Name(Elections elections) { return kElections[static_cast<size_t>(elections)]; }

std::string ScriptText(const RecordedRun& run) {
  std::string out =
      Concat("cluster seed=", run.options.seed, " elections=", Name(run.options.elections), "\n");
  for (const RandomStep& step : run.steps) out += StepText(step) + "\n";
  return out + "----\n" + (run.broken.empty() ? "ok" : run.broken) + "\n";
}

StatusOr<RecordedRun> ParseRun(const Directive& directive) {
  RecordedRun run;
  if (directive.command != "cluster") return InvalidArgumentError("no recorded run");
  run.options.seed = directive.Number("seed", 0);
  const std::string name = directive.Value("elections", "");
  const auto at = std::find(kElections.begin(), kElections.end(), name);
  if (at == kElections.end()) return InvalidArgumentError("unknown elections ", name);
  run.options.elections = static_cast<Elections>(at - kElections.begin());
  for (const std::string& line : directive.input) {
    StatusOr<RandomStep> step = ParseStep(line);
    if (!step.ok()) return step.status();
    run.steps.push_back(*std::move(step));
  }
  for (const std::string& line : directive.expected) run.broken += line;
  if (run.broken == "ok") run.broken.clear();
  return run;
}

std::optional<RecordedRun> FindFailure(RunOptions options, int steps) {
  return RunInChild(options, [steps](RandomRun& run) { run.Draw(steps); });
}

RecordedRun Shrink(const RecordedRun& run, int attempts_max) {
  RecordedRun best = run;
  for (size_t chunk = std::max<size_t>(1, best.steps.size() / 2);; chunk = (chunk + 1) / 2) {
    bool smaller = false;
    for (size_t begin = 0; begin < best.steps.size();) {
      std::vector<RandomStep> rest = best.steps;
      if (attempts_max-- == 0) return best;
      const size_t end = std::min(begin + chunk, rest.size());
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(begin),
                 rest.begin() + static_cast<std::ptrdiff_t>(end));
      std::optional<RecordedRun> less = FailsWith(run, std::move(rest));
      if (less) {
        best = *std::move(less);
        smaller = true;
      } else {
        begin = end;
      }
    }
    if (chunk == 1 && !smaller) return best;
  }
}

}  // namespace metastore::raft
