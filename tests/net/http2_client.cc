#include "tests/net/http2_client.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>

#include "io/base/check.h"
#include "net/grpc_codec.h"

namespace metastore::net_test {
namespace {

uint8_t* Bytes(std::string_view text) {
  return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));
}
std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

struct Http2Client::Callbacks {
  static Http2Client& Self(void* user) { return *static_cast<Http2Client*>(user); }
  static ClientStream* Find(Http2Client& self, int32_t id) {
    const auto found = self.streams_.find(id);
    return found == self.streams_.end() ? nullptr : found->second.get();
  }
  static void Changed(Http2Client& self, ClientStream& stream) {
    if (self.changed_) self.changed_(stream);
  }
  static ssize_t Send(nghttp2_session*, const uint8_t* data, size_t size, int, void* user) {
    Self(user).output_.append(View(data, size));
    return static_cast<ssize_t>(size);
  }
  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* to, size_t length, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto& stream = *static_cast<ClientStream*>(source->ptr);
    if (stream.unsent.empty() && !stream.end_wanted) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    const size_t taken = std::min(length, stream.unsent.size());
    std::copy_n(stream.unsent.begin(), taken, to);
    stream.unsent.erase(0, taken);
    if (stream.unsent.empty() && stream.end_wanted) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(taken);
  }
  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user) {
    ClientStream* stream = Find(Self(user), frame->hd.stream_id);
    if (stream == nullptr) return 0;
    HeaderList& list =
        frame->headers.cat == NGHTTP2_HCAT_RESPONSE ? stream->headers : stream->trailers;
    list.emplace_back(View(name, name_size), View(value, value_size));
    return 0;
  }
  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void* user) {
    ClientStream* stream = Find(Self(user), id);
    if (stream == nullptr) return 0;
    stream->body.append(View(data, size));
    Changed(Self(user), *stream);
    return 0;
  }
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Client& self = Self(user);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
      self.goaway_ = true;
      self.goaway_code_ = frame->goaway.error_code;
      self.goaway_last_stream_ = frame->goaway.last_stream_id;
      self.goaway_text_ = View(frame->goaway.opaque_data, frame->goaway.opaque_data_len);
    }
    const bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    if (frame->hd.type == NGHTTP2_PING) ++(ack ? self.ping_acks_ : self.pings_received_);
    if (frame->hd.type == NGHTTP2_SETTINGS && !ack) self.settings_received_ = true;
    ClientStream* stream = Find(self, frame->hd.stream_id);
    if (stream != nullptr && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
      stream->ended = true;
      Changed(self, *stream);
    }
    return 0;
  }
  static int OnClose(nghttp2_session*, int32_t id, uint32_t code, void* user) {
    ClientStream* stream = Find(Self(user), id);
    if (stream == nullptr) return 0;
    stream->closed = true;
    stream->reset_code = code;
    Changed(Self(user), *stream);
    return 0;
  }
};

Http2Client::Http2Client(Http2ClientOptions options) : options_(options) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  CHECK_EQ(nghttp2_session_callbacks_new(&callbacks), 0);
  CHECK_EQ(nghttp2_option_new(&option), 0);
  nghttp2_session_callbacks_set_send_callback(callbacks, Callbacks::Send);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::OnData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::OnClose);
  nghttp2_option_set_no_auto_window_update(option, options.open_windows ? 0 : 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, 100'000);
  CHECK_EQ(nghttp2_session_client_new2(&session_, callbacks, this, option), 0);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  SubmitSettings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window);
  CHECK_EQ(nghttp2_session_set_local_window_size(session_, 0, 0, options.connection_window), 0);
}

Http2Client::~Http2Client() { nghttp2_session_del(session_); }

void Http2Client::SubmitSettings(uint16_t id, uint32_t value) {
  const nghttp2_settings_entry entry{id, value};
  CHECK_EQ(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &entry, 1), 0);
}

ClientStream& Http2Client::Open(const HeaderList& headers, std::string body, bool end) {
  auto stream = std::make_unique<ClientStream>();
  stream->unsent = std::move(body);
  stream->end_wanted = end;
  std::vector<nghttp2_nv> nva;
  for (const auto& [name, value] : headers) {
    nva.push_back(
        nghttp2_nv{Bytes(name), Bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  nghttp2_data_provider provider{.source = {.ptr = stream.get()},
                                 .read_callback = Callbacks::ReadBody};
  const bool bare = end && stream->unsent.empty();
  stream->id = nghttp2_submit_request(session_, nullptr, nva.data(), nva.size(),
                                      bare ? nullptr : &provider, nullptr);
  CHECK_GT(stream->id, 0);
  return *(streams_[stream->id] = std::move(stream));
}

void Http2Client::Send(ClientStream& stream, std::string_view bytes, bool end) {
  stream.unsent.append(bytes);
  stream.end_wanted = stream.end_wanted || end;
  if (std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
}

void Http2Client::Cancel(ClientStream& stream, uint32_t code) {
  CHECK_EQ(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, code), 0);
}

void Http2Client::Consume(ClientStream& stream, size_t bytes) {
  CHECK_EQ(nghttp2_session_consume(session_, stream.id, bytes), 0);
}

void Http2Client::Ping() { CHECK_EQ(nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr), 0); }

bool Http2Client::Feed(std::string_view bytes) {
  if (broken_) return false;
  const ssize_t taken = nghttp2_session_mem_recv(session_, Bytes(bytes), bytes.size());
  broken_ = taken < 0 ||
            (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0);
  return !broken_;
}

std::string& Http2Client::Output() {
  if (!broken_) broken_ = nghttp2_session_send(session_) != 0;
  return output_;
}

size_t Http2Client::streams_open() const {
  return static_cast<size_t>(std::count_if(
      streams_.begin(), streams_.end(), [](const auto& entry) { return !entry.second->closed; }));
}

std::optional<std::string> ClientStream::Find(const HeaderList& list, std::string_view name) const {
  for (const auto& [key, value] : list) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::optional<std::string> ClientStream::Find(std::string_view name) const {
  std::optional<std::string> found = Find(headers, name);
  return found.has_value() ? found : Find(trailers, name);
}

HeaderList GrpcHeaders(std::string_view path) {
  return {{":method", "POST"},
          {":scheme", "http"},
          {":path", std::string(path)},
          {":authority", "test"},
          {"content-type", "application/grpc"},
          {"te", "trailers"}};
}

std::string GrpcFrame(std::string_view message) {
  const auto prefix = net::MessagePrefix(message.size());
  std::string framed(prefix.data(), prefix.size());
  return framed.append(message);
}

std::optional<std::string> TakeGrpcMessage(std::string& body) {
  if (body.size() < net::kMessagePrefixBytes) return std::nullopt;
  size_t size = 0;
  for (size_t i = 1; i < net::kMessagePrefixBytes; ++i)
    size = size << 8 | static_cast<uint8_t>(body[i]);
  if (body.size() < net::kMessagePrefixBytes + size) return std::nullopt;
  std::string message = body.substr(net::kMessagePrefixBytes, size);
  body.erase(0, net::kMessagePrefixBytes + size);
  return message;
}

Status GrpcStatusOf(const ClientStream& stream) {
  const std::optional<std::string> code = stream.Find("grpc-status");
  if (!code.has_value()) return UnavailableError("stream closed with code ", stream.reset_code);
  const std::string message = net::PercentDecoded(stream.Find("grpc-message").value_or(""));
  return MakeStatus(static_cast<StatusCode>(std::stoi(*code)), message);
}

}  // namespace metastore::net_test
