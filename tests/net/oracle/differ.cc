#include "tests/net/oracle/differ.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "io/base/check.h"
#include "io/base/prng.h"
#include "net/http2_frame.h"
#include "net/http2_server_session.h"
#include "tests/net/oracle/nghttp2_session.h"

namespace metastore::net_test {
namespace {

using net::FrameHeader;
using net::FrameType;
using net::Http2Code;
using net::Http2Header;
using net::Http2Session;
using net::Http2Stream;

constexpr std::array<Http2Header, 2> kHead = {
    {{":status", "200"}, {"content-type", "application/grpc"}}};
constexpr std::array<Http2Header, 1> kEnd = {{{"grpc-status", "0"}}};
constexpr net::Http2FixedHeaders kFixedHead(kHead);
constexpr net::Http2FixedHeaders kFixedEnd(kEnd);

// Writes down what it hears; answers by habit and stream id alone.
class Witness final : public net::Http2Listener {
 public:
  explicit Witness(const DifferOptions& options) : options_(options) {}
  void Attach(Http2Session& session) { session_ = &session; }

  void OnRequest(Http2Stream& stream, std::span<const Http2Header> headers, bool) override {
    std::string& text = Text(stream);
    CHECK(text.empty());
    for (const Http2Header& header : headers)
      text.append(header.name).append("=").append(header.value).append("\n");
    if (Choice(stream) == 1) session_->Reset(stream, Http2Code::kRefusedStream);
  }
  void OnData(Http2Stream& stream, std::string_view bytes) override {
    Text(stream).append(bytes);
    if ((options_.habit & 8) != 0) session_->Consumed(stream, bytes.size());
  }
  void OnEnd(Http2Stream& stream) override {
    Text(stream).append("\nend");
    if (!options_.across_frames) Answer(stream);
  }
  void OnSent(Http2Stream&, size_t) override {}
  void OnClosed(Http2Stream& stream, Http2Code code) override {
    closed_[static_cast<uint32_t>(stream.id)] = std::to_string(static_cast<uint32_t>(code));
  }

  const std::map<uint32_t, std::string>& heard() const { return heard_; }
  const std::map<uint32_t, std::string>& closed() const { return closed_; }

 private:
  int Choice(const Http2Stream& stream) const {
    return static_cast<int>((static_cast<uint32_t>(stream.id) / 2 + options_.habit) % 8);
  }

  std::string& Text(const Http2Stream& stream) { return heard_[static_cast<uint32_t>(stream.id)]; }

