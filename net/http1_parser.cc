#include "net/http1_parser.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "io/base/check.h"
#include "net/grpc_codec.h"
#include "net/net_limits.h"

namespace metastore::net {
namespace {

// RFC 9110 5.6.2.
bool IsTokenChar(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  const bool alphanumeric =
      (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return alphanumeric || kMarks.find(c) != std::string_view::npos;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

bool IsVisible(char c) { return c > 0x20 && c != 0x7f; }

bool IsFieldValue(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string Lowered(std::string_view text) {
  std::string lowered(text);
  std::transform(lowered.begin(), lowered.end(), lowered.begin(), Lower);
  return lowered;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The whole of `text` as a number; nothing if it is not one or does not fit.
std::optional<size_t> ParseNumber(std::string_view text, int base) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Whether the comma-separated list holds `wanted` (lower case).
bool ListHas(std::string_view list, std::string_view wanted) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (Lowered(Trimmed(list.substr(0, comma))) == wanted) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

void Http1Parser::Next() {
  CHECK(phase_ == Phase::kComplete);
  phase_ = Phase::kRequestLine;
  line_.clear();
  header_bytes_ = body_left_ = 0;
  request_ = HttpRequest();
}

void Http1Parser::Fail(int status) {
  phase_ = Phase::kFailed;
  error_status_ = status;
}

bool Http1Parser::awaits_continue() const {
  const bool in_body = phase_ == Phase::kBody || phase_ == Phase::kChunkSize;
  if (!in_body || !request_.body.empty() || request_.http_1_0) return false;
  return Lowered(request_.Find("expect").value_or("")) == "100-continue";
}

Http1Parser::State Http1Parser::Take(std::string_view& bytes) {
  CHECK(phase_ != Phase::kComplete);
  while (phase_ != Phase::kComplete && phase_ != Phase::kFailed && !bytes.empty()) {
    if (phase_ == Phase::kBody || phase_ == Phase::kChunkData) {
      TakeBody(bytes);
    } else if (TakeLine(bytes)) {
      std::string line;
      line.swap(line_);
      LineDone(line);
    }
  }
  if (phase_ == Phase::kFailed) return State::kFailed;
  return phase_ == Phase::kComplete ? State::kComplete : State::kNeedMore;
}

// True once line_ holds a whole line, without its end.
bool Http1Parser::TakeLine(std::string_view& bytes) {
  const size_t newline = bytes.find('\n');
  const size_t taken = newline == std::string_view::npos ? bytes.size() : newline + 1;
  const bool chunk_line = phase_ == Phase::kChunkSize || phase_ == Phase::kChunkEnd;
  if (chunk_line && line_.size() + taken > net_limits::kChunkLineBytesMax) {
    Fail(400);
    return false;
  }
  if (!chunk_line) header_bytes_ += taken;
  if (header_bytes_ > net_limits::kHttpHeaderBytesMax) {
    Fail(431);
    return false;
  }
  line_.append(bytes.substr(0, taken));
  bytes.remove_prefix(taken);
  if (newline == std::string_view::npos) return false;
  line_.pop_back();
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  return true;
}

void Http1Parser::LineDone(std::string_view line) {
  switch (phase_) {
    case Phase::kRequestLine:
      return RequestLine(line);
    case Phase::kHeaders:
      return line.empty() ? HeadersDone() : HeaderLine(line);
    case Phase::kChunkSize:
      return ChunkSizeLine(line);
    case Phase::kChunkEnd:
      if (!line.empty()) return Fail(400);
      phase_ = Phase::kChunkSize;
      return;
    case Phase::kTrailers:
      if (line.empty()) phase_ = Phase::kComplete;  // what trailers say is ignored
      return;
    case Phase::kBody:
    case Phase::kChunkData:
    case Phase::kComplete:
    case Phase::kFailed:
      break;
  }
  CHECK_UNREACHABLE();
}

void Http1Parser::RequestLine(std::string_view line) {
  if (line.empty())
    return;  // RFC 9112 2.2: empty lines before a request are skipped; header_bytes_ bounds them
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return Fail(400);
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsToken(method) || target.empty() || !std::all_of(target.begin(), target.end(), IsVisible))
    return Fail(400);
  if (version.size() != 8 || !version.starts_with("HTTP/")) return Fail(400);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return Fail(505);
  request_.http_1_0 = version == "HTTP/1.0";
  request_.method = method;
  request_.target = target;
  const size_t question = target.find('?');
  request_.path = PercentDecoded(target.substr(0, question));
  if (question != std::string_view::npos) request_.query = target.substr(question + 1);
  phase_ = Phase::kHeaders;
}

void Http1Parser::HeaderLine(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) return Fail(400);
  const std::string_view value = Trimmed(line.substr(colon + 1));
  if (!IsFieldValue(value)) return Fail(400);
  if (request_.headers.size() == net_limits::kHttpHeadersMax) return Fail(431);
  request_.headers.push_back(
      HttpHeader{.name = Lowered(line.substr(0, colon)), .value = std::string(value)});
}

void Http1Parser::HeadersDone() {
  std::optional<std::string_view> length;
  std::optional<std::string_view> coding;
  size_t hosts = 0;
  bool close = false;
  bool keep_alive = false;
  for (const HttpHeader& header : request_.headers) {
    if (header.name == "content-length") {
      if (length.has_value() && *length != header.value) return Fail(400);
      length = header.value;
    } else if (header.name == "transfer-encoding") {
      if (coding.has_value()) return Fail(400);
      coding = header.value;
    } else if (header.name == "connection") {
      close = close || ListHas(header.value, "close");
      keep_alive = keep_alive || ListHas(header.value, "keep-alive");
    } else if (header.name == "host") {
      ++hosts;
    }
  }
  if (hosts > 1 || (hosts == 0 && !request_.http_1_0)) return Fail(400);
  request_.keep_alive = !close && (!request_.http_1_0 || keep_alive);
  if (coding.has_value()) {
    if (length.has_value() || request_.http_1_0) return Fail(400);
    if (Lowered(*coding) != "chunked") return Fail(501);
    phase_ = Phase::kChunkSize;
    return;
  }
  const std::optional<size_t> bytes = ParseNumber(length.value_or("0"), 10);
  if (!bytes.has_value()) return Fail(400);
  if (*bytes > body_bytes_max_) return Fail(413);
  body_left_ = *bytes;
  phase_ = body_left_ == 0 ? Phase::kComplete : Phase::kBody;
}

void Http1Parser::TakeBody(std::string_view& bytes) {
  const size_t taken = std::min(bytes.size(), body_left_);
  request_.body.append(bytes.substr(0, taken));
  bytes.remove_prefix(taken);
  body_left_ -= taken;
  if (body_left_ > 0) return;
  phase_ = phase_ == Phase::kBody ? Phase::kComplete : Phase::kChunkEnd;
}

void Http1Parser::ChunkSizeLine(std::string_view line) {
  const std::optional<size_t> bytes = ParseNumber(Trimmed(line.substr(0, line.find(';'))), 16);
  if (!bytes.has_value()) return Fail(400);
  if (*bytes > body_bytes_max_ - request_.body.size()) return Fail(413);
  body_left_ = *bytes;
  phase_ = body_left_ == 0 ? Phase::kTrailers : Phase::kChunkData;
}

}  // namespace metastore::net
