#include "net/peer_outbox.h"

#include <utility>

#include "io/base/check.h"
#include "io/base/coding.h"

namespace metastore::net {
namespace {

constexpr size_t kLengthBytes = sizeof(uint32_t);
constexpr size_t kUrgent = static_cast<size_t>(PeerUrgency::kUrgent);
constexpr size_t kBulk = static_cast<size_t>(PeerUrgency::kBulk);

size_t ContentBytes(const PeerBatch& batch) { return batch.bytes.size() - kPeerFrameHeaderBytes; }

}  // namespace

PeerOutbox::PeerOutbox(size_t bulk_bytes_max) {
  lanes_[kUrgent].bytes_max = kUrgentBytesMax;
  lanes_[kBulk].bytes_max = bulk_bytes_max;
}

PeerBatch PeerOutbox::NewBatch() {
  PeerBatch batch;
  if (!spares_.empty()) {
    batch = std::move(spares_.back());
    spares_.pop_back();
  }
  batch.bytes.assign(kPeerFrameHeaderBytes, '\0');
  batch.messages = 0;
  return batch;
}

bool PeerOutbox::Add(PeerUrgency urgency, absl::FunctionRef<void(std::string&)> encode) {
  Lane& lane = lanes_[static_cast<size_t>(urgency)];
  if (lane.bytes >= lane.bytes_max) return false;
  const bool room = !lane.batches.empty() && ContentBytes(lane.batches.back()) < kFrameBytes;
  PeerBatch& batch = room ? lane.batches.back() : lane.batches.Push(NewBatch());
  const size_t at = batch.bytes.size();
  batch.bytes.append(kLengthBytes, '\0');
  encode(batch.bytes);
  CHECK_GE(batch.bytes.size(), at + kLengthBytes);
  const size_t message_bytes = batch.bytes.size() - at - kLengthBytes;
  CHECK_LE(message_bytes, kMessageBytesMax);
  StoreU32(batch.bytes.data() + at, static_cast<uint32_t>(message_bytes));
  lane.bytes += kLengthBytes + message_bytes;
  ++batch.messages;
  if (ContentBytes(batch) <= kPeerFrameBytesMax) return true;
  // The largest messages fit only alone: this one moves to a frame of its own.
  PeerBatch alone = NewBatch();
  alone.bytes.append(batch.bytes, at);
  alone.messages = 1;
  batch.bytes.resize(at);
  --batch.messages;
  lane.batches.Push(std::move(alone));
  return true;
}

PeerBatch PeerOutbox::Take() {
  CHECK(!empty());
  const bool bulk_turn = urgent_was_last_ && !lanes_[kBulk].batches.empty();
  const bool urgent = !bulk_turn && !lanes_[kUrgent].batches.empty();
  urgent_was_last_ = urgent;
  Lane& lane = lanes_[urgent ? kUrgent : kBulk];
  PeerBatch batch = std::move(lane.batches.front());
  lane.batches.Pop();
  lane.bytes -= ContentBytes(batch);
  return batch;
}

void PeerOutbox::Reuse(PeerBatch batch) {
  if (spares_.size() < kSparesMax && batch.bytes.capacity() <= 2 * kFrameBytes)
    spares_.push_back(std::move(batch));
}

size_t PeerOutbox::Clear() {
  size_t messages = 0;
  while (!empty()) {
    PeerBatch batch = Take();
    messages += batch.messages;
    Reuse(std::move(batch));
  }
  return messages;
}

Status ForEachPeerMessage(std::string_view body,
                          absl::FunctionRef<Status(std::string_view message)> each) {
  Reader in(body);
  while (!in.rest().empty()) {
    const uint32_t message_bytes = in.U32();
    const std::string_view message = in.Bytes(message_bytes);
    if (!in.ok()) return DataLossError("a frame of messages ends within one");
    MS_RETURN_IF_ERROR(each(message));
  }
  return OkStatus();
}

}  // namespace metastore::net
