#include "server/propose.h"

#include <utility>

#include "server/kv_codec.h"

namespace metastore::server {

io::Task<WriteResult> Propose(Edge& edge, const net::GrpcRequest& request, Write write) {
  if (write.command.size() > edge.config().request.request_bytes_max) {
    co_return ToStatus(errors::kRequestTooLarge);
  }
  ProposeCall call(edge.runtime(), edge.state().core(), edge.group());
  call.terms = write.terms.has_value() ? *write.terms : edge.TermsOf(request);
  call.id = write.id;
  call.command = std::move(write.command);
  call.op = write.op;
  call.quota_cost_bytes = write.quota_cost_bytes;
  if (edge.stages().Measures(request)) call.stages = StageTimes{.began = edge.runtime().Now()};
  const bool arrived = co_await call;
  if (!arrived) co_return ToStatus(errors::kTooManyRequests);
  if (!call.result.ok()) co_return std::move(call.result);
  const engine::Outcome outcome = call.result->applied.outcome;
  if (outcome != engine::Outcome::kOk) co_return ToStatus(ErrorOf(outcome));
  if (call.stages.has_value()) edge.stages().Keep(request, *call.stages);
  co_return std::move(call.result);
}

}  // namespace metastore::server
