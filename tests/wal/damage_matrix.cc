// The parts of the crash matrix that damage a log which stands still.
#include <algorithm>

#include "tests/wal/crash_matrix.h"

namespace metastore::wal {
namespace {

constexpr size_t kSector = sim::kSectorBytes;

// A log in one segment, and what is true of it: all but its last frame were acknowledged and are
// promised by a later one.
class SmallLog final {
 public:
  // Closed: the last frame only promises. Else: torn off after an acknowledgement.
  SmallLog(uint64_t seed, bool closed) : machine_({.seed = seed}), closed_(closed) {
    machine_.MustOpen();
    machine_.MustAppend(kGroup, {HardState("vote"), Entry(1, 1, "one")});
    machine_.MustAppend(kGroup, {Entry(2, 1, std::string(5000, 'x'))});
    machine_.Reboot();
    machine_.MustOpen();
    machine_.MustAppend(kGroup, {Entry(3, 1, std::string(300, 'y'))});
    before_ = *machine_.Contents();
    machine_.MustAppend(kGroup, {Entry(4, 1, std::string(700, 'z'))});
    after_ = *machine_.Contents();
    // No silence follows the last append that would promise it.
    if (closed) CHECK(machine_.Close().ok());
    machine_.Reboot();
    frames_ = Frames(machine_);
    image_ = machine_.disk().Clone();
  }

  WalMachine& machine() { return machine_; }
  const std::string& path() const { return frames_[0].path; }
  uint64_t end() const { return frames_.back().end(); }
  std::string Name(std::string_view what, uint64_t offset) const {
    return Concat(what, " at byte ", offset, " of a ", closed_ ? "closed" : "torn off", " log");
  }
  // Bytes as they were.
  std::string Read(uint64_t offset, size_t size) {
    return machine_.disk().ReadCached(path(), offset, size);
  }
  void Restore() { machine_.disk().Restore(image_.Clone()); }

  // Where the bytes begin that the closed log does not have in common with the torn off one.
  uint64_t begin() const { return closed_ ? 0 : frames_[frames_.size() - 2].offset(); }

  // Damage at `offset`, within one frame or the segment's header. Empty, or how the verdict, or if
  // `opens` recovery, differ from the truth.
  std::string Judge(uint64_t offset, bool opens) {
    const uint64_t frame = FrameAt(offset);
    const bool promised = frame < frames_.back().offset();
    const Finding found = Verify(machine_);
    if (found.verdict == Verdict::kForeign) return "verify: foreign";
    // A last frame of which nothing is left was never written, as far as anybody can tell.
    if (found.verdict == Verdict::kClean && (promised || !ZerosFrom(frame))) return "verify: CLEAN";
    if (promised && found.verdict != Verdict::kCorrupt)
      return "verify: damage taken for a torn tail";
    if (promised && (found.file != path() || found.offset != frame)) {
      return Concat("verify: found at ", found.file, " ", found.offset, ", not ", frame);
    }
    if (!opens) return "";
    const Status opened = machine_.Open();
    if (opened.ok() == (found.verdict == Verdict::kCorrupt)) return "open and verify differ";
    if (!opened.ok()) return absl::IsDataLoss(opened) ? "" : std::string(opened.message());
    const StatusOr<LogModel> contents = machine_.Contents();
    if (!contents.ok()) return "an entry cannot be read";
    const std::string wrong = *contents == (closed_ ? after_ : before_) ? "" : "contents differ";
    machine_.Reboot();
    return wrong;
  }

 private:
  // Where the frame that has this byte begins; 0: the segment's header.
  uint64_t FrameAt(uint64_t offset) const {
    uint64_t begin = 0;
    for (const PlacedFrame& frame : frames_) {
      if (frame.offset() <= offset) begin = frame.offset();
    }
    return begin;
  }

  bool ZerosFrom(uint64_t offset) {
    return Read(offset, machine_.options().segment_bytes - offset).find_first_not_of('\0') ==
           std::string::npos;
  }

