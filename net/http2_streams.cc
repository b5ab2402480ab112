#include "net/http2_streams.h"

#include <utility>

#include "io/base/check.h"

namespace metastore::net {
namespace {

constexpr size_t kSlotsMin = 16;
constexpr size_t kFreeStreamsMax = 64;  // objects kept for reuse a connection

}  // namespace

QueuedAnswer& ServerStream::Queue() {
  if (queue == nullptr) queue = std::make_unique<QueuedAnswer>();
  return *queue;
}

Http2Streams::~Http2Streams() {
  CHECK_EQ(made_, size_t{0});
  for (ServerStream* stream : free_) delete stream;
}

ServerStream& Http2Streams::Open(int32_t id) {
  ServerStream* stream = nullptr;
  if (free_.empty()) {
    stream = new ServerStream;
  } else {
    stream = free_.back();
    free_.pop_back();
  }
  ++made_;
  stream->id = id;
  if ((count_ + 1) * 2 > slots_.size()) Grow();
  Insert(*stream);
  ++count_;
  last_ = stream;
  return *stream;
}

ServerStream* Http2Streams::Find(int32_t id) {
  if (last_ != nullptr && last_->id == id) return last_;
  if (count_ == 0) return nullptr;
  for (size_t slot = Home(id); slots_[slot] != nullptr; slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot]->id == id) return last_ = slots_[slot];
  }
  return nullptr;
}

void Http2Streams::Close(ServerStream& stream) {
  CHECK(!std::exchange(stream.gone, true));
  if (last_ == &stream) last_ = nullptr;
  const size_t mask = slots_.size() - 1;
  size_t hole = Home(stream.id);
  while (slots_[hole] != &stream) hole = (hole + 1) & mask;
  // Those after it move up where their home allows, so that no search stops at the hole.
  for (size_t slot = (hole + 1) & mask; slots_[slot] != nullptr; slot = (slot + 1) & mask) {
    const size_t from_home = (slot - Home(slots_[slot]->id)) & mask;
    if (from_home < ((slot - hole) & mask)) continue;
    slots_[hole] = slots_[slot];
    hole = slot;
  }
  slots_[hole] = nullptr;
  --count_;
}

void Http2Streams::Free(ServerStream& stream) {
  CHECK(stream.gone);
  stream.Unlink();
  --made_;
  if (free_.size() == kFreeStreamsMax) {
    delete &stream;
    return;
  }
  stream.user = nullptr;
  stream.headers_number = 0;
  stream.facts = RequestFacts();
  stream.received = 0;
  stream.remote_ended = stream.answering = stream.ending = false;
  stream.gone = stream.reset_due = false;
  stream.close_code = Http2Code::kNoError;
  stream.queue.reset();
  free_.push_back(&stream);
}

std::vector<ServerStream*> Http2Streams::All() const {
  std::vector<ServerStream*> all;
  for (ServerStream* stream : slots_) {
    if (stream != nullptr) all.push_back(stream);
  }
  return all;
}

size_t Http2Streams::SearchLength(int32_t id) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = Home(id);
  size_t length = 1;
  for (; slots_[slot] != nullptr && slots_[slot]->id != id; slot = (slot + 1) & mask) ++length;
  return length;
}

void Http2Streams::Insert(ServerStream& stream) {
  size_t slot = Home(stream.id);
  while (slots_[slot] != nullptr) slot = (slot + 1) & (slots_.size() - 1);
  slots_[slot] = &stream;
}

void Http2Streams::Grow() {
  std::vector<ServerStream*> old(std::max(kSlotsMin, slots_.size() * 2));
  old.swap(slots_);
  for (ServerStream* stream : old) {
    if (stream != nullptr) Insert(*stream);
  }
}

}  // namespace metastore::net
