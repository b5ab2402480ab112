#include "net/http2_guard.h"

#include <utility>

namespace metastore::net {
namespace {

constexpr Duration kIdlePingInterval = Seconds(7200);

Http2Fault Spend(TokenBucket& bucket, MonoTime now, Http2Fault fault) {
  return bucket.Take(now) ? Http2Fault::kNone : fault;
}

}  // namespace

Http2Fault Http2Guard::OnReset(MonoTime now) {
  return Spend(resets_, now, Http2Fault::kResetFlood);
}
Http2Fault Http2Guard::OnSettings(MonoTime now) {
  return Spend(settings_, now, Http2Fault::kSettingsFlood);
}
Http2Fault Http2Guard::OnEmptyFrame(MonoTime now) {
  return Spend(empty_frames_, now, Http2Fault::kEmptyFrameFlood);
}
Http2Fault Http2Guard::OnBadStream(MonoTime now) {
  return Spend(bad_streams_, now, Http2Fault::kBadStreamFlood);
}

Http2Fault Http2Guard::OnPing(MonoTime now, size_t streams_open) {
  const MonoTime last = std::exchange(last_ping_, now);
  const bool first = !std::exchange(pinged_, true);
  if (std::exchange(sent_since_ping_, false)) {
    ping_strikes_ = 0;
    return Http2Fault::kNone;
  }
  const Duration interval = streams_open > 0 ? options_.min_time : kIdlePingInterval;
  if (!first && now < last + interval) ++ping_strikes_;
  return ping_strikes_ > net_limits::kPingStrikesMax ? Http2Fault::kPingFlood : Http2Fault::kNone;
}

void Http2Guard::OnReceived(MonoTime now) {
  last_received_ = now;
  own_ping_ = MonoTime::Max();
}

MonoTime Http2Guard::next() const {
  if (own_ping_ != MonoTime::Max()) return own_ping_ + options_.timeout;
  return last_received_ + options_.interval;
}

Http2Guard::Action Http2Guard::Tick(MonoTime now) {
  if (now < next()) return Action::kNothing;
  if (own_ping_ != MonoTime::Max()) return Action::kPeerIsGone;
  own_ping_ = now;
  return Action::kSendPing;
}

}  // namespace metastore::net
