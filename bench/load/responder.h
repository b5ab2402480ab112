// The other end of the generator's measurement of itself: a thread that answers every call at once
// with a canned Put answer, does no protocol checks and keeps nothing. With it the rate is the
// generator's and the kernel's own limit.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/load/wire.h"

namespace metastore::bench {

// Runs the calling thread on core `cpu` only; negative: anywhere.
inline void PinThread(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  sched_setaffinity(0, sizeof set, &set);
}

class Responder final {
 public:
  explicit Responder(int cpu) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    ok_ = bind(listener_, generic, size) == 0 && listen(listener_, 1024) == 0 &&
          getsockname(listener_, generic, &size) == 0;
    port_ = ntohs(address.sin_port);
    MakeAnswer();
    thread_ = std::thread([this, cpu] { Run(cpu); });
  }
  ~Responder() {
    stop_ = true;
    thread_.join();
    close(listener_);
  }
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  bool ok() const { return ok_; }
  uint16_t port() const { return port_; }

 private:
  struct Peer {
    int fd = -1;
    bool greeted = false;
    uint32_t received = 0;
    size_t used = 0;
    std::vector<uint8_t> input = std::vector<uint8_t>(256 * 1024);
    std::string output;
  };
  static constexpr uint32_t kWindowBytes = 1 << 30;

  void MakeAnswer() {
    // :status 200; content-type application/grpc as a literal that is not indexed (static name 31).
    const std::string headers = std::string("\x88\x0f\x10\x10") + "application/grpc";
    const std::string trailers = std::string("\x00\x0b", 2) + "grpc-status" + "\x01" + "0";
    std::string header;
    AppendVarint(&header, 3 << 3);
    revision_in_header_ = header.size();
    header.append("\x80\x80\x80\x80\x00", 5);
    std::string message;
    AppendBytesField(&message, 1, header);
    const std::string data = GrpcMessage(message);
    AppendFrameHeader(&answer_, {.length = static_cast<uint32_t>(headers.size()),
                                 .type = kHeaders,
                                 .flags = kFlagEndHeaders});
    answer_ += headers;
    data_at_ = answer_.size();
    AppendFrameHeader(&answer_, {.length = static_cast<uint32_t>(data.size()), .type = kData});
    revision_at_ = answer_.size() + kGrpcPrefixBytes + 2 + revision_in_header_;
    answer_ += data;
    trailers_at_ = answer_.size();
    AppendFrameHeader(&answer_, {.length = static_cast<uint32_t>(trailers.size()),
                                 .type = kHeaders,
                                 .flags = kFlagEndHeaders | kFlagEndStream});
    answer_ += trailers;
  }

  void Answer(Peer& peer, uint32_t stream_id) {
    const size_t at = peer.output.size();
    peer.output.append(answer_);
    char* out = peer.output.data() + at;
    Store32(out + 5, stream_id);
    Store32(out + data_at_ + 5, stream_id);
    Store32(out + trailers_at_ + 5, stream_id);
    uint64_t revision = ++revision_;
    for (size_t i = 0; i < 5; i++, revision >>= 7) {
      out[revision_at_ + i] = static_cast<char>((revision & 0x7f) | (i < 4 ? 0x80 : 0));
    }
  }

  void Parse(Peer& peer) {
    size_t at = 0;
    if (!peer.greeted) {
      if (peer.used < kPreface.size()) return;
      at = kPreface.size();
      peer.greeted = true;
      AppendFrameHeader(&peer.output, {.type = kSettings});
      AppendFrameHeader(&peer.output, {.length = 4, .type = kWindowUpdate});
      AppendUint32(&peer.output, kWindowBytes);
    }
    while (peer.used - at >= kFrameHeaderBytes) {
      const FrameHeader frame = LoadFrameHeader(peer.input.data() + at);
      if (peer.used - at < kFrameHeaderBytes + frame.length) break;
      at += kFrameHeaderBytes + frame.length;
      if (frame.type != kData) continue;
      peer.received += frame.length;
      if ((frame.flags & kFlagEndStream) != 0) Answer(peer, frame.stream_id);
    }
    std::memmove(peer.input.data(), peer.input.data() + at, peer.used - at);
    peer.used -= at;
    if (peer.received < kWindowBytes / 2) return;
    AppendFrameHeader(&peer.output, {.length = 4, .type = kWindowUpdate});
    AppendUint32(&peer.output, peer.received);
    peer.received = 0;
  }

  void Serve(Peer& peer) {
    const ssize_t got =
        recv(peer.fd, peer.input.data() + peer.used, peer.input.size() - peer.used, MSG_DONTWAIT);
    if (got <= 0) {
      close(peer.fd);
      return;
    }
    peer.used += static_cast<size_t>(got);
    Parse(peer);
    size_t sent = 0;
    while (sent < peer.output.size()) {
      const ssize_t more =
          send(peer.fd, peer.output.data() + sent, peer.output.size() - sent, MSG_NOSIGNAL);
      if (more < 0) break;
      sent += static_cast<size_t>(more);
    }
    peer.output.clear();
  }

  void Accept(int poll) {
    auto peer = std::make_unique<Peer>();
    peer->fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer->fd < 0) return;
    const int on = 1;
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{.events = EPOLLIN, .data = {.ptr = peer.get()}};
    epoll_ctl(poll, EPOLL_CTL_ADD, peer->fd, &event);
    peers_.push_back(std::move(peer));
  }

  void Run(int cpu) {
    PinThread(cpu);
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    epoll_event listening{.events = EPOLLIN, .data = {.ptr = nullptr}};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener_, &listening);
    std::vector<epoll_event> events(256);
    while (!stop_) {
      const int ready = epoll_wait(poll, events.data(), static_cast<int>(events.size()), 50);
      for (int i = 0; i < ready; i++) {
        auto* peer = static_cast<Peer*>(events[static_cast<size_t>(i)].data.ptr);
        peer == nullptr ? Accept(poll) : Serve(*peer);
      }
    }
    close(poll);
  }

  int listener_ = -1;
  uint16_t port_ = 0;
  bool ok_ = false;
  std::atomic<bool> stop_ = false;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::string answer_;
  size_t data_at_ = 0;
  size_t trailers_at_ = 0;
  size_t revision_at_ = 0;
  size_t revision_in_header_ = 0;
  uint64_t revision_ = 1;
  std::thread thread_;
};

}  // namespace metastore::bench
