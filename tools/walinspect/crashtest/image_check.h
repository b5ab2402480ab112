// ImageCheck: one crash image on the real node. Blocking; one a thread, with a directory of its
// own.
#pragma once

#include <cstdint>
#include <string>

#include "io/base/status.h"
#include "io/base/time.h"
#include "tools/walinspect/crashtest/crash_image.h"
#include "tools/walinspect/crashtest/history.h"
#include "tools/walinspect/crashtest/node_process.h"

namespace metastore::crashtest {

struct ImageCase {
  std::string name;
  CrashImage image;
  size_t place = 0;    // of the crash in the recording
  uint64_t shown = 0;  // revision that an earlier start from this crash has shown
  bool goes_on = false;
  bool traced = false;  // the start is recorded, for a second crash
};

struct ImageResult {
  std::string wrong;    // empty: nothing is
  std::string verdict;  // of `walinspect verify`: CLEAN, TORN-TAIL, ...; "none" without a log
  std::string start_path;
  // Of a traced start: its trace, when it had shown its state, and at which revision.
  std::string trace;
  MonoTime shown_at;
  uint64_t shown = 0;
};

class ImageCheck final {
 public:
  // `directory` is this check's alone.
  ImageCheck(NodeSettings settings, const History& history, std::string directory)
      : settings_(std::move(settings)), history_(history), directory_(std::move(directory)) {}

  // Errors: the image cannot be written. What the node does is in the result.
  StatusOr<ImageResult> Run(const ImageCase& one);
  // Puts the image as it was, and the node's log, into `directory`.
  Status Keep(const ImageCase& one, const std::string& directory);

  // Where the node has its data.
  std::string data() const { return directory_ + "/data"; }

 private:
  std::string log() const { return directory_ + "/node.log"; }
  std::string trace() const { return directory_ + "/node.trace"; }
  std::string Judge(const ImageCase& one, ImageResult& result);
  std::string Start(const ImageCase& one, ImageResult& result);
  std::string GoOn(NodeProcess& node, const StoreState& before);
  std::string StartAgain(const StoreState& expected);

  const NodeSettings settings_;
  const History& history_;
  const std::string directory_;
};

// The verdict of `walinspect verify` on a node's log, and its exit code; kNotFound: there is none.
struct LogVerdict {
  int code = 0;
  std::string text;  // its first line
};
StatusOr<LogVerdict> VerifyLog(const std::string& directory);

}  // namespace metastore::crashtest
