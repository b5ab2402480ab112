#include <array>
#include <utility>

#include "io/base/prng.h"
#include "net/http2_frame.h"
#include "tests/net/oracle/differ.h"

namespace metastore::net_test {
namespace {

using net::FrameType;

class FrameMaker final {
 public:
  explicit FrameMaker(uint64_t seed) : prng_(seed) {}

  std::string Next() {
    switch (prng_.Below(24)) {
      case 0:
        return Frame(FrameType::kWindowUpdate, 0, AnyStream(), Number(prng_.Below(5) * 20'000));
      case 1:
        return Frame(FrameType::kWindowUpdate, 0, AnyStream(), Number(prng_.Next() >> 33));
      case 2:
        return Frame(FrameType::kRstStream, 0, AnyStream(), Number(prng_.Below(14)));
      case 3:
        return Settings();
      case 4:
        return Frame(FrameType::kPing, 0, 0, "pingping");
      case 5:
        return Frame(FrameType::kPriority, 0, AnyStream(), std::string(5, '\1'));
      case 6:
        return Frame(static_cast<FrameType>(10 + prng_.Below(20)), 0xff, AnyStream(), "unknown");
      case 7:
        return Oddity();
      case 8:
      case 9:
      case 10:
      case 11:
      case 12:
        return Data();
      default:
        return Headers();
    }
  }

 private:
  static std::string Frame(FrameType type, uint64_t flags, uint32_t stream,
                           std::string_view payload) {
    std::string frame;
    net::AppendFrameHeader(frame, {.length = payload.size(),
                                   .type = type,
                                   .flags = static_cast<uint8_t>(flags),
                                   .stream = stream});
    return frame.append(payload);
  }
  static std::string Number(uint64_t number) {
    std::string bytes;
    net::AppendBigEndian32(bytes, static_cast<uint32_t>(number));
    return bytes;
  }
  // Mostly one that was opened.
  uint32_t AnyStream() {
    if (prng_.Below(12) == 0) return 0;
    if (prng_.Below(200) == 0) return static_cast<uint32_t>(prng_.Below(60));
    return next_ == 1 ? 0 : 1 + 2 * static_cast<uint32_t>(prng_.Below(next_ / 2));
  }

  std::string Settings() {
    std::string payload;
    for (uint64_t left = prng_.Below(4); left > 0; --left) {
      const uint64_t id = prng_.Below(10);
      uint64_t value = prng_.Below(2);
      if (id == 1) value = prng_.Below(3) * 60;
      if (id == 4) value = prng_.Below(4) * 30'000;
      if (id == 5) value = 16'384 + prng_.Below(3);
      payload.append(1, '\0').append(1, static_cast<char>(id)).append(Number(value));
    }
    return Frame(FrameType::kSettings, 0, 0, payload);
  }

  // Rare: most of these end the connection.
  std::string Oddity() {
    if (prng_.Below(4) != 0) return Frame(FrameType::kPing, 1, 0, "answered");
    const auto type = static_cast<FrameType>(prng_.Below(10));
    return Frame(type, prng_.Next() & 0xff, AnyStream(), std::string(prng_.Below(12), '\0'));
  }

  std::string Data() {
    const bool padded = prng_.Below(5) == 0;
    std::string payload(prng_.Below(3) * prng_.Below(300), 'd');
    if (padded) {
      const uint64_t padding = prng_.Below(20);
      payload.insert(payload.begin(), static_cast<char>(padding));
      payload.append(prng_.Below(60) == 0 ? 0 : padding, '\0');
    }
    const uint64_t flags = (padded ? net::kFlagPadded : 0U) | prng_.Below(2);
    const uint32_t stream = prng_.Below(3) == 0 || open_ == 0 ? AnyStream() : open_;
    if ((flags & net::kFlagEndStream) != 0 && stream == open_) open_ = 0;
    return Frame(FrameType::kData, flags, stream == 0 ? next_ - 2 : stream, payload);
  }

  std::string Headers() {
    uint32_t stream = next_;
    if (open_ != 0 && prng_.Below(4) == 0) {
      stream = std::exchange(open_, 0);  // trailers
      return Cut(stream, prng_.Below(10) != 0, prng_.Below(3) == 0 ? Block() : Trailers());
    }
    if (prng_.Below(40) == 0) return Cut(AnyStream(), true, Block());
    next_ += 2;
    const bool end = prng_.Below(2) == 0;
    open_ = end ? open_ : stream;
    return Cut(stream, end, Block());
  }

  // HEADERS alone, or with padding, or a priority, or CONTINUATION frames.
  std::string Cut(uint32_t stream, bool end, std::string block) {
    const uint64_t end_flag = end ? net::kFlagEndStream : 0U;
    switch (prng_.Below(12)) {
      case 0: {
        const std::string padded = std::string(1, '\3') + block + std::string(3, '\0');
        return Frame(FrameType::kHeaders, end_flag | net::kFlagEndHeaders | net::kFlagPadded,
                     stream, padded);
      }
      case 1:
        return Frame(FrameType::kHeaders, end_flag | net::kFlagEndHeaders | net::kFlagPriority,
                     stream, Number(prng_.Below(40)) + "w" + block);
      case 2: {
        const size_t at = prng_.Below(block.size() + 1);
        std::string frames =
            Frame(FrameType::kHeaders, end_flag, stream, std::string_view(block).substr(0, at));
        for (uint64_t empty = prng_.Below(11); empty > 8; --empty)
          frames += Frame(FrameType::kContinuation, 0, stream, "");
        return frames + Frame(FrameType::kContinuation, net::kFlagEndHeaders, stream,
                              std::string_view(block).substr(at));
      }
      default:
        return Frame(FrameType::kHeaders, end_flag | net::kFlagEndHeaders, stream, block);
    }
  }

  void Literal(std::string& block, std::string_view name, std::string_view value) {
    constexpr std::array<char, 3> kForms = {0x00, 0x10, 0x40};
    block.push_back(kForms[prng_.Below(8) == 0 ? prng_.Below(3) : 0]);
    block.push_back(static_cast<char>(name.size()));
    block.append(name).push_back(static_cast<char>(value.size()));
    block.append(value);
  }

  std::string Trailers() {
    std::string block;
    if (prng_.Below(2) == 0) Literal(block, "x-trailer", "value");
    if (prng_.Below(8) == 0) Literal(block, "content-length", "7");
    if (prng_.Below(8) == 0) Literal(block, "host", "again");
    return block;
  }

  std::string Block() {
    std::string block;
    if (prng_.Below(30) == 0) block.push_back(0x20);  // table size zero
    block.push_back(static_cast<char>(0x83));         // POST
    block.push_back(static_cast<char>(0x86));         // http
    Literal(block, ":path", prng_.Below(20) == 0 ? "*" : "/a.B/C");
    Literal(block, ":authority", "test");
    Literal(block, "content-type", "application/grpc");
    if (prng_.Below(3) == 0) Literal(block, "x-field", prng_.Below(2) == 0 ? "one" : "two");
    // Entries of the dynamic table, which may not be there.
    if (prng_.Below(6) == 0) block.push_back(static_cast<char>(0xbe + prng_.Below(2)));
    if (prng_.Below(4) == 0) Strange(block);
    return block;
  }

  void Strange(std::string& block) {
    static constexpr std::array<std::array<std::string_view, 2>, 20> kFields = {{
        {"te", "trailers"},      {"te", "Trailers"},
        {"te", "gzip"},          {"connection", "close"},
        {"keep-alive", "1"},     {"upgrade", "h2"},
        {"host", "test"},        {"host", ""},
        {"content-length", "0"}, {"content-length", "100"},
        {"content-length", "x"}, {":method", "GET"},
        {":protocol", "ws"},     {"Upper", "case"},
        {"bad name", "value"},   {"bad-value", "a\nb"},
        {"spaced", " v "},       {"priority", "u=1"},
        {"", "empty"},           {"transfer-encoding", "x"},
    }};
    const auto& [name, value] = kFields[prng_.Below(kFields.size())];
    Literal(block, name, value);
  }

  Prng prng_;
  uint32_t next_ = 1;  // stream
  uint32_t open_ = 0;  // the last one without an end; 0: none
};

}  // namespace

std::string RandomFrames(uint64_t seed, size_t frames) {
  FrameMaker maker(seed);
  std::string bytes;
  for (size_t i = 0; i < frames; ++i) bytes += maker.Next();
  return bytes;
}

}  // namespace metastore::net_test