  void Answer(Http2Stream& stream) {
    const int choice = Choice(stream);
    if (choice == 2) return;  // never answered
    if (choice == 3) return session_->SubmitHeaders(stream, kHead, true);
    if (choice == 4) return session_->Reset(stream, Http2Code::kCancel);
    const std::string body(choice == 5 ? 40'000 : static_cast<size_t>(stream.id) % 50, 'b');
    if (choice == 6) {
      session_->SubmitHeaders(stream, kHead, false);
      session_->SendData(stream, "head", body);
      session_->SendData(stream, "", body);
      return session_->SubmitTrailers(stream, kEnd);
    }
    (void)session_->Respond(
        stream, net::Http2Answer{
                    .headers = kFixedHead, .head = "head", .body = body, .trailers = kFixedEnd});
  }

  const DifferOptions options_;
  Http2Session* session_ = nullptr;
  std::map<uint32_t, std::string> heard_;
  std::map<uint32_t, std::string> closed_;  // with which code
};

// Reads what a server sends; says it in a way that does not depend on how it was cut into frames.
class Reader final {
 public:
  Reader() { CHECK_EQ(nghttp2_hd_inflate_new(&inflater_), 0); }
  ~Reader() { nghttp2_hd_inflate_del(inflater_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void Read(std::string_view bytes) {
    while (!bytes.empty()) {
      const FrameHeader frame = net::ReadFrameHeader(bytes);
      CHECK_LE(net::kFrameHeaderBytes + frame.length, bytes.size());
      Frame(frame, bytes.substr(net::kFrameHeaderBytes, frame.length));
      bytes.remove_prefix(net::kFrameHeaderBytes + frame.length);
    }
  }
  std::map<uint32_t, std::string> streams;      // headers, bodies and resets, in order
  std::map<uint32_t, uint64_t> window_updates;  // sums
  std::string control;                          // pings, settings
  std::string goaway;                           // the last one's code and stream

 private:
  void Frame(const FrameHeader& frame, std::string_view payload) {
    std::string& stream = streams[frame.stream];
    switch (frame.type) {
      case FrameType::kData:
        stream.append(payload);
        break;
      case FrameType::kHeaders:
        CHECK((frame.flags & net::kFlagEndHeaders) != 0);
        Headers(payload, stream);
        break;
      case FrameType::kRstStream:
        stream.append("\nreset ").append(std::to_string(net::BigEndian32(payload)));
        break;
      case FrameType::kWindowUpdate:
        window_updates[frame.stream] += net::BigEndian32(payload);
        break;
      case FrameType::kGoaway:
        goaway = std::to_string(net::BigEndian32(payload)) + " " +
                 std::to_string(net::BigEndian32(payload.substr(4)));
        break;
      case FrameType::kPing:
      case FrameType::kSettings:
        control.append(std::to_string(static_cast<int>(frame.type)));
        control.append(std::to_string(frame.flags)).append(payload).append("\n");
        break;
      case FrameType::kPriority:
      case FrameType::kPushPromise:
      case FrameType::kContinuation:
        CHECK_UNREACHABLE();
    }
    if (frame.type == FrameType::kData || frame.type == FrameType::kHeaders)
      if ((frame.flags & net::kFlagEndStream) != 0) stream.append("\nend");
  }

  void Headers(std::string_view block, std::string& to) {
    auto* in = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
      nghttp2_nv header;
      flags = 0;
      const ssize_t taken = nghttp2_hd_inflate_hd2(inflater_, &header, &flags, in, left, 1);
      CHECK_GE(taken, 0);
      in += taken;
      left -= static_cast<size_t>(taken);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0) continue;
      to.append(reinterpret_cast<const char*>(header.name), header.namelen).append("=");
      to.append(reinterpret_cast<const char*>(header.value), header.valuelen).append("\n");
    }
    nghttp2_hd_inflate_end_headers(inflater_);
  }

  nghttp2_hd_inflater* inflater_ = nullptr;
};

// One session and what is around it.
struct Side {
  Side(const DifferOptions& options, bool ours) : witness(options) {
    const auto make = ours ? net::MakeHttp2Session : net::MakeNghttp2Session;
    session = make(witness, net::Http2Options{.streams_max = 20, .keepalive = {}}, now);
    witness.Attach(*session);
  }
  void Pump() {
    session->Pump(now);
    reader.Read(session->Output());
    session->Output().clear();
  }
  bool Feed(std::string_view bytes) { return session->Feed(now, bytes).ok(); }
  bool over() const { return session->fault() != net::Http2Fault::kNone; }

