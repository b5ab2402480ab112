#include <algorithm>
#include <set>

#include "tools/walinspect/diff.h"
#include "tools/walinspect/json.h"
#include "tools/walinspect/repair.h"
#include "tools/walinspect/scan_run.h"
#include "tools/walinspect/text.h"

namespace metastore::walinspect {
namespace {

// Follows the intact part of the log.
class KeptVisitor final : public wal::LogVisitor {
 public:
  Status OnSegment(const wal::ScannedFile& file) override {
    segment = file.header.segment;
    first_live = std::max(first_live, file.header.first_live);
    end = wal::kSegmentHeaderBytes;
    sealed = false;
    return OkStatus();
  }
  Status OnFrame(const wal::ScannedFile& file, const wal::FoundFrame& frame) override {
    Status taken = entries.OnFrame(file, frame);
    if (!taken.ok()) return taken;
    ++frames;
    last_lsn = frame.header.lsn;
    end = frame.offset + frame.header.frame_bytes;
    sealed = (frame.header.flags & wal::kFrameSealsSegment) != 0;
    first_live = std::max(first_live, frame.header.first_live);
    return OkStatus();
  }
  Status OnFooter(const wal::ScannedFile&, const wal::Footer&) override { return OkStatus(); }

  LiveEntries entries;
  uint64_t frames = 0;
  wal::SegmentSeq segment;  // of the last one entered
  Lsn last_lsn;
  uint64_t end = 0;  // of the last intact frame in it
  bool sealed = false;
  wal::SegmentSeq first_live;
};

class Planner final {
 public:
  Planner(io::Runtime& runtime, const Request& request)
      : request_(request), scan_(runtime, OptionsOf(request)) {}

  io::Task<StatusOr<RepairPlan>> Make();

 private:
  bool active(const wal::ScannedFile& file) const {
    return file.has_header && file.header.state == wal::SegmentState::kActive;
  }
  void Judge();
  io::Task<Status> ChooseChanges();
  io::Task<StatusOr<bool>> Goes(size_t place);
  io::Task<Status> CountLoss(size_t place, uint64_t from, wal::SegmentSeq segment);
  void CountFrame(const wal::FoundFrame& frame);

