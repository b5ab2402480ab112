// GrpcCall: one gRPC call, unary or streaming, from its request headers to its trailers.
//
// Made by GrpcCallPool and used by one GrpcSession at a time, on one core; reused, so that a unary
// call allocates almost nothing. It is alive while its stream is open or its handler runs.
//
// Reading (streams): whole messages wait unread within the stream's window, which opens as they are
// read; the message under way opens it by itself once nothing waits before it, since it may be
// larger than the window.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/signal.h"
#include "net/fifo.h"
#include "net/grpc.h"
#include "net/grpc_codec.h"
#include "net/http2_session.h"

namespace metastore::net {

class GrpcSession;

// What is read of a call's headers.
struct CallHead {
  std::string path;
  Metadata metadata;
  MethodMatch match;
  std::optional<Duration> timeout;
  int http_status = 200;  // to refuse the call with, where `status` is not OK
  Status status;
};

// A head whose headers come again and again: read once, lent to all calls that have them.
struct SharedCallHead {
  uint64_t headers_number = 0;  // Http2Stream's; 0: none
  size_t calls = 0;             // it is lent to
  CallHead head;
};

class GrpcCall final : public GrpcStream, public io::ListLink {
 public:
  GrpcCall() { deadline_.call = this; }
  GrpcCall(const GrpcCall&) = delete;
  GrpcCall& operator=(const GrpcCall&) = delete;

  // GrpcStream, for the handler.
  const GrpcRequest& request() const override { return *request_; }
  io::Task<StatusOr<std::optional<std::string>>> Read() override;
  bool readable() const override { return open() && !inbound_.unread.empty(); }
  io::Task<Status> Write(std::string message) override;
  void Interrupt() override;
  size_t unsent_bytes() const override { return outbound_.unsent; }

 private:
  friend class GrpcSession;
  friend class GrpcCallPool;

  struct Deadline : io::Timer {
    GrpcCall* call = nullptr;
  };
  struct Inbound {
    MessageAssembler assembler;
    Fifo<std::string> unread;  // streams: whole messages
    size_t messages = 0;       // that were completed
    size_t unconsumed = 0;     // bytes the stream's window is still closed for
    size_t held = 0;           // bytes taken from the held_requests budget
    bool ended = false;        // the client has half-closed
    Status broken;             // the client broke a rule of framing or size
    bool reading = false;
    io::Signal readable;
  };
  struct Outbound {
    size_t unsent = 0;
    bool headers_sent = false;
    bool answered = false;  // the status has been given to the session
    bool writing = false;
    io::Signal writable;
  };

  // Reads and writes go on.
  bool flows() const { return open() && !interrupted_ && !stop_->stopped(); }
  // Can still be answered.
  bool open() const { return stream_ != nullptr && !outbound_.answered; }
  void Clear();
  io::Task<io::WaitResult> WaitFor(io::Signal& signal);
  Status ClosedStatus() const;

  GrpcSession* session_ = nullptr;
  Http2Stream* stream_ = nullptr;   // null once closed
  const CallHead* head_ = nullptr;  // own_head_, or shared_head_'s
  CallHead own_head_;
  SharedCallHead* shared_head_ = nullptr;
  MonoTime began_;        // when its head was received
  bool running_ = false;  // its handler's task is alive
  bool interrupted_ = false;
  size_t place_ = 0;  // in the session's list
  std::optional<io::StopSource> stop_;
  std::optional<GrpcRequest> request_;
  Deadline deadline_;
  Inbound inbound_;
  Outbound outbound_;
};

// Idle calls of one core, kept for reuse up to net_limits::kCallsPooledMax.
class GrpcCallPool final {
 public:
  std::unique_ptr<GrpcCall> Take();
  void Give(std::unique_ptr<GrpcCall> call);

 private:
  std::vector<std::unique_ptr<GrpcCall>> free_;
};

}  // namespace metastore::net
