// Peers: questions about leases, to the leader and from other members.

#include <utility>

#include "server/group.h"
#include "server/lease_rpc.h"
#include "server/member_rpc.h"
#include "server/peers.h"

namespace metastore::server {
namespace {

// Of a question from another member; that asks again.
constexpr Duration kAnswerTimeout = Seconds(5);

}  // namespace

io::Task<StatusOr<std::string>> Peers::AskLeases(NodeId leader, std::string questions) {
  CHECK(!lease_line_.asking);
  lease_line_.asking = true;
  lease_line_.ended = stop_.stopped();
  if (lease_line_.to != leader) lease_line_.stream.reset();
  lease_line_.to = leader;
  StatusOr<std::string> answer = UnavailableError("no line to the leader");
  if (lease_line_.stream != nullptr) answer = co_await AskOnLine(questions);
  // One that was idle is closed by the other side.
  if (!answer.ok() && !lease_line_.ended) {
    lease_line_.stop = std::make_unique<io::StopSource>();
    StatusOr<std::unique_ptr<net::PeerStream>> stream =
        co_await DialMember(leader, net::PeerStreamKind::kMembers, lease_line_.stop->token());
    if (stream.ok()) {
      lease_line_.stream = *std::move(stream);
      answer = co_await AskOnLine(std::move(questions));
    } else {
      answer = stream.status();
    }
  }
  lease_line_.asking = false;
  co_return answer;
}

// A stream that does not answer is given up.
io::Task<StatusOr<std::string>> Peers::AskOnLine(std::string questions) {
  StatusOr<std::string> answer =
      co_await AskMember(*lease_line_.stream, MemberRpc::kLeases, std::move(questions));
  if (!answer.ok()) lease_line_.stream.reset();
  co_return answer;
}

void Peers::EndAskLeases() {
  lease_line_.ended = true;
  if (lease_line_.stop != nullptr) lease_line_.stop->RequestStop();
  if (!lease_line_.asking) lease_line_.stream.reset();
}

io::Task<Status> Peers::AnswerLeases(net::PeerStream& stream, std::string_view questions) {
  if (stream.hello().from == NodeId()) co_return PermissionDeniedError("only members may ask this");
  StatusOr<std::vector<LeaseQuestion>> asked = DecodeLeaseQuestions(questions);
  MS_CO_RETURN_IF_ERROR(asked.status());
  LeaseCall call(runtime_, runtime_.core(), group_->leases());
  call.terms.deadline = runtime_.Now() + kAnswerTimeout;
  call.questions = *std::move(asked);
  call.forwarded = true;
  const bool arrived = co_await call;
  if (!arrived) call.Fail(errors::kTooManyRequests);
  const std::string reply = EncodeLeaseReply({call.result, std::move(call.answers)});
  Status sent = co_await stream.Send(static_cast<uint16_t>(MemberRpc::kLeases), reply);
  co_return sent;
}

}  // namespace metastore::server
