// The command diff: walks both logs as tools/walinspect/diff.h says.
#include <algorithm>

#include "tools/walinspect/commands.h"
#include "tools/walinspect/diff.h"
#include "tools/walinspect/scan_run.h"

namespace metastore::walinspect {
namespace {

constexpr int kExitSame = 0;
constexpr int kExitShorter = 1;
constexpr int kExitDifferent = 2;

Request RequestFor(const Request& request, const std::string& directory) {
  Request one = request;
  one.directory = directory;
  return one;
}

io::Task<StatusOr<std::unique_ptr<LiveEntries>>> FindEntries(io::Runtime& runtime,
                                                             const Request& request) {
  StatusOr<Walked<LiveEntries>> walked = co_await WalkLog<LiveEntries>(
      runtime, request, [] { return std::make_unique<LiveEntries>(); });
  if (!walked.ok()) co_return Annotate(walked.status(), request.directory);
  const wal::Finding& finding = walked->finding;
  if (finding.verdict == wal::Verdict::kCorrupt || finding.verdict == wal::Verdict::kForeign) {
    co_return DataLossError("cannot compare a damaged log: ", FindingLine(finding));
  }
  co_return std::move(walked->visitor);
}

// The entries of `windows` through a Visitor.
template <typename Visitor>
io::Task<StatusOr<std::unique_ptr<Visitor>>> ReadWindows(io::Runtime& runtime,
                                                         const Request& request,
                                                         const RunsByGroup& groups,
                                                         const Windows& windows) {
  if (windows.empty()) co_return std::make_unique<Visitor>(groups, windows);
  StatusOr<Walked<Visitor>> walked = co_await WalkLog<Visitor>(
      runtime, request, [&] { return std::make_unique<Visitor>(groups, windows); });
  if (!walked.ok()) co_return Annotate(walked.status(), request.directory);
  if (!walked->visitor->complete()) {
    co_return UnavailableError(request.directory,
                               ": the log changed while it was read; compare a copy");
  }
  co_return std::move(walked->visitor);
}

int CodeOf(const std::vector<GroupDiff>& groups) {
  int code = kExitSame;
  for (const GroupDiff& group : groups) {
    const bool different = group.verdict == GroupVerdict::kDifferent;
    const bool same = group.verdict == GroupVerdict::kSame;
    code = std::max(code, different ? kExitDifferent : same ? kExitSame : kExitShorter);
  }
  return code;
}

}  // namespace

io::Task<StatusOr<int>> Diff(io::Runtime& runtime, const Request& request) {
  const Request first = RequestFor(request, request.directory);
  const Request second = RequestFor(request, request.other_directory);
  StatusOr<std::unique_ptr<LiveEntries>> a = co_await FindEntries(runtime, first);
  if (!a.ok()) co_return a.status();
  StatusOr<std::unique_ptr<LiveEntries>> b = co_await FindEntries(runtime, second);
  if (!b.ok()) co_return b.status();
  if ((*a)->cluster != (*b)->cluster) {
    request.print(request.json() ? "{\"schema\":\"walinspect.diff/1\",\"foreign\":true}\n"
                                 : "the logs belong to different clusters\n");
    co_return kExitForeign;
  }
  const Windows common = CommonWindows((*a)->groups, (*b)->groups);
  StatusOr<std::unique_ptr<Digests>> digests_a =
      co_await ReadWindows<Digests>(runtime, first, (*a)->groups, common);
  if (!digests_a.ok()) co_return digests_a.status();
  StatusOr<std::unique_ptr<Digests>> digests_b =
      co_await ReadWindows<Digests>(runtime, second, (*b)->groups, common);
  if (!digests_b.ok()) co_return digests_b.status();
  const Windows different = DifferentChunks(common, **digests_a, **digests_b);
  StatusOr<std::unique_ptr<Prints>> prints_a =
      co_await ReadWindows<Prints>(runtime, first, (*a)->groups, different);
  if (!prints_a.ok()) co_return prints_a.status();
  StatusOr<std::unique_ptr<Prints>> prints_b =
      co_await ReadWindows<Prints>(runtime, second, (*b)->groups, different);
  if (!prints_b.ok()) co_return prints_b.status();
  const std::vector<GroupDiff> groups =
      Compare((*a)->groups, (*b)->groups, **prints_a, **prints_b, different);
  request.print(request.json() ? DiffJson(groups) : DiffText(groups));
  co_return CodeOf(groups);
}

}  // namespace metastore::walinspect
