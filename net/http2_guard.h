// Http2Guard: what of a peer's conduct on an HTTP/2 connection is too much, and whether it is still
// there. Pure: events and times in, verdicts out. One a connection.
//
// Each On* function returns the fault to end the connection with, or kNone.
#pragma once

#include "io/base/time.h"
#include "net/http2_session.h"
#include "net/net_limits.h"
#include "net/token_bucket.h"

namespace metastore::net {

class Http2Guard final {
 public:
  Http2Guard(const KeepaliveOptions& options, MonoTime now)
      : options_(options), last_received_(now) {}

  // RST_STREAM of the peer.
  Http2Fault OnReset(MonoTime now);
  Http2Fault OnSettings(MonoTime now);
  // A frame that moves nothing: DATA without bytes or end, PRIORITY.
  Http2Fault OnEmptyFrame(MonoTime now);
  // A stream that had to be refused or reset for a fault of the peer.
  Http2Fault OnBadStream(MonoTime now);
  // A ping of the peer. The rule of grpc-go's keepalive.EnforcementPolicy (without
  // PermitWithoutStream, as etcd runs it): more than kPingStrikesMax pings that come sooner than
  // min_time after the one before, or two hours where no stream is open, are too many. A ping after
  // something of ours is free and forgives: clients measure bandwidth so.
  Http2Fault OnPing(MonoTime now, size_t streams_open);
  // We sent headers or data.
  void OnSent() { sent_since_ping_ = true; }

  // --- keepalive: we ping a peer that has been silent for `interval` ---------

  // Any bytes of the peer: it lives.
  void OnReceived(MonoTime now);
  // Something is due: a ping is to be sent, or the peer has not answered one.
  MonoTime next() const;
  enum class Action : uint8_t { kNothing, kSendPing, kPeerIsGone };
  Action Tick(MonoTime now);

  const KeepaliveOptions& options() const { return options_; }

 private:
  const KeepaliveOptions options_;
  TokenBucket resets_{net_limits::kResetBurst, net_limits::kResetPerSecond};
  TokenBucket settings_{net_limits::kSettingsBurst, net_limits::kSettingsPerSecond};
  TokenBucket empty_frames_{net_limits::kEmptyFrameBurst, net_limits::kEmptyFramePerSecond};
  TokenBucket bad_streams_{net_limits::kBadStreamBurst, net_limits::kBadStreamPerSecond};
  MonoTime last_ping_;
  bool pinged_ = false;
  bool sent_since_ping_ = true;
  int ping_strikes_ = 0;
  MonoTime last_received_;
  MonoTime own_ping_ = MonoTime::Max();  // when ours went out that is unanswered; Max: none
};

}  // namespace metastore::net
