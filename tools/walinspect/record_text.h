// Records of the log as people and programs read them: text, JSON lines, hex. Pure.
#pragma once

#include <string>

#include "wal/format.h"

namespace metastore::walinspect {

enum class DumpFormat : uint8_t { kText, kJson, kHex };

std::string_view KindText(wal::RecordKind kind);

// One line about a frame, for text and hex.
std::string FrameLine(const wal::FrameHeader& header, std::string_view file);
// A record and where it was found.
struct PlacedRecord {
  const wal::LoggedRecord& logged;
  const wal::FrameHeader& frame;
  std::string_view file;  // name
};
// One line (hex: and its bytes below).
std::string RecordLines(const PlacedRecord& record, DumpFormat format);

// `bytes` with what is not printable ASCII as \xNN.
std::string Printable(std::string_view bytes);

}  // namespace metastore::walinspect
