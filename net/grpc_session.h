// GrpcSession: the gRPC calls of one HTTP/2 connection. It listens to the session's events, checks
// and gathers requests, runs one root task a call, and turns replies into headers, messages and
// trailers.
//
// Owned by its connection on one core. Everything in Environment, and the session, outlives its
// calls.
//
// A call (GrpcCall) lives from OnRequest until its stream is closed and its handler has ended,
// whichever is later. So a client that resets calls does not free its places: running handlers
// count against calls_max (rapid reset).
//
// Bounds: bytes of incomplete and unread requests are taken from held_requests, of which one
// connection gets at most a quarter; unsent replies from held_replies; beyond either a call ends
// with kResourceExhausted. While kUnsentReplyBytesHigh bytes of this connection's replies are
// unsent no further unary call begins: requests wait, in order, so that a client which does not
// open its windows stops costing.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/gate.h"
#include "io/runtime.h"
#include "net/byte_budget.h"
#include "net/grpc.h"
#include "net/grpc_call.h"
#include "net/http2_session.h"
#include "net/server_stats.h"

namespace metastore::net {

class GrpcSession final : public Http2Listener {
 public:
  struct Environment {
    io::Runtime& runtime;
    io::Gate& gate;    // the connection's: runs the calls
    io::Signal& wake;  // notified when there is something to pump
    GrpcHandler& handler;
    GrpcCallPool& pool;
    ByteBudget& held_requests;
    ByteBudget& held_replies;
    ServerStats& stats;
    const io::Address& peer;
    size_t message_bytes_max;
    size_t calls_max;
  };

  explicit GrpcSession(const Environment& environment) : environment_(environment) {}
  ~GrpcSession() override;  // CHECKs that no call is left: handlers ended, Http2Session destroyed
  GrpcSession(const GrpcSession&) = delete;
  GrpcSession& operator=(const GrpcSession&) = delete;

  void Attach(Http2Session& session) { session_ = &session; }

  // Stops every call, and refuses further ones with kUnavailable and `reason`. Calls under way are
  // answered by their handlers, as far as the connection still can. Idempotent.
  void StopCalls(std::string_view reason);

  size_t calls_open() const { return calls_.size(); }

  // The bytes that are about to be fed were received `now`.
  void NoteReceived(MonoTime now) { received_at_ = now; }
  // The session was pumped with the answers given so far: their calls count (ServerStats).
  void NoteSent(MonoTime now);

  void OnRequest(Http2Stream& stream, std::span<const Http2Header> headers, bool end) override;
  void OnData(Http2Stream& stream, std::string_view bytes) override;
  void OnEnd(Http2Stream& stream) override;
  void OnSent(Http2Stream& stream, size_t bytes) override;
  void OnClosed(Http2Stream& stream, Http2Code code) override;

 private:
  friend class GrpcCall;

  static constexpr size_t kHeadsShared = 4;  // as many as the HTTP/2 session remembers

  GrpcCall& MakeCall(Http2Stream& stream, std::span<const Http2Header> headers);
  void ReadHead(CallHead& head, std::span<const Http2Header> headers) const;
  SharedCallHead* FindHead(uint64_t number);
  SharedCallHead* FreeHead();
  void Refuse(GrpcCall& call, int http_status, const Status& status);
  void ArmDeadline(GrpcCall& call, Duration timeout);
  static void DeadlinePassed(io::Timer& timer);

  Status Gather(GrpcCall& call, std::string_view& bytes);
  Status Hold(GrpcCall& call, size_t bytes);
  void Unhold(GrpcCall& call, size_t bytes);
  void OpenWindow(GrpcCall& call);
  void Broken(GrpcCall& call, const Status& status);
  void MessageRead(GrpcCall& call, size_t bytes);

  void Begin(GrpcCall& call);
  void BeginWaiting();
  void Prepare(GrpcCall& call);
  void Spawn(GrpcCall& call);
  void Run(GrpcCall& call);
  io::Task<void> RunUnary(GrpcCall& call);
  io::Task<void> RunStream(GrpcCall& call);
  void Ended(GrpcCall& call);
  void Remove(GrpcCall& call);

  void AnswerOk(GrpcCall& call, std::string message, const Metadata& trailers);
  void AnswerError(GrpcCall& call, int http_status, const Status& status, const Metadata& trailers);
  void Answered(GrpcCall& call, bool ok);
  Status HoldReply(GrpcCall& call, size_t message_bytes);
  void ReleaseReply(GrpcCall& call, size_t bytes);
  Status SendMessage(GrpcCall& call, std::string message);

  const Environment environment_;
  Http2Session* session_ = nullptr;
  std::vector<std::unique_ptr<GrpcCall>> calls_;  // unordered; each knows its place
  io::ListHead waiting_;  // complete unary requests that have not begun, in order
  size_t held_request_bytes_ = 0;
  size_t unsent_reply_bytes_ = 0;
  size_t unary_running_ = 0;
  MonoTime received_at_;            // of the bytes that are being fed
  std::vector<MonoTime> answered_;  // when calls began that were answered since NoteSent
  size_t failed_ = 0;               // of these, with another status than OK
  std::array<SharedCallHead, kHeadsShared> heads_;
  std::string stop_reason_;  // not empty: stopped
};

}  // namespace metastore::net