  MonoTime now{1'000'000'000};
  Witness witness;
  Reader reader;
  std::unique_ptr<Http2Session> session;
};

// The whole frames at the front of `bytes`; the last may be one that is refused by its header.
std::vector<std::string_view> WholeFrames(std::string_view bytes) {
  std::vector<std::string_view> frames;
  while (bytes.size() >= net::kFrameHeaderBytes) {
    const FrameHeader header = net::ReadFrameHeader(bytes);
    if (header.length > net::kFramePayloadMax) {
      if (header.type != FrameType::kContinuation)
        frames.push_back(bytes.substr(0, net::kFrameHeaderBytes));
      break;
    }
    const size_t size = net::kFrameHeaderBytes + header.length;
    if (bytes.size() < size) break;
    frames.push_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return frames;
}

// A header block goes on in the next frame: when in it a fault is told is each one's own business.
bool InsideBlock(std::string_view frame) {
  const FrameHeader header = net::ReadFrameHeader(frame);
  return (header.type == FrameType::kHeaders || header.type == FrameType::kContinuation) &&
         (header.flags & net::kFlagEndHeaders) == 0;
}

void FeedInPieces(Side& side, std::string_view bytes, Prng& prng, bool pump) {
  while (!bytes.empty() && !side.over()) {
    const size_t piece = prng.Below(4) == 0 ? bytes.size() : 1 + prng.Below(30);
    (void)side.Feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    if (pump && prng.Below(3) == 0) side.Pump();
  }
}

// The entry's text, or "nothing".
std::string Show(const std::map<uint32_t, std::string>& texts, uint32_t stream) {
  const auto found = texts.find(stream);
  if (found == texts.end()) return "nothing";
  std::string text;
  for (const char c : std::string_view(found->second).substr(0, 400)) {
    const bool plain = c >= 0x20 && c < 0x7f;
    text += plain ? std::string(1, c) : "<" + std::to_string(static_cast<uint8_t>(c)) + ">";
  }
  return text;
}

std::string FirstDifference(const std::map<uint32_t, std::string>& ours,
                            const std::map<uint32_t, std::string>& oracle) {
  for (const auto* side : {&ours, &oracle}) {
    for (const auto& [stream, text] : *side) {
      const auto mine = ours.find(stream);
      const auto theirs = oracle.find(stream);
      if (mine != ours.end() && theirs != oracle.end() && mine->second == theirs->second) continue;
      return "stream " + std::to_string(stream) + ": " + Show(ours, stream) +
             "; nghttp2: " + Show(oracle, stream);
    }
  }
  return "";
}

std::string Compare(const Side& ours, const Side& oracle) {
  if (ours.session->fault() != oracle.session->fault()) {
    return "fault: " + std::string(net::FaultName(ours.session->fault())) + ", nghttp2 " +
           std::string(net::FaultName(oracle.session->fault()));
  }
  if (ours.reader.goaway != oracle.reader.goaway)
    return "GOAWAY: " + ours.reader.goaway + ", nghttp2 " + oracle.reader.goaway;
  const std::string heard = FirstDifference(ours.witness.heard(), oracle.witness.heard());
  if (!heard.empty()) return "heard: " + heard;
  if (ours.over()) return "";
  const std::string closed = FirstDifference(ours.witness.closed(), oracle.witness.closed());
  if (!closed.empty()) return "closed: " + closed;
  if (ours.session->finished() != oracle.session->finished()) return "finished";
  if (ours.session->streams_open() != oracle.session->streams_open()) return "streams open";
  if (ours.reader.control != oracle.reader.control) return "pings or settings";
  const std::string sent = FirstDifference(ours.reader.streams, oracle.reader.streams);
  if (!sent.empty()) return "sent: " + sent;
  return ours.reader.window_updates == oracle.reader.window_updates ? "" : "window updates";
}

void Greet(Side& side, const DifferOptions& options) {
  std::string bytes(net::kHttp2Preface);
  net::AppendFrameHeader(bytes, {.type = FrameType::kSettings});
  if (options.acknowledge)
    net::AppendFrameHeader(bytes, {.type = FrameType::kSettings, .flags = net::kFlagAck});
  // Which stream gets the last bytes of the connection's window is each one's own business.
  net::AppendFrameHeader(bytes, {.length = 4, .type = FrameType::kWindowUpdate});
  net::AppendBigEndian32(bytes, 1U << 30);
  CHECK(side.Feed(bytes));
  side.Pump();
  if (options.shut_down) side.session->Shutdown();
  side.Pump();
}

}  // namespace

std::string DifferenceOfSessions(std::string_view bytes, const DifferOptions& options) {
  Side ours(options, true);
  Side oracle(options, false);
  Greet(ours, options);
  Greet(oracle, options);
  Prng prng(options.seed);
  const std::vector<std::string_view> frames = WholeFrames(bytes);
  size_t fed = 0;
  for (const std::string_view frame : frames) {
    if (oracle.over()) break;
    fed += frame.size();
    (void)oracle.Feed(frame);
    oracle.Pump();
    if (options.across_frames) continue;
    FeedInPieces(ours, frame, prng, false);
    ours.Pump();
    if (InsideBlock(frame) && !oracle.over()) continue;
    std::string difference = Compare(ours, oracle);
    if (!difference.empty()) return difference + ", after " + std::to_string(fed) + " bytes";
  }
  if (!options.across_frames) return "";
  FeedInPieces(ours, bytes.substr(0, fed), prng, true);
  ours.Pump();
  return Compare(ours, oracle);
}

}  // namespace metastore::net_test
