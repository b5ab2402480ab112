#include "tools/walinspect/crashtest/command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "tools/walinspect/crashtest/real_disk.h"
#include "tools/walinspect/json.h"

namespace metastore::crashtest {
namespace {

int Complain(const Status& status) {
  std::fprintf(stderr, "walinspect crashtest: %s\n", std::string(status.message()).c_str());
  return kExitFailed;
}

void Say(const std::string& text) { std::fputs(text.c_str(), stdout); }

std::string Absolute(const std::string& path) { return std::filesystem::absolute(path).string(); }

void DeclareNode(CLI::App& command, NodeSettings& node) {
  command.add_option("--node", node.program, "the metastore program")
      ->required()
      ->check(CLI::ExistingFile);
  command
      .add_option("--wal-depth", node.depth,
                  "of the node, the same in record and run: 1 (default) or 2")
      ->check(CLI::Range(1, 2));
  command.add_option("--wal-durable-method", node.durable_method, "of the node, likewise")
      ->check(CLI::IsMember({"dsync", "fdatasync", "linked"}));
}

void DeclareRun(CLI::App& run, RunOptions& options) {
  run.add_option("--points", options.points,
                 "so many places, chosen by the seed; 0 (default): all");
  run.add_option("--images", options.images_max, "at most so many images; 0 (default): all");
  run.add_option("--seconds", options.seconds_max, "begin no image after so long; 0: no limit");
  run.add_option("--failures", options.failures_max, "nor after so many failures; 0: no limit");
  run.add_option("--jobs", options.jobs, "nodes at a time (default 2)")->check(CLI::Range(1, 64));
  run.add_option("--subsets", options.variants.subsets_max,
                 "all subsets of sectors or blocks up to so many a place (default 16)");
  run.add_option("--random", options.variants.random_count,
                 "images by chance at each place (default 2)");
  run.add_option("--goes-on-every", options.goes_on_every,
                 "every n-th node also takes a put, stops, starts again (default 8; 0: none)");
  run.add_option("--double-every", options.double_every,
                 "the start from every n-th image crashes again (default 0: none)");
  run.add_option("--double-points", options.double_points,
                 "at so many places each (default 12; 0: all)");
  run.add_option("--only", options.only, "this image alone, as 312/s5");
  run.footer(
      "Exit code: 0 nothing failed, 2 an image failed, 4 could not run.\n"
      "Examples:\n"
      "  walinspect crashtest run node.rec --node build/release/bin/metastore --work images\n"
      "  walinspect crashtest run node.rec --node N --work images --points 100 --seed 7 "
      "--double-every 20");
}

std::string RecordText(const RecordSummary& summary, const std::string& path) {
  return Concat(path, ": ", summary.lives, " lives, ", summary.calls, " calls (", summary.answered,
                " answered), ", summary.operations, " disk operations (", summary.durable_writes,
                " durable writes)\n", summary.segments_begun, " segments begun, ",
                summary.segments_recycled, " of them in recycled files; ", summary.snapshots,
                " snapshots; ", summary.files_removed, " files removed\n");
}

std::string RecordJson(const RecordSummary& summary, const std::string& path) {
  walinspect::JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.crashtest-record/1");
  json.Text("file", path);
  json.Number("lives", summary.lives);
  json.Number("calls", summary.calls);
  json.Number("answered", summary.answered);
  json.Number("operations", summary.operations);
  json.Number("durable_writes", summary.durable_writes);
  json.Number("segments_begun", summary.segments_begun);
  json.Number("segments_recycled", summary.segments_recycled);
  json.Number("snapshots", summary.snapshots);
  json.Number("files_removed", summary.files_removed);
  json.EndObject();
  return json.Take();
}

// The image in which a second crash happened is made again by the first crash.
std::string FirstOf(const std::string& image) { return image.substr(0, image.find('+')); }

std::string AgainFor(const Failure& failure, const std::string& again) {
  const std::string second = FirstOf(failure.image) == failure.image ? "" : " --double-every 1";
  return Concat(again, " --only ", FirstOf(failure.image), second);
}

void ShowProgress(uint64_t images, uint64_t failed, uint64_t place, uint64_t places) {
  std::fprintf(stderr, "\rplace %llu of %llu, %llu images, %llu failed\033[K",
               static_cast<unsigned long long>(place), static_cast<unsigned long long>(places),
               static_cast<unsigned long long>(images), static_cast<unsigned long long>(failed));
}

void Unwatched(uint64_t, uint64_t, uint64_t, uint64_t) {}

}  // namespace

Command::Command(CLI::App& app) {
  command_ = app.add_subcommand(
      "crashtest", "records a real node's disk operations, and starts it from every crash in them");
  command_->require_subcommand(1);
  record_ = command_->add_subcommand("record", "runs a node under a script of load and restarts");
  run_ = command_->add_subcommand("run", "makes the images that crashes leave, and starts each");
  record_->add_option("--trace", trace_, "the file for the recording")->required();
  run_->add_option("trace", trace_, "a recording")->required()->check(CLI::ExistingFile);
  for (CLI::App* each : {record_, run_}) {
    DeclareNode(*each, node_);
    each->add_option("--work", work_,
                     "a directory of its own for data: new, or of an earlier crashtest")
        ->required();
    each->add_option("--seed", seed_, "decides what chance does (default 1)");
    each->add_flag("--json", json_, "one JSON document, its schema named in it");
  }
  record_->add_option("--writes", record_options_.writes, "calls in all (default 400)");
  record_->footer(
      "Examples:\n"
      "  walinspect crashtest record --node build/release/bin/metastore --trace node.rec "
      "--work data");
  DeclareRun(*run_, run_options_);
}

bool Command::chosen() const { return command_->parsed(); }

int Command::Run() {
  work_ = Absolute(work_);
  node_.program = Absolute(node_.program);
  return record_->parsed() ? RunRecord() : RunImages();
}

int Command::RunRecord() {
  record_options_.node = node_;
  record_options_.work = work_;
  record_options_.seed = seed_;
  const bool watched = isatty(STDERR_FILENO) != 0;
  const StatusOr<std::string> recording = Record(record_options_, [watched](std::string_view text) {
    if (watched) std::fprintf(stderr, "%s\n", std::string(text).c_str());
  });
  if (!recording.ok()) return Complain(recording.status());
  const Status written = WriteWholeFile(trace_, *recording);
  if (!written.ok()) return Complain(written);
  const StatusOr<RecordSummary> summary = Summarize(*recording);
  if (!summary.ok()) return Complain(summary.status());
  Say(json_ ? RecordJson(*summary, trace_) : RecordText(*summary, trace_));
  return kExitPassed;
}

int Command::RunImages() {
  StatusOr<std::string> bytes = ReadWholeFile(trace_);
  if (!bytes.ok()) return Complain(bytes.status());
  const StatusOr<Recording> recording = ParseRecording(*std::move(bytes));
  if (!recording.ok()) return Complain(Annotate(recording.status(), trace_));
  run_options_.node = node_;
  run_options_.work = work_;
  run_options_.seed = seed_;
  const bool watched = isatty(STDERR_FILENO) != 0;
  const StatusOr<RunReport> report = RunCrashes(
      *recording, run_options_, watched ? ProgressFn(ShowProgress) : ProgressFn(Unwatched));
  if (watched) std::fputs("\r\033[K", stderr);
  if (!report.ok()) return Complain(Annotate(report.status(), trace_));
  const std::string again =
      Concat("walinspect crashtest run ", trace_, " --node ", node_.program, " --work ", work_,
             " --wal-depth ", node_.depth, " --wal-durable-method ", node_.durable_method,
             " --seed ", seed_);
  Say(json_ ? ReportJson(*report, again) : ReportText(*report, again));
  return report->failed == 0 ? kExitPassed : kExitFound;
}

std::string ReportText(const RunReport& report, const std::string& again) {
  std::string text = Concat("places of a crash: ", report.looked, " of ", report.places, "; ",
                            report.same, " images were equal to others\n");
  text += Concat("second crashes, in a start: ", report.doubles,
                 "; nodes that went on: ", report.went_on, "\nlogs:");
  for (const auto& [verdict, count] : report.verdicts) text += Concat(" ", verdict, " ", count);
  text += "\nways to start:\n";
  for (const auto& [path, count] : report.start_paths) text += Concat("  ", count, " ", path, "\n");
  for (const Failure& failure : report.failures) {
    text += Concat("FAILED ", failure.image, ": ", failure.what, "\n");
    if (!failure.kept.empty()) text += Concat("  kept in ", failure.kept, "\n");
    text += Concat("  again: ", AgainFor(failure, again), "\n");
  }
  if (report.failed > report.failures.size()) {
    text += Concat("and ", report.failed - report.failures.size(), " more\n");
  }
  if (!report.complete) text += "ended by a limit before the last place\n";
  return text + Concat(report.images, " images, ", report.failed, " failed\n");
}

std::string ReportJson(const RunReport& report, const std::string& again) {
  walinspect::JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.crashtest/1");
  json.Number("places", report.places);
  json.Number("looked", report.looked);
  json.Number("images", report.images);
  json.Number("same", report.same);
  json.Number("doubles", report.doubles);
  json.Number("went_on", report.went_on);
  json.Real("seconds", report.seconds);
  json.Flag("complete", report.complete);
  json.BeginObject("verdicts");
  for (const auto& [verdict, count] : report.verdicts) json.Number(verdict, count);
  json.EndObject();
  json.BeginArray("start_paths");
  for (const auto& [path, count] : report.start_paths) {
    json.BeginObject();
    json.Text("messages", path);
    json.Number("count", count);
    json.EndObject();
  }
  json.EndArray();
  json.Number("failed", report.failed);
  json.BeginArray("failures");
  for (const Failure& failure : report.failures) {
    json.BeginObject();
    json.Text("image", failure.image);
    json.Text("what", failure.what);
    json.Text("kept", failure.kept);
    json.Text("again", AgainFor(failure, again));
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return json.Take();
}

}  // namespace metastore::crashtest
