// Http2ServerSession: the Http2Session that serves (RFC 9113), one pass over the bytes and, in the
// steady state of unary calls, without allocation: streams are reused, a request head that is
// repeated costs a comparison (net/hpack_decoder.h), and a whole answer is framed straight into
// Output() (net/hpack_encoder.h).
//
// Its parts: http2_receive.cc takes frames in, with http2_receive_headers.cc and
// http2_receive_settings.cc; http2_send.cc puts frames out; http2_server_session.cc has the rest of
// a connection's life.
//
// Streams that are done (answered, or reset by us) are gone for the peer at once; their OnClosed
// comes from Pump. So no listener's call ends a stream under its own feet.
//
// What it queues is bounded by: one answer a stream, of which there are at most streams_max;
// kControlFramesQueuedMax answers to pings and settings, and resets, while Output() is full (then:
// flood); one reset a stream that is gone.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/hpack_decoder.h"
#include "net/hpack_encoder.h"
#include "net/http2_frame.h"
#include "net/http2_guard.h"
#include "net/http2_header_rules.h"
#include "net/http2_session.h"
#include "net/http2_streams.h"
#include "net/http2_window.h"

namespace metastore::net {

// `listener` outlives the session. `now` is the time of the connection's birth.
std::unique_ptr<Http2Session> MakeHttp2Session(Http2Listener& listener, const Http2Options& options,
                                               MonoTime now);

class Http2ServerSession final : public Http2Session {
 public:
  Http2ServerSession(Http2Listener& listener, const Http2Options& options, MonoTime now);
  ~Http2ServerSession() override;
  Http2ServerSession(const Http2ServerSession&) = delete;
  Http2ServerSession& operator=(const Http2ServerSession&) = delete;

  Status Feed(MonoTime now, std::string_view bytes) override;
  void SubmitHeaders(Http2Stream& stream, std::span<const Http2Header> headers, bool end) override;
  void SendData(Http2Stream& stream, std::string_view head, std::string body) override;
  void SubmitTrailers(Http2Stream& stream, std::span<const Http2Header> trailers) override;
  size_t Respond(Http2Stream& stream, Http2Answer answer) override;
  void Reset(Http2Stream& stream, Http2Code code) override;
  void Consumed(Http2Stream& stream, size_t bytes) override;
  void Pump(MonoTime now) override;
  std::string& Output() override { return output_; }
  bool wants_pump() const override;
  void Shutdown() override;
  bool finished() const override;
  Status Tick(MonoTime now) override;
  MonoTime next_tick() const override;
  Http2Fault fault() const override { return fault_; }
  bool settings_received() const override { return peer_.settings_received; }
  size_t streams_open() const override { return streams_.size(); }

 private:
  // What the next bytes are.
  enum class Part : uint8_t { kPreface, kHeader, kFields, kBlock, kData, kSkipped };
  // Whose header block is under way.
  enum class Block : uint8_t { kNone, kRequest, kTrailers, kIgnored };

  static constexpr size_t kSettingsMax = 32;  // entries of one frame
  static constexpr size_t kSettingBytes = 6;
  struct Input {
    Part part = Part::kPreface;
    FrameHeader frame;                   // under way
    size_t left = kHttp2Preface.size();  // of its payload, or of the preface
    size_t padding = 0;                  // at the payload's end
    size_t fields_bytes = 0;  // kFields: fixed fields at the payload's begin, or all of it
    bool first_frame = true;  // has to be SETTINGS
    Block block = Block::kNone;
    bool block_begun = false;  // its decoding
    bool block_ended = false;
    int32_t block_stream = 0;
    uint8_t block_flags = 0;  // of its HEADERS frame
    size_t continuations = 0;
    std::array<char, kSettingsMax * kSettingBytes> gathered;  // of a header or fields that are cut
    size_t gathered_bytes = 0;
  };
  // What the peer has said.
  struct Peer {
    bool settings_received = false;
    bool settings_acknowledged = false;  // ours
    int64_t initial_window = kWindowBytesDefault;
    std::optional<uint32_t> no_priorities;  // RFC 9218 2.1.1: may not change
    int32_t last_stream = 0;                // the largest id it has opened
    int32_t last_processed = 0;             // and that was not refused
    int32_t goaway_limit = INT32_MAX;       // of its GOAWAY, which may not grow
    bool goaway = false;
  };
  struct Setting {
    uint16_t id = 0;
    uint32_t value = 0;
  };

