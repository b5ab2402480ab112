// Http2ServerSession, the peer's SETTINGS (RFC 9113 section 6.5).
#include <algorithm>

#include "net/http2_server_session.h"

namespace metastore::net {
namespace {

constexpr uint16_t kHeaderTableSize = 1;
constexpr uint16_t kEnablePush = 2;
constexpr uint16_t kInitialWindowSize = 4;
constexpr uint16_t kMaxFrameSize = 5;
constexpr uint16_t kEnableConnectProtocol = 8;  // RFC 8441
constexpr uint16_t kNoPriorities = 9;           // RFC 9218
constexpr uint32_t kFrameSizeMax = (1U << 24) - 1;

}  // namespace

Http2ServerSession::Setting Http2ServerSession::SettingAt(std::string_view fields,
                                                          size_t index) const {
  const std::string_view entry = fields.substr(index * kSettingBytes, kSettingBytes);
  return Setting{.id = static_cast<uint16_t>(static_cast<uint8_t>(entry[0]) << 8 |
                                             static_cast<uint8_t>(entry[1])),
                 .value = BigEndian32(entry.substr(2))};
}

void Http2ServerSession::OnSettings(std::string_view fields) {
  if (input_.frame.stream != 0) return FailProtocol("SETTINGS on a stream");
  if (HasFlag(kFlagAck)) return OnSettingsAck();
  const size_t count = fields.size() / kSettingBytes;
  uint32_t table_size_min = UINT32_MAX;
  std::optional<uint32_t> table_size;
  for (size_t i = 0; i < count; ++i) {
    const Setting setting = SettingAt(fields, i);
    if (setting.id != kHeaderTableSize) continue;
    table_size = setting.value;
    table_size_min = std::min(table_size_min, setting.value);
  }
  if (table_size.has_value()) encoder_.SetTableSize(table_size_min, *table_size);
  // Of an id that is there more than once the last value counts.
  for (size_t i = 0; i < count && fault_ == Http2Fault::kNone; ++i) {
    Setting setting = SettingAt(fields, i);
    bool repeated = false;
    for (size_t j = 0; j < i; ++j) repeated = repeated || SettingAt(fields, j).id == setting.id;
    for (size_t j = i + 1; j < count; ++j) {
      const Setting later = SettingAt(fields, j);
      if (later.id == setting.id) setting = later;
    }
    if (!repeated) ApplySetting(setting);
  }
  if (fault_ != Http2Fault::kNone) return;
  if (!peer_.no_priorities.has_value()) peer_.no_priorities = 0;
  std::string acknowledgement;
  AppendFrameHeader(acknowledgement, FrameHeader{.type = FrameType::kSettings, .flags = kFlagAck});
  SendControl(acknowledgement);
  peer_.settings_received = true;
  Judge(guard_.OnSettings(now_));
}

void Http2ServerSession::ApplySetting(const Setting& setting) {
  switch (setting.id) {
    case kEnablePush:
    case kEnableConnectProtocol:
      if (setting.value > 1) FailProtocol("a SETTINGS flag that is neither 0 nor 1");
      return;
    case kInitialWindowSize:
      return ApplyInitialWindow(setting.value);
    case kMaxFrameSize:
      // Our frames are never larger than what every peer takes.
      if (setting.value < kFramePayloadMax || setting.value > kFrameSizeMax)
        FailProtocol("SETTINGS_MAX_FRAME_SIZE out of its range");
      return;
    case kNoPriorities:
      if (setting.value > 1) return FailProtocol("a SETTINGS flag that is neither 0 nor 1");
      if (peer_.no_priorities.value_or(setting.value) != setting.value)
        return FailProtocol("SETTINGS_NO_RFC7540_PRIORITIES changed");
      peer_.no_priorities = setting.value;
      return;
    default:
      return;  // RFC 9113 6.5.2: unknown ones are ignored
  }
}

// RFC 9113 6.9.2: applies to the streams that are open too, whose windows may fall below zero.
void Http2ServerSession::ApplyInitialWindow(uint32_t bytes) {
  if (bytes > kWindowBytesMax) {
    return Fail(Http2Fault::kFlowControl, Http2Code::kFlowControlError,
                "SETTINGS_INITIAL_WINDOW_SIZE beyond 2^31-1");
  }
  const int64_t change = int64_t{bytes} - peer_.initial_window;
  peer_.initial_window = bytes;
  if (change == 0) return;
  for (ServerStream* stream : streams_.All()) {
    if (!stream->send_window.Change(change)) {
      FailStream(*stream, Http2Code::kFlowControlError);
    } else if (stream->has_unsent()) {
      MakeReady(*stream);
    }
  }
}

void Http2ServerSession::OnSettingsAck() {
  if (peer_.settings_acknowledged) return FailProtocol("SETTINGS ack of nothing");
  peer_.settings_acknowledged = true;
  for (ServerStream* stream : streams_.All())
    stream->receive_window.Resize(net_limits::kStreamWindowBytes);
}

}  // namespace metastore::net