  const Request& request_;
  wal::LogScan scan_;
  KeptVisitor kept_;
  RepairPlan plan_;
};

io::Task<StatusOr<RepairPlan>> Planner::Make() {
  Status scanned = co_await RunScan(scan_, kept_, request_);
  if (!scanned.ok()) co_return scanned;
  plan_.finding = scan_.finding();
  plan_.kept_frames = kept_.frames;
  if (!plan_.needed()) co_return std::move(plan_);
  Judge();
  if (!plan_.impossible.empty()) co_return std::move(plan_);
  Status chosen = co_await ChooseChanges();
  if (!chosen.ok()) co_return chosen;
  co_return std::move(plan_);
}

// Fills plan_.impossible.
void Planner::Judge() {
  if (plan_.finding.verdict == wal::Verdict::kForeign) {
    plan_.impossible = "the files are not all of one log: take the foreign ones away by hand";
    return;
  }
  if (plan_.finding.verdict == wal::Verdict::kTornTail) return;  // as the node itself does
  if (kept_.frames == 0) {
    plan_.impossible = "nothing intact comes before the damage, or a whole segment is missing";
    return;
  }
  std::set<wal::SegmentSeq> there;
  for (const wal::ScannedFile& file : scan_.files()) {
    if (active(file)) there.insert(file.header.segment);
  }
  const wal::SegmentSeq from = std::max(kept_.first_live, wal::SegmentSeq(1));
  for (wal::SegmentSeq segment = from; segment < kept_.segment; ++segment) {
    if (there.contains(segment)) continue;
    plan_.impossible =
        Concat("up to the cut the log needs segment ", segment.value(), ", which was freed later");
    return;
  }
  for (const auto& [id, runs] : kept_.entries.groups) {
    const uint64_t missing = runs.FirstMissing();
    if (missing == 0) continue;
    plan_.impossible = Concat("entry ", missing, " of group ", id.value(),
                              " would be missing: it was moved to where the cut takes it");
    return;
  }
}

// Whether the file must go for the log to end at the cut.
io::Task<StatusOr<bool>> Planner::Goes(size_t place) {
  wal::ScannedFile& file = scan_.files()[place];
  const bool torn = plan_.finding.verdict == wal::Verdict::kTornTail;
  const std::vector<size_t> none;
  const std::vector<size_t>& beyond = scan_.tail() ? scan_.tail()->beyond : none;
  if (std::ranges::count(beyond, place) > 0) co_return true;
  if (torn) co_return false;
  if (active(file)) co_return file.header.segment > kept_.segment;
  if (file.kind == wal::FileKind::kDamaged) co_return true;
  // Frames of the segment after a sealed one, whose header was lost.
  const wal::FramePlace next{.stream = scan_.stream(), .segment = kept_.segment + 1};
  StatusOr<std::vector<wal::FrameHeader>> frames =
      co_await wal::FindFrames(*file.window, next, wal::kSegmentHeaderBytes);
  file.window->Drop();
  if (!frames.ok()) co_return frames.status();
  co_return !frames->empty();
}

// Later segments first, so that a crash in between leaves a log that is still called damaged.
io::Task<Status> Planner::ChooseChanges() {
  std::vector<FileChange> removed;
  FileChange cut;
  for (size_t i = 0; i < scan_.files().size(); ++i) {
    const wal::ScannedFile& file = scan_.files()[i];
    if (active(file) && file.header.segment == kept_.segment) {
      cut = {.file = i, .path = file.path, .zero_from = kept_.end, .zero_to = file.file->size()};
      Status counted = co_await CountLoss(i, kept_.end, kept_.segment);
      if (!counted.ok()) co_return counted;
      continue;
    }
    StatusOr<bool> goes = co_await Goes(i);
    if (!goes.ok()) co_return goes.status();
    if (!*goes) continue;
    removed.push_back({.file = i, .path = file.path, .remove = true});
    const wal::SegmentSeq segment = active(file) ? file.header.segment : kept_.segment + 1;
    Status counted = co_await CountLoss(i, wal::kSegmentHeaderBytes, segment);
    if (!counted.ok()) co_return counted;
  }
  std::ranges::sort(removed, std::greater<>(), [&](const FileChange& change) {
    return scan_.files()[change.file].header.segment;
  });
  plan_.changes = std::move(removed);
  if (kept_.end == wal::kSegmentHeaderBytes) {
    cut.remove = true;  // not one frame of it is left
    plan_.changes.push_back(cut);
  } else if (!kept_.sealed) {
    plan_.changes.push_back(cut);
  }
  co_return OkStatus();
}

io::Task<Status> Planner::CountLoss(size_t place, uint64_t from, wal::SegmentSeq segment) {
  wal::ScannedFile& file = scan_.files()[place];
  const wal::FramePlace whose{.stream = scan_.stream(), .segment = segment};
  StatusOr<std::vector<wal::FrameHeader>> headers =
      co_await wal::FindFrames(*file.window, whose, from);
  if (!headers.ok()) co_return headers.status();
  for (const wal::FrameHeader& header : *headers) {
    if (header.lsn <= kept_.last_lsn) continue;
    const uint64_t offset = uint64_t{header.block} * wal::kBlockBytes;
    StatusOr<std::string_view> bytes = co_await file.window->View(offset, header.frame_bytes);
    if (!bytes.ok()) co_return bytes.status();
    const bool intact =
        bytes->size() == header.frame_bytes && wal::FrameBodyIntact(header, scan_.stream(), *bytes);
    if (intact) {
      const wal::FoundFrame frame{.header = header, .offset = offset, .bytes = *bytes};
      CountFrame(frame);
    } else {
      ++plan_.damaged_frames;
    }
  }
  file.window->Drop();
  co_return OkStatus();
}

void Planner::CountFrame(const wal::FoundFrame& frame) {
  ++plan_.lost_frames;
  wal::RecordCursor cursor(frame);
  wal::LoggedRecord logged;
  while (cursor.Next(logged)) {
    GroupLoss& loss = plan_.lost[logged.group];
    ++loss.records;
    loss.bytes += logged.record.bytes.size();
    if (logged.record.kind == wal::RecordKind::kHardState) ++loss.hard_states;
    if (!wal::IsEntryKind(logged.record.kind)) continue;
    const uint64_t index = logged.record.index.value();
    loss.first_index = loss.first_index == 0 ? index : std::min(loss.first_index, index);
    loss.last_index = std::max(loss.last_index, index);
  }
}

std::string LossText(const RepairPlan& plan) {
  std::string text = Concat("lost: ", plan.lost_frames, " intact frames behind the cut, ",
                            plan.damaged_frames, " damaged ones whose records cannot be told",
                            plan.below_promise() ? "" : "; none of it was ever acknowledged", "\n");
  std::vector<std::vector<std::string>> rows{
      {"group", "records", "bytes", "entries", "hard states"}};
  for (const auto& [id, loss] : plan.lost) {
    const std::string entries =
        loss.first_index == 0 ? "-" : Concat(loss.first_index, "..", loss.last_index);
    rows.push_back({std::to_string(id.value()), std::to_string(loss.records), BytesText(loss.bytes),
                    entries, std::to_string(loss.hard_states)});
  }
  return plan.lost.empty() ? text : text + TableText(rows);
}

}  // namespace

io::Task<StatusOr<RepairPlan>> MakeRepairPlan(io::Runtime& runtime, const Request& request) {
  Planner planner(runtime, request);
  StatusOr<RepairPlan> plan = co_await planner.Make();
  co_return plan;
}

std::string PlanText(const RepairPlan& plan) {
  std::string text = FindingLine(plan.finding);
  if (!plan.needed()) return text + "nothing to repair\n";
  if (!plan.impossible.empty()) {
    return text + "cannot be repaired by cutting: " + plan.impossible +
           "\nGive the node an empty data directory and let the other members fill it, or restore "
           "a "
           "snapshot.\n";
  }
  text += Concat("kept: ", plan.kept_frames, " frames\n", LossText(plan), "plan:\n");
  for (const FileChange& change : plan.changes) {
    text += change.remove ? Concat("  remove ", change.path, "\n")
                          : Concat("  zeros in ", change.path, " from ", change.zero_from, " to ",
                                   change.zero_to, "\n");
  }
  if (plan.below_promise()) {
    text +=
        "This cuts below a promise: acknowledged writes, perhaps a vote, are lost. The member "
        "must\n"
        "be removed from its cluster and added anew; only a cluster of one may go on with it.\n";
  } else {
    text += "The node does this by itself at its next start.\n";
  }
  return text;
}

std::string PlanJson(const RepairPlan& plan, bool applied) {
  JsonWriter json;
  json.BeginObject();
  json.Text("schema", "walinspect.repair/1");
  json.Text("verdict", wal::VerdictText(plan.finding.verdict));
  json.Text("detail", plan.finding.detail);
  json.Text("impossible", plan.impossible);
  json.Flag("below_promise", plan.below_promise());
  json.Flag("applied", applied);
  json.Number("kept_frames", plan.kept_frames);
  json.Number("lost_frames", plan.lost_frames);
  json.Number("damaged_frames", plan.damaged_frames);
  json.BeginArray("lost");
  for (const auto& [id, loss] : plan.lost) {
    json.BeginObject();
    json.Number("group", id.value());
    json.Number("records", loss.records);
    json.Number("bytes", loss.bytes);
    json.Number("first_index", loss.first_index);
    json.Number("last_index", loss.last_index);
    json.Number("hard_states", loss.hard_states);
    json.EndObject();
  }
  json.EndArray();
  json.BeginArray("changes");
  for (const FileChange& change : plan.changes) {
    json.BeginObject();
    json.Text("path", change.path);
    json.Text("do", change.remove ? "remove" : "zero");
    json.Number("from", change.zero_from);
    json.Number("to", change.zero_to);
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return json.Take();
}

}  // namespace metastore::walinspect