  WalMachine machine_;
  bool closed_;
  LogModel before_;  // the last entry
  LogModel after_;
  std::vector<PlacedFrame> frames_;
  sim::SimImage image_;
};

}  // namespace

void FlipEachByte(const MatrixOptions& options, MatrixReport& report) {
  for (const bool closed : {true, false}) {
    SmallLog log(options.seed, closed);
    for (uint64_t offset = log.begin(); offset < log.end() && !report.failed();
         offset += options.byte_step) {
      report.Begin(log.Name("a bit flipped", offset));
      log.Restore();
      log.machine().disk().FlipBit(log.path(), offset, static_cast<unsigned>(offset * 5 % 8));
      report.Expect(log.Judge(offset, offset % options.open_every == 0));
    }
  }
}

void TearEachSector(const MatrixOptions& options, MatrixReport& report) {
  for (const bool closed : {true, false}) {
    SmallLog log(options.seed, closed);
    for (uint64_t offset = 0; offset < log.end() && !report.failed(); offset += kSector) {
      for (const char fill : {'\0', '\x5a'}) {
        const std::string torn(kSector, fill);
        log.Restore();
        if (report.failed() || log.Read(offset, kSector) == torn) continue;
        report.Begin(log.Name("a sector torn", offset));
        log.machine().disk().WriteRaw(log.path(), offset, torn);
        report.Expect(log.Judge(offset, true));
      }
    }
  }
}

void LoseEachSector(const MatrixOptions& options, MatrixReport& report) {
  for (const bool closed : {true, false}) {
    SmallLog log(options.seed, closed);
    // Some of the zeros behind, too: what lies there may be an acknowledged frame.
    for (uint64_t offset = 0; offset < log.end() + 4 * kBlockBytes && !report.failed();
         offset += kSector) {
      report.Begin(log.Name("an unreadable sector", offset));
      log.Restore();
      log.machine().disk().MarkUnreadable(log.path(), offset);
      const Finding found = Verify(log.machine());
      if (!report.Expect(found.verdict == Verdict::kCorrupt ? "" : "verify: not damage")) return;
      const Status opened = log.machine().Open();
      report.Expect(absl::IsDataLoss(opened) ? "" : "open: not damage");
      if (opened.ok()) log.machine().Reboot();
    }
  }
}

void FlipFooter(const MatrixOptions& options, MatrixReport& report) {
  WalMachine machine({.seed = options.seed});
  machine.MustOpen();
  for (uint64_t i = 1; i <= 30; ++i) {
    machine.WaitFor([&] { return machine.log().accepting(); });
    machine.MustAppend(kGroup, {HardState(Concat("h", i)), Entry(i, 1, std::string(12'000, 'x'))});
    if (i % 7 == 0) machine.MustAppend(kGroup, {{RecordKind::kTruncate, Term(), LogIndex(i), ""}});
    if (i % 7 == 0) machine.MustAppend(kGroup, {Entry(i, 2, "again")});
  }
  const LogModel before = *machine.Contents();
  CHECK(machine.Close().ok());
  const std::vector<std::string> live = machine.LivePaths();
  SegmentHeader second;
  CHECK(DecodeSegmentHeader(machine.disk().ReadCached(live[1], 0, kBlockBytes), second) ==
        Decoded::kGood);
  const uint64_t begin = uint64_t{second.previous_footer_block} * kBlockBytes;
  CHECK_GT(begin, 0u);
  const std::string footer = machine.disk().ReadCached(
      live[0], begin, size_t{second.previous_footer_blocks} * kBlockBytes);
  const size_t used = footer.find_last_not_of('\0') + 1;
  const sim::SimImage image = machine.disk().Clone();
  for (uint64_t at = 0; at < used + 64 && !report.failed(); ++at) {
    report.Begin(Concat("a bit flipped at byte ", at, " of a footer of ", used));
    machine.disk().Restore(image.Clone());
    machine.disk().FlipBit(live[0], begin + at, static_cast<unsigned>(at * 3 % 8));
    const Status opened = machine.Open();
    if (!report.Expect(std::string(opened.message()))) return;
    const StatusOr<LogModel> contents = machine.Contents();
    report.Expect(contents.ok() && *contents == before ? "" : "contents differ");
    machine.Reboot();
  }
}

void MixHistories(const MatrixOptions& options, MatrixReport& report) {
  WalMachine machine({.seed = options.seed});
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 1, 3, 300);
  machine.Reboot();
  const sim::SimImage start = machine.disk().Clone();
  // One continuation; then the other, of frames of the same lengths.
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 4, 9, 300, 1);
  CHECK(machine.Close().ok());
  const std::string path = machine.LivePaths()[0];
  const std::string other = machine.disk().ReadCached(path, 0, machine.options().segment_bytes);
  machine.disk().Restore(start.Clone());
  machine.MustOpen();
  machine.MustAppendRange(kGroup, 4, 9, 300, 2);
  CHECK(machine.Close().ok());
  const std::vector<PlacedFrame> frames = Frames(machine);
  const sim::SimImage image = machine.disk().Clone();
  for (size_t i = 0; i + 1 < frames.size() && !report.failed(); ++i) {
    const std::string_view foreign =
        std::string_view(other).substr(frames[i].offset(), frames[i].header.frame_bytes);
    machine.disk().Restore(image.Clone());
    if (machine.disk().ReadCached(path, frames[i].offset(), foreign.size()) == foreign) continue;
    report.Begin(Concat("frame ", frames[i].header.lsn.value(), " of another continuation"));
    machine.disk().WriteRaw(path, frames[i].offset(), foreign);
    const Finding found = Verify(machine);
    if (!report.Expect(found.verdict == Verdict::kCorrupt ? "" : "verify: not damage")) return;
    const Status opened = machine.Open();
    report.Expect(absl::IsDataLoss(opened) ? "" : "open: not damage");
    if (opened.ok()) machine.Reboot();
  }
  report.Expect(report.cases > 5 ? "" : "the continuations do not differ");
}

}  // namespace metastore::wal