  // --- http2_receive*.cc: bytes in ---
  void Receive(std::string_view bytes);
  bool Drained() const;
  std::optional<std::string_view> Gather(std::string_view& bytes, size_t wanted);
  void ReceivePreface(std::string_view& bytes);
  void ReceiveHeader(std::string_view& bytes);
  void ReceiveFields(std::string_view& bytes);
  void ReceiveBlock(std::string_view& bytes);
  void ReceiveData(std::string_view& bytes);
  void ReceiveSkipped(std::string_view& bytes);
  void Expect(Part part);
  void ExpectFields(size_t bytes);
  size_t TakePayload(std::string_view& bytes, std::string_view& payload);

  void BeginFrame();
  void BeginFixed(size_t length);
  void BeginData();
  void BeginHeaders();
  void BeginContinuation();
  void BeginSettings();
  void OnFields(std::string_view fields);
  void OnHeadersFields(std::string_view fields);
  void OpenBlock(int32_t depends_on);
  Block JudgeNewStream(int32_t depends_on);
  bool OnKnownRequest(std::string_view block);
  void DecodeBlock(std::string_view bytes);
  void EndBlock(std::string_view whole);
  void EndRequest(std::string_view whole);
  void EndTrailers();
  void Request(const HeaderList& list, uint64_t number);
  void OnDataFields(std::string_view fields);
  bool CountData(size_t bytes);
  void BeginPayload(ServerStream& stream);
  void EndData(ServerStream& stream);
  void OnReset(std::string_view fields);
  void OnWindowUpdate(std::string_view fields);
  void OnPing(std::string_view fields);
  void OnGoaway(std::string_view fields);
  void OnSettings(std::string_view fields);
  Setting SettingAt(std::string_view fields, size_t index) const;
  void ApplySetting(const Setting& setting);
  void ApplyInitialWindow(uint32_t bytes);
  void OnSettingsAck();
  bool Idle(uint32_t stream) const;
  ServerStream* FindStream() { return streams_.Find(static_cast<int32_t>(input_.frame.stream)); }
  bool HasFlag(uint8_t flag) const { return (input_.frame.flags & flag) != 0; }

  // --- http2_send.cc: bytes out ---
  bool output_full() const { return output_.size() >= net_limits::kOutputBytesHigh; }
  bool Over(const ServerStream& stream) const;
  bool FitsNow(const ServerStream& stream, size_t bytes) const;
  void SendNow(ServerStream& stream, const Http2Answer& answer);
  void QueueData(ServerStream& stream, std::string_view head, std::string body);
  void MakeReady(ServerStream& stream);
  bool HeldUpMaySend() const;
  void SendReady();
  void SendTurn(ServerStream& stream);
  void SendQueuedHeaders(ServerStream& stream);
  void SendQueuedTrailers(ServerStream& stream);
  void SendQueuedData(ServerStream& stream, size_t bytes);
  void SendBlock(int32_t stream, std::string_view block, bool end);
  void Complete(ServerStream& stream);
  void SendControl(std::string_view frame);
  void SendReset(int32_t stream, Http2Code code);
  void SendQueuedControl();
  void SendWindowUpdate(uint32_t stream, uint32_t bytes);
  void SendDueUpdates();
  void CloseGone();
  void CloseNow(ServerStream& stream);

  // --- http2_server_session.cc ---
  void SendGreeting(const Http2Options& options);
  // Ends the connection by a GOAWAY.
  void Fail(Http2Fault fault, Http2Code code, std::string_view text);
  void FailProtocol(std::string_view text);
  void FailFrameSize();
  Status FaultStatus() const;
  // Ends it if the guard says so.
  void Judge(Http2Fault verdict);
  // Ends one stream for a fault of the peer.
  void FailStream(ServerStream& stream, Http2Code code);
  // The same of one that was never opened.
  void RefuseStream(int32_t stream, Http2Code code);
  // Takes `stream` from the peer's view; OnClosed follows.
  void Abandon(ServerStream& stream, Http2Code code);

  Http2Listener& listener_;
  const uint32_t streams_max_;
  Http2Guard guard_;
  MonoTime now_;
  Http2Fault fault_ = Http2Fault::kNone;
  bool closing_ = false;      // being destroyed
  bool goaway_sent_ = false;  // with the last stream named

  Input input_;
  Peer peer_;
  HeaderDecoder decoder_;
  HeaderRules rules_;
  ReceiveWindow receive_window_{net_limits::kConnectionWindowBytes};

  Http2Streams streams_;
  SendWindow send_window_{kWindowBytesDefault};
  HpackEncoder encoder_;
  std::string output_;
  std::string control_;  // whole frames that wait for room in the output
  size_t control_frames_ = 0;
  bool updates_due_ = false;  // window updates of streams did not fit
  io::ListHead ready_;        // have something to send, in turn
  io::ListHead starved_;      // have data that waits for the connection's window
  io::ListHead gone_;         // wait for their OnClosed
};

}  // namespace metastore::net
