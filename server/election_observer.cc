#include "server/election_observer.h"

#include <utility>

#include "server/contest.h"
#include "server/proto_wire.h"

namespace metastore::server {

std::string EncodeLeader(const WireHeader& header, const engine::KeyValue& kv) {
  const size_t header_bytes = wire::HeaderBytes(header);
  const size_t kv_bytes = wire::KeyValueBytes(kv);
  std::string message;
  message.reserve(wire::NestedBytes(header_bytes) + wire::NestedBytes(kv_bytes));
  wire::PutHeader(message, header, header_bytes);
  wire::PutKeyValue(message, 2, kv, kv_bytes);
  return message;
}

ElectionObserver::ElectionObserver(Edge& edge, net::GrpcStream& stream, std::string prefix)
    : edge_(edge), stream_(stream), prefix_(std::move(prefix)), end_(ContestEnd(prefix_)) {}

io::Task<Status> ElectionObserver::Run() {
  while (true) {
    StatusOr<ReadTxnAnswer> answer = co_await ReadLeader();
    if (answer.status() == ToStatus(errors::kCompacted)) {
      position_ = Revision();
      continue;
    }
    MS_CO_RETURN_IF_ERROR(answer.status());
    if (position_ == Revision()) position_ = answer->revision;
    term_ = answer->term;
    const engine::KeyValues& first = answer->ranges.front().kvs;
    if (first.empty()) {
      Status found = co_await AwaitCandidate();
      MS_CO_RETURN_IF_ERROR(found);
      continue;
    }
    Status told = co_await Tell(first.front());
    MS_CO_RETURN_IF_ERROR(told);
    Status gone = co_await Follow(std::string(first.front().key.view()));
    MS_CO_RETURN_IF_ERROR(gone);
  }
}

// What is read at a position came by a watcher: this member has it.
io::Task<StatusOr<ReadTxnAnswer>> ElectionObserver::ReadLeader() {
  engine::TxnOp txn;
  txn.success.push_back({FirstContender(prefix_, end_, position_)});
  const bool serializable = position_ != Revision();
  StatusOr<ReadTxnAnswer> answer =
      co_await ReadPatiently(edge_, stream_.request(), txn, serializable);
  co_return answer;
}

io::Task<StatusOr<WatchDelivery>> ElectionObserver::NextOf(WatchSession& session) {
  const io::WaitLimit limit{.stop = stream_.request().cancelled};
  StatusOr<WatchDelivery> next = co_await session.Next(limit);
  const bool refused = next.ok() && next->kind == WatchDelivery::Kind::kRefused;
  if (refused) co_return InternalError(next->reason);
  co_return next;
}

// Until `key` is deleted.
io::Task<Status> ElectionObserver::Follow(std::string key) {
  WatchSession session(edge_.watches());
  WatchSpec spec{.key = std::move(key), .start = position_ + 1};
  StatusOr<int64_t> id = co_await session.Create(std::move(spec));
  MS_CO_RETURN_IF_ERROR(id.status());
  while (true) {
    StatusOr<WatchDelivery> next = co_await NextOf(session);
    MS_CO_RETURN_IF_ERROR(next.status());
    if (next->kind == WatchDelivery::Kind::kCanceled) {
      position_ = Revision();
      co_return OkStatus();
    }
    if (next->kind != WatchDelivery::Kind::kEvents) continue;
    for (const engine::Event& event : EventsOf(*next)) {
      position_ = event.kv.mod_revision;
      if (event.kind == engine::EventKind::kDelete) co_return OkStatus();
      Status told = co_await Tell(event.kv);
      MS_CO_RETURN_IF_ERROR(told);
    }
  }
}

// Until there is a key again.
io::Task<Status> ElectionObserver::AwaitCandidate() {
  WatchSession session(edge_.watches());
  WatchSpec spec{.key = prefix_, .range_end = end_, .start = position_ + 1, .no_deletes = true};
  StatusOr<int64_t> id = co_await session.Create(std::move(spec));
  MS_CO_RETURN_IF_ERROR(id.status());
  while (true) {
    StatusOr<WatchDelivery> next = co_await NextOf(session);
    MS_CO_RETURN_IF_ERROR(next.status());
    const bool compacted = next->kind == WatchDelivery::Kind::kCanceled;
    if (!compacted && next->kind != WatchDelivery::Kind::kEvents) continue;
    position_ = compacted ? Revision() : EventsOf(*next).front().kv.mod_revision;
    co_return OkStatus();
  }
}

// Nothing twice: after a compaction it may meet again what it has told.
io::Task<Status> ElectionObserver::Tell(const engine::KeyValue& kv) {
  if (kv.key.view() == told_key_ && kv.mod_revision == told_) co_return OkStatus();
  told_key_ = std::string(kv.key.view());
  told_ = kv.mod_revision;
  Status written = co_await stream_.Write(EncodeLeader(edge_.HeaderOf(position_, term_), kv));
  co_return written;
}

}  // namespace metastore::server
