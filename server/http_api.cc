#include "server/http_api.h"

#include <algorithm>

#include "io/log.h"

namespace metastore::server {
namespace {

// A probe must answer before its asker gives up.
constexpr Duration kProbeTimeout = Seconds(2);

constexpr std::string_view kRepairReason =
    "REPAIR: the log was damaged; this member takes no part in elections until it has everything "
    "from the leader again";

net::HttpResponse Json(int status, std::string body) {
  return {.status = status, .content_type = "application/json", .body = std::move(body)};
}

net::HttpResponse HealthPage(std::string_view reason) {
  const bool healthy = reason.empty();
  return Json(healthy ? 200 : 503, Concat("{\"health\":\"", healthy ? "true" : "false",
                                          "\",\"reason\":", io::JsonString(reason), "}"));
}

}  // namespace

io::Task<net::HttpResponse> HttpApi::Handle(net::HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") co_return net::HttpError(405);
  if (request.path == "/health") {
    net::HttpResponse response = co_await Health(request);
    ++(response.status == 200 ? health_successes_ : health_failures_);
    co_return response;
  }
  if (request.path == "/livez" || request.path == "/readyz") {
    net::HttpResponse response = co_await Probe(request, request.path == "/readyz");
    co_return response;
  }
  if (request.path == "/version") {
    co_return Json(200, Concat("{\"etcdserver\":\"", kEtcdVersion, "\",\"etcdcluster\":\"",
                               kEtcdClusterVersion, "\",\"storage\":\"", kEtcdClusterVersion,
                               "\",\"metastore\":\"", kMetaStoreVersion, "\"}"));
  }
  if (request.path == "/metrics") {
    std::string text = co_await node_.MetricsText(edge_.runtime());
    co_return net::HttpResponse{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                                .body = std::move(text)};
  }
  co_return net::HttpError(404);
}

void HttpApi::AddMetrics(io::MetricList& list) const {
  list.Counter("etcd_server_health_success", "Answers of /health that were healthy.",
               health_successes_);
  list.Counter("etcd_server_health_failures", "Answers of /health that were not.",
               health_failures_);
}

io::Task<net::HttpResponse> HttpApi::Health(const net::HttpRequest& request) {
  const std::vector<std::string> excluded = request.QueryValues("exclude");
  const std::vector<std::string> serializable = request.QueryValues("serializable");
  GroupStatus status;
  LookCall look(edge_.runtime(), edge_.state(), [&] { status = edge_.group().status(); });
  const bool arrived = co_await look;
  if (!arrived) co_return HealthPage("RANGE ERROR:etcdserver: too many requests");
  const bool no_space = status.quota_exceeded || status.log_full;
  if (no_space && std::ranges::find(excluded, "NOSPACE") == excluded.end()) {
    co_return HealthPage("ALARM NOSPACE");
  }
  const std::string corrupt = CorruptReason(status.digest);
  if (!corrupt.empty() && std::ranges::find(excluded, "CORRUPT") == excluded.end()) {
    co_return HealthPage(Concat("ALARM CORRUPT: ", corrupt));
  }
  if (status.repair_term != Term()) co_return HealthPage(kRepairReason);
  const bool local = !serializable.empty() && serializable.front() == "true";
  if (!local && status.leader == raft::kNobody) co_return HealthPage("RAFT NO LEADER");
  const std::string error = co_await TryRead(local);
  co_return HealthPage(error.empty() ? "" : Concat("RANGE ERROR:", error));
}

io::Task<net::HttpResponse> HttpApi::Probe(const net::HttpRequest& request, bool linearizable) {
  struct Check {
    std::string_view name;
    bool serializable;
  };
  std::vector<Check> checks = {{"serializable_read", true}};
  if (linearizable) checks.push_back({"linearizable_read", false});
  const std::vector<std::string> excluded = request.QueryValues("exclude");
  const bool verbose = !request.QueryValues("verbose").empty();
  std::string lines;
  bool ok = true;
  const auto note = [&](std::string_view name, std::string_view error) {
    ok = ok && error.empty();
    lines += error.empty() ? Concat("[+]", name, " ok\n")
                           : Concat("[-]", name, " failed: ", error, "\n");
  };
  const auto is_excluded = [&](std::string_view name) {
    return std::ranges::find(excluded, name) != excluded.end();
  };
  if (linearizable && !is_excluded("data_corruption")) {
    GroupStatus status;
    LookCall look(edge_.runtime(), edge_.state(), [&] { status = edge_.group().status(); });
    const bool arrived = co_await look;
    note("data_corruption",
         arrived ? CorruptReason(status.digest) : std::string(errors::kTooManyRequests.message));
  }
  for (const Check& check : checks) {
    if (is_excluded(check.name)) continue;
    const std::string error = co_await TryRead(check.serializable);
    note(check.name, error);
  }
  net::HttpResponse response{.status = ok ? 200 : 503};
  response.body = ok && !verbose ? "ok\n" : lines + (ok ? "ok\n" : "failed\n");
  co_return response;
}

io::Task<std::string> HttpApi::TryRead(bool serializable) {
  ReadCall call(edge_.runtime(), edge_.state().core(), edge_.group());
  call.terms.deadline = edge_.runtime().Now() + kProbeTimeout;
  call.serializable = serializable;
  call.query.range = engine::RangeOp{.key = "health", .limit = 1, .keys_only = true};
  const bool arrived = co_await call;
  if (!arrived) co_return std::string(errors::kTooManyRequests.message);
  if (!call.result.ok()) co_return std::string(StdView(call.result.status().message()));
  co_return std::string();
}

}  // namespace metastore::server
