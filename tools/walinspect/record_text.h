// Records of the log as people and programs read them: text, JSON lines, hex. Pure.
#pragma once

#include <string>

#include "wal/format.h"

namespace metastore::walinspect {

enum class DumpFormat : uint8_t { kText, kJson, kHex };

std::string_view KindText(wal::RecordKind kind);

// One line about a frame, for text and hex.
std::string FrameLine(const wal::FrameHeader& header, std::string_view file);
// One record of `frame`, one line (hex: and its bytes below).
std::string RecordLines(const wal::LoggedRecord& logged, const wal::FrameHeader& frame,
                        DumpFormat format);

// `bytes` with what is not printable ASCII as \xNN.
std::string Printable(std::string_view bytes);

}  // namespace metastore::walinspect
