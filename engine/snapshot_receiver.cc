#include "engine/snapshot_receiver.h"

#include <algorithm>
#include <utility>

#include "engine/snapshot_store.h"
#include "io/base/check.h"

namespace metastore::engine {

SnapshotReceiver::SnapshotReceiver(io::Runtime& runtime, SnapshotStore& store,
                                   std::unique_ptr<io::File> file, SnapshotFile facts)
    : runtime_(runtime), store_(store), facts_(std::move(facts)) {
  writer_.emplace(runtime, std::move(file));
}

SnapshotReceiver::~SnapshotReceiver() {
  if (writer_.has_value()) Leave(DataLossError(facts_.path, ": an unfinished snapshot"));
}

// The file is no longer this one's.
void SnapshotReceiver::Leave(Status damage) {
  writer_.reset();
  store_.receiving_.reset();
  if (!damage.ok()) store_.AddUnfinished(facts_.path, std::move(damage));
}

// A stream of another snapshot must be refused before raft hears of it, and before most of it was
// sent.
Status SnapshotReceiver::CheckHead(std::string_view bytes) {
  if (head_checked_) return OkStatus();
  const uint64_t wanted = std::min<uint64_t>(kSnapshotHeadBytes, facts_.stream_bytes);
  head_ += bytes.substr(0, static_cast<size_t>(wanted) - head_.size());
  if (head_.size() < wanted) return OkStatus();
  head_checked_ = true;
  return CheckSnapshotHead(std::exchange(head_, {}), facts_);
}

io::Task<Status> SnapshotReceiver::Add(std::string_view bytes) {
  CHECK(writer_.has_value());
  if (bytes.size() > facts_.stream_bytes - writer_->stream_bytes()) {
    co_return DataLossError(facts_.path, ": more came than the ", facts_.stream_bytes,
                            " bytes of the snapshot");
  }
  const Status checked = CheckHead(bytes);
  MS_CO_RETURN_IF_ERROR(checked);
  const Status added = co_await writer_->Add(bytes);
  co_return added;
}

io::Task<StatusOr<SnapshotFile>> SnapshotReceiver::Finish() {
  CHECK(writer_.has_value());
  const Status ended = co_await writer_->EndStream();
  MS_CO_RETURN_IF_ERROR(ended);
  if (writer_->stream_bytes() != facts_.stream_bytes) {
    co_return DataLossError(facts_.path, ": only ", writer_->stream_bytes(), " bytes came of ",
                            facts_.stream_bytes);
  }
  if (writer_->stream_hash() != facts_.stream_hash) {
    co_return DataLossError(facts_.path, ": what came is not the snapshot that was announced");
  }
  const Status valid = co_await writer_->WriteTrailer(facts_);
  MS_CO_RETURN_IF_ERROR(valid);
  const Status named = co_await runtime_.SyncDirectory(store_.directory_);
  MS_CO_RETURN_IF_ERROR(named);
  Leave(OkStatus());
  store_.AddFile(facts_);
  co_return facts_;
}

io::Task<void> SnapshotReceiver::Abandon() {
  CHECK(writer_.has_value());
  writer_.reset();
  const Status removed = co_await runtime_.RemoveFile(facts_.path);
  Leave(removed);
}

}  // namespace metastore::engine
