// etcdserverpb.Watch: one stream, whose watchers a WatchSession has.
//
// Requests are carried out one by one, in the stream's own task; a second task writes what the
// session delivers. Whichever ends first interrupts the other.

#include <utility>

#include "rpc.pb.h"
#include "server/authorise.h"
#include "server/method_table.h"
#include "server/watch_session.h"
#include "server/watch_table.h"
#include "server/watch_wire.h"

namespace metastore::server {
namespace {

constexpr std::string_view kPermissionDenied =
    "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

WatchSpec SpecOf(const etcdserverpb::WatchCreateRequest& request) {
  WatchSpec spec{.key = request.key(),
                 .range_end = request.range_end(),
                 .start = Revision(request.start_revision()),
                 .id = request.watch_id(),
                 .prev_kv = request.prev_kv(),
                 .progress_notify = request.progress_notify(),
                 .fragment = request.fragment()};
  if (spec.key.empty()) spec.key.push_back('\0');
  for (const int filter : request.filters()) {
    if (filter == etcdserverpb::WatchCreateRequest::NOPUT) spec.no_puts = true;
    if (filter == etcdserverpb::WatchCreateRequest::NODELETE) spec.no_deletes = true;
  }
  return spec;
}

class WatchStream final {
 public:
  WatchStream(Edge& edge, net::GrpcStream& stream)
      : edge_(edge), stream_(stream), session_(edge.watches()), gate_(edge.runtime().scheduler()) {}

  io::Task<Status> Serve() {
    if (edge_.TermsOf(stream_.request()).require_leader) {
      Status led = co_await session_.RequireLeader();
      MS_CO_RETURN_IF_ERROR(led);
    }
    gate_.Start("watch.write", io::ReadyClass::kClient, WriteLoop());
    Status read = co_await ReadLoop();
    stop_.RequestStop();
    stream_.Interrupt();
    co_await gate_.Close();
    // Why the server ended it comes first: it is what interrupted the reading.
    co_return ended_.ok() ? read : ended_;
  }

 private:
  // Ends with OK when the client has half-closed.
  io::Task<Status> ReadLoop() {
    while (true) {
      StatusOr<std::optional<std::string>> message = co_await stream_.Read();
      if (!message.ok() || !message->has_value()) co_return message.status();
      etcdserverpb::WatchRequest request;
      if (!request.ParseFromString(**message)) {
        co_return InternalError("grpc: error unmarshalling request: malformed ",
                                request.GetTypeName());
      }
      Status handled = co_await Handle(request);
      MS_CO_RETURN_IF_ERROR(handled);
      const io::WaitResult room =
          co_await session_.WaitRoom(io::WaitLimit{.stop = stream_.request().cancelled});
      if (room == io::WaitResult::kStopped) co_return ToStatus(errors::kWatchCanceled);
    }
  }

  io::Task<Status> Handle(const etcdserverpb::WatchRequest& request) {
    if (request.has_create_request()) {
      Status created = co_await Create(request.create_request());
      co_return created;
    }
    if (request.has_cancel_request()) {
      session_.Cancel(request.cancel_request().watch_id());
    } else if (request.has_progress_request()) {
      Status asked = co_await session_.RequestProgress();
      co_return asked;
    }
    co_return OkStatus();
  }

  io::Task<Status> Create(const etcdserverpb::WatchCreateRequest& request) {
    WatchSpec spec = SpecOf(request);
    const Access access{Permission::kRead, spec.key, spec.range_end};
    const Status permitted = Authorise(PrincipalOf(stream_.request()), access);
    if (!permitted.ok()) {
      Status told = co_await session_.Refuse(kPermissionDenied);
      co_return told;
    }
    StatusOr<int64_t> id = co_await session_.Create(std::move(spec));
    co_return id.status();
  }

  io::Task<void> WriteLoop() {
    const io::WaitLimit limit{.stop = stop_.token()};
    Status written;
    while (written.ok()) {
      StatusOr<WatchDelivery> next = co_await session_.Next(limit);
      if (!next.ok()) {
        if (!stop_.stopped()) ended_ = next.status();
        break;
      }
      WatchMessages messages(edge_.HeaderOf(next->revision, edge_.watches().term()), *next,
                             fragment_bytes_);
      while (written.ok() && !messages.done()) {
        written = co_await stream_.Write(messages.Next());
      }
    }
    if (!written.ok() && !stop_.stopped()) ended_ = written;
    stream_.Interrupt();
  }

  Edge& edge_;
  net::GrpcStream& stream_;
  // etcd's: a client's largest request, and what it allows beside.
  const size_t fragment_bytes_ = edge_.config().request.request_bytes_max + 512 * limits::kKiB;
  WatchSession session_;
  Status ended_;  // by the server, or a broken connection
  io::StopSource stop_;
  io::Gate gate_;
};

io::Task<Status> Watch(Edge& edge, net::GrpcStream& stream) {
  WatchStream watch(edge, stream);
  Status ended = co_await watch.Serve();
  co_return ended;
}

constexpr StreamMethod kStreams[] = {{"/etcdserverpb.Watch/Watch", Watch}};

}  // namespace

std::span<const StreamMethod> WatchStreams() { return kStreams; }

}  // namespace metastore::server
