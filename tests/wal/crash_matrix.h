// The crash matrix of the log: what a disk holds at every change of a scripted run, after a power
// loss or a kill, is recovered and judged, and what it holds at every change of that recovery
// again; devices that fail or lie at each write; every byte and every sector of a small log
// damaged. Each part compares recovery and the verdict of `walinspect verify` with what is known to
// be true.
//
// The mutations' test runs the same parts, so they report instead of asserting.
#pragma once

#include <string>

#include "tests/wal/crash_script.h"

namespace metastore::wal {

// What a part did. It ends at its first failure.
struct MatrixReport {
  uint64_t cases = 0;
  std::string where;    // the case under way
  std::string failure;  // what is wrong with it; empty: nothing so far

  bool failed() const { return !failure.empty(); }
  // Begins a case.
  void Begin(std::string name) {
    ++cases;
    where = std::move(name);
  }
  // False once something was wrong.
  bool Expect(std::string wrong) {
    if (!failed()) failure = std::move(wrong);
    return !failed();
  }
};

struct MatrixOptions {
  uint64_t seed = 11;
  uint32_t depth = 1;
  uint64_t change_every = 1;  // of the states of a run; 1: all are judged
  uint64_t images = 1;        // power losses of each
  // Of the states of a run, every n-th is also: recovered with a crash at each change of the
  // recovery; made to go on after its recovery; looked at in all its variants. 1: all.
  uint64_t again_every = 20;
  uint64_t goes_on_every = 8;
  uint64_t device_every = 3;  // of the writes that a device fails or lies about
  size_t subsets_max = 64;    // of a write's sectors; all, where there are not more
  uint64_t byte_step = 1;     // of the bytes flipped; 1: each is judged by the verdict
  uint64_t open_every = 8;    //   and those at multiples of this by recovery, too
};

// Crashes: at every change of the disk in a run, and at every change in a recovery from there.
void CrashAtEveryChange(const MatrixOptions& options, MatrixReport& report);
// The same around the purge that frees the oldest segments, with many power losses.
void CrashInPurge(const MatrixOptions& options, MatrixReport& report);
// The same in recycled segments, whose leftovers are frames at the places of the new ones.
void CrashInRecycled(const MatrixOptions& options, MatrixReport& report);
// Every subset of the sectors that a step of the run changed, or random ones.
void CrashWithSubsets(const MatrixOptions& options, MatrixReport& report);
// A write that fails and may or may not be durable; a kill, and then the power goes.
void FailEachWrite(const MatrixOptions& options, MatrixReport& report);
// A write that the device acknowledges and loses, or puts elsewhere: damage is told, or did not
// matter.
void LoseEachWrite(const MatrixOptions& options, MatrixReport& report);
// The zeros of a cut are lost: the old frames behind it are told by their epoch.
void LoseZeros(const MatrixOptions& options, MatrixReport& report);

// A small log, closed or torn off, with each byte flipped, each sector torn or unreadable. What the
// two have in common is flipped in one.
void FlipEachByte(const MatrixOptions& options, MatrixReport& report);
void TearEachSector(const MatrixOptions& options, MatrixReport& report);
void LoseEachSector(const MatrixOptions& options, MatrixReport& report);
// Each byte of a footer flipped: recovery gives the same.
void FlipFooter(const MatrixOptions& options, MatrixReport& report);
// Frames of one continuation of a log put into another one's.
void MixHistories(const MatrixOptions& options, MatrixReport& report);

}  // namespace metastore::wal
