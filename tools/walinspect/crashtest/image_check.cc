#include "tools/walinspect/crashtest/image_check.h"

#include <utility>

#include "io/uring/uring_runtime.h"
#include "tools/walinspect/commands.h"
#include "tools/walinspect/crashtest/kv_client.h"
#include "tools/walinspect/crashtest/real_disk.h"

namespace metastore::crashtest {
namespace {

constexpr std::string_view kLaterKey = "later";

io::Task<void> VerifyTask(io::uring::UringHost& host, const walinspect::Request& request,
                          StatusOr<int>& code) {
  code = co_await walinspect::Verify(host.runtime(0), request);
  host.RequestExit(0);
}

std::string FirstWord(std::string_view text) {
  return std::string(text.substr(0, text.find_first_of(" \n")));
}

StatusOr<StoreState> ReadNode(const NodeProcess& node) {
  auto client = KvClient::Connect(node.port());
  MS_RETURN_IF_ERROR(client.status());
  return (*client)->ReadAll();
}

std::string Difference(const StoreState& now, const StoreState& expected) {
  if (now.revision != expected.revision) {
    return Concat("the store is at revision ", now.revision, ", was at ", expected.revision);
  }
  for (const auto& [key, stored] : expected.keys) {
    const auto found = now.keys.find(key);
    const bool same = found != now.keys.end() && found->second.value == stored.value &&
                      found->second.revision == stored.revision;
    if (!same) return Concat("key ", key, " is no longer as it was");
  }
  return now.keys.size() == expected.keys.size() ? "" : "there are keys that were not there";
}

std::string Text(const Status& status) { return std::string(StdView(status.message())); }

}  // namespace

StatusOr<LogVerdict> VerifyLog(const std::string& directory) {
  LogVerdict verdict;
  walinspect::Request request{.directory = directory};
  request.print = [&verdict](std::string_view text) { verdict.text += text; };
  io::uring::UringOptions options;
  options.arena_bytes = 0;
  options.receive_buffers = 2;
  options.sq_entries = 64;
  options.cq_entries = 1024;
  options.offload_threads = 1;
  options.handle_signals = false;
  options.log.level = io::LogLevel::kError;
  StatusOr<int> code = InternalError("not looked at");
  const StatusOr<int> ran = io::uring::RunOneTask(
      std::move(options), "verify",
      [&](io::uring::UringHost& host) { return VerifyTask(host, request, code); });
  MS_RETURN_IF_ERROR(ran.status());
  MS_RETURN_IF_ERROR(code.status());
  verdict.code = *code;
  verdict.text.resize(std::min(verdict.text.find('\n'), verdict.text.size()));
  return verdict;
}

StatusOr<ImageResult> ImageCheck::Run(const ImageCase& one) {
  MS_RETURN_IF_ERROR(MakeDirectory(directory_));
  MS_RETURN_IF_ERROR(WriteImage(data(), one.image));
  MS_RETURN_IF_ERROR(WriteWholeFile(log(), ""));
  ImageResult result;
  result.wrong = Judge(one, result);
  if (result.wrong.empty()) result.wrong = Start(one, result);
  return result;
}

// A power loss or a kill is no damage.
std::string ImageCheck::Judge(const ImageCase& one, ImageResult& result) {
  const StatusOr<LogVerdict> verdict = VerifyLog(data() + "/member/wal");
  if (absl::IsNotFound(verdict.status())) {
    result.verdict = "none";
    const bool expected = history_.AcknowledgedBefore(one.place) == 0;
    return expected ? "" : "LOST: there is no log";
  }
  if (!verdict.ok()) return Concat("verify: ", Text(verdict.status()));
  result.verdict = FirstWord(verdict->text);
  const bool undamaged =
      verdict->code == walinspect::kExitClean || verdict->code == walinspect::kExitTornTail;
  return undamaged ? "" : Concat("verify: ", verdict->text);
}

std::string ImageCheck::Start(const ImageCase& one, ImageResult& result) {
  const NodePlace place{
      .data = data(), .log = log(), .trace = one.traced ? trace() : std::string()};
  const auto node = NodeProcess::Start(settings_, place);
  if (!node.ok()) return Concat("the node does not start: ", Text(node.status()));
  result.start_path = StartPath(ReadWholeFile(log()).value_or(""));
  const StatusOr<StoreState> state = ReadNode(**node);
  if (!state.ok()) return Concat("the node cannot be read: ", Text(state.status()));
  result.shown_at = MonotonicNow();
  result.shown = state->revision;
  std::string wrong = history_.Check(*state, one.place, one.shown);
  if (!wrong.empty()) return wrong;
  if (one.goes_on) return GoOn(**node, *state);
  (*node)->Kill();
  if (!one.traced) return "";
  StatusOr<std::string> traced = ReadWholeFile(trace());
  if (!traced.ok()) return Concat("no trace of the start: ", Text(traced.status()));
  result.trace = *std::move(traced);
  return "";
}

// A put, a clean stop, a log that says so, and all of it again.
std::string ImageCheck::GoOn(NodeProcess& node, const StoreState& before) {
  StoreState expected = before;
  {
    auto client = KvClient::Connect(node.port());
    if (!client.ok()) return Concat("no second connection: ", Text(client.status()));
    const Status begun = (*client)->StartPut(1, kLaterKey, "afterwards");
    if (!begun.ok()) return Concat("a put afterwards: ", Text(begun));
    const StatusOr<KvClient::Answer> answer = (*client)->Await();
    if (!answer.ok()) return Concat("a put afterwards: ", Text(answer.status()));
    if (answer->revision != before.revision + 1) {
      return Concat("WRONG: a put after revision ", before.revision, " got ", answer->revision);
    }
    expected.revision = answer->revision;
    expected.keys[std::string(kLaterKey)] = {.value = "afterwards", .revision = answer->revision};
  }
  const Status stopped = node.Stop();
  if (!stopped.ok()) return Concat("the node ", Text(stopped));
  const StatusOr<LogVerdict> verdict = VerifyLog(data() + "/member/wal");
  if (!verdict.ok()) return Concat("verify of the stopped node: ", Text(verdict.status()));
  if (verdict->code != walinspect::kExitClean) {
    return Concat("verify of the stopped node: ", verdict->text);
  }
  return StartAgain(expected);
}

std::string ImageCheck::StartAgain(const StoreState& expected) {
  const auto again = NodeProcess::Start(settings_, {.data = data(), .log = log(), .trace = ""});
  if (!again.ok()) return Concat("the second start: ", Text(again.status()));
  const StatusOr<StoreState> state = ReadNode(**again);
  if (!state.ok()) return Concat("the second start: ", Text(state.status()));
  const std::string differs = Difference(*state, expected);
  return differs.empty() ? "" : Concat("LOST after a clean stop: ", differs);
}

Status ImageCheck::Keep(const ImageCase& one, const std::string& directory) {
  const StatusOr<std::string> text = ReadWholeFile(log());
  MS_RETURN_IF_ERROR(MakeDirectory(directory));
  MS_RETURN_IF_ERROR(WriteImage(directory + "/data", one.image));
  return WriteWholeFile(directory + "/node.log", text.value_or(""));
}

}  // namespace metastore::crashtest
