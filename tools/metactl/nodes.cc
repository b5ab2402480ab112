// metactl status, health and metrics: what nodes say of themselves over HTTP.

#include <algorithm>
#include <cstdio>

#include "io/log.h"
#include "tools/metactl/commands.h"
#include "tools/metactl/http_client.h"
#include "tools/metactl/node_report.h"
#include "tools/metactl/prometheus_text.h"

namespace metastore::metactl {
namespace {

void Print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int Failed(const Status& status) {
  Complain(std::string(status.message()));
  return kExitFailed;
}

// A page that every node serves with `http_status`.
StatusOr<std::string> GetPage(HttpClient& client, std::string_view path) {
  StatusOr<Page> page = client.Get(path);
  if (!page.ok()) return page.status();
  // An unhealthy node's /health is a 503 with a body.
  if (page->http_status == 200 || path == "/health") return std::move(page->body);
  return FailedPreconditionError(client.endpoint(), path, ": HTTP ", page->http_status,
                                 ": is this the client port of a MetaStore server?");
}

StatusOr<NodeReport> Look(HttpClient& client) {
  NodePages pages;
  StatusOr<std::string> version = GetPage(client, "/version");
  if (!version.ok()) return version.status();
  pages.version = *std::move(version);
  StatusOr<std::string> health = GetPage(client, "/health");
  if (!health.ok()) return health.status();
  pages.health = *std::move(health);
  StatusOr<std::string> metrics = GetPage(client, "/metrics");
  if (!metrics.ok()) return metrics.status();
  pages.metrics = *std::move(metrics);
  return MakeReport(client.endpoint(), pages);
}

// Runs `one` for each endpoint and gives the worst exit code.
template <typename One>
int ForEachNode(const NodesRequest& request, One one) {
  int worst = kExitOk;
  for (const std::string& endpoint : request.endpoints) {
    HttpClient client(endpoint, request.timeout_ms);
    worst = std::max(worst, one(client));
  }
  return worst;
}

}  // namespace

void Complain(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "metactl: %s\n", message.c_str());
}

int RunStatus(const NodesRequest& request) {
  return ForEachNode(request, [&](HttpClient& client) {
    const StatusOr<NodeReport> report = Look(client);
    if (!report.ok()) return Failed(report.status());
    Print(request.json ? ReportJson(*report) : ReportText(*report));
    return report->healthy && !report->no_space ? kExitOk : kExitBad;
  });
}

int RunHealth(const NodesRequest& request) {
  return ForEachNode(request, [&](HttpClient& client) {
    const StatusOr<Page> page = client.Get("/health");
    if (!page.ok()) return Failed(page.status());
    const StatusOr<std::string> health = JsonField(page->body, "health");
    if (!health.ok() || (*health != "true" && *health != "false")) {
      return Failed(FailedPreconditionError(client.endpoint(), "/health: HTTP ", page->http_status,
                                            ": not a MetaStore server's page"));
    }
    const bool healthy = *health == "true";
    const std::string reason = JsonField(page->body, "reason").value_or("");
    const auto micros = static_cast<int64_t>(page->seconds * 1e6);
    if (request.json) {
      Print(Concat("{",
                   io::JsonFields({{"endpoint", client.endpoint()},
                                   {"healthy", healthy},
                                   {"reason", reason},
                                   {"took_us", micros}}),
                   "}\n"));
    } else {
      Print(Concat(client.endpoint(), " ", healthy ? "healthy" : Concat("UNHEALTHY: ", reason),
                   " (", micros, " us)\n"));
    }
    return healthy ? kExitOk : kExitBad;
  });
}

int RunMetrics(const NodesRequest& request) {
  return ForEachNode(request, [&](HttpClient& client) {
    const StatusOr<std::string> page = GetPage(client, "/metrics");
    if (!page.ok()) return Failed(page.status());
    const StatusOr<MetricsText> parsed = MetricsText::Parse(*page);
    if (!parsed.ok()) {
      return Failed(Annotate(parsed.status(), Concat(client.endpoint(), "/metrics")));
    }
    const std::string lines = LinesOf(*page, request.match);
    if (lines.empty()) {
      Complain(Concat(client.endpoint(), ": no metric begins with ", request.match));
      return kExitBad;
    }
    if (request.endpoints.size() > 1) Print(Concat("# ", client.endpoint(), "\n"));
    Print(lines);
    return kExitOk;
  });
}

}  // namespace metastore::metactl
