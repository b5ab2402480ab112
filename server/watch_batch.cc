#include "server/watch_batch.h"

#include <utility>

#include "io/base/check.h"
#include "server/proto_wire.h"

namespace metastore::server {
namespace {

using wire::BeginNested;
using wire::BytesTag;
using wire::KeyValueBytes;
using wire::NestedBytes;
using wire::PutKeyValue;
using wire::PutNumber;
using wire::Signed;
using wire::StringBytes;
using wire::VarintTag;

constexpr uint8_t kEventsField = 11;  // of WatchResponse
// mvccpb.Event's fields, and the value of `type` that is no default.
constexpr uint8_t kTypeField = 1;
constexpr uint8_t kPairField = 2;
constexpr uint8_t kPreviousField = 3;
constexpr int64_t kDelete = 1;

bool Passes(const WatchChange& change, const WatchFilter& filter) {
  if (change.revision < filter.from) return false;
  return !(change.deletion ? filter.no_deletes : filter.no_puts);
}

uint32_t BytesOf(const WatchChange& change, const WatchFilter& filter) {
  return filter.prev_kv ? change.full_bytes : change.plain_bytes;
}

// What this file has encoded itself: malformed is a bug.
engine::KeyValue DecodePair(std::string_view bytes) {
  engine::KeyValue kv;
  Reader in(bytes);
  while (in.ok() && !in.rest().empty()) {
    switch (in.U8()) {
      case BytesTag(1):
        kv.key = io::SharedBytes::Copy(in.LengthPrefixed());
        break;
      case VarintTag(2):
        kv.create_revision = Revision(Signed(in.Varint()));
        break;
      case VarintTag(3):
        kv.mod_revision = Revision(Signed(in.Varint()));
        break;
      case VarintTag(4):
        kv.version = Signed(in.Varint());
        break;
      case BytesTag(5):
        kv.value = io::SharedBytes::Copy(in.LengthPrefixed());
        break;
      case VarintTag(6):
        kv.lease = LeaseId(Signed(in.Varint()));
        break;
      default:
        CHECK_UNREACHABLE();
    }
  }
  CHECK(in.ok());
  return kv;
}

engine::Event DecodeEvent(std::string_view bytes) {
  engine::Event event;
  Reader in(bytes);
  while (in.ok() && !in.rest().empty()) {
    switch (in.U8()) {
      case VarintTag(kTypeField):
        if (Signed(in.Varint()) == kDelete) event.kind = engine::EventKind::kDelete;
        break;
      case BytesTag(kPairField):
        event.kv = DecodePair(in.LengthPrefixed());
        break;
      case BytesTag(kPreviousField):
        event.previous = DecodePair(in.LengthPrefixed());
        break;
      default:
        CHECK_UNREACHABLE();
    }
  }
  CHECK(in.ok());
  return event;
}

}  // namespace

void WatchBatchBuilder::Add(const engine::Event& event) {
  WatchChange& change = changes_.emplace_back();
  change.revision = event.kv.mod_revision;
  change.deletion = event.kind == engine::EventKind::kDelete;
  change.offset = bytes_.size();
  if (change.deletion) PutNumber(bytes_, kTypeField, kDelete);
  const size_t pair_bytes = KeyValueBytes(event.kv);
  const std::string_view key = event.kv.key.view();
  change.key_bytes = static_cast<uint32_t>(key.size());
  PutKeyValue(bytes_, kPairField, event.kv, pair_bytes);
  change.plain_bytes = static_cast<uint32_t>(bytes_.size() - change.offset);
  // The key is the pair's first field.
  const size_t behind_key = pair_bytes - StringBytes(key);
  change.key_offset = static_cast<uint32_t>(change.plain_bytes - behind_key - key.size());
  if (event.previous.has_value()) {
    PutKeyValue(bytes_, kPreviousField, *event.previous, KeyValueBytes(*event.previous));
  }
  change.full_bytes = static_cast<uint32_t>(bytes_.size() - change.offset);
}

WatchBatch WatchBatchBuilder::Take(Revision first, Revision last) {
  WatchBatch batch{.first = first, .last = last, .bytes = io::SharedBytes::Copy(bytes_)};
  batch.changes = std::exchange(changes_, {});
  constexpr size_t kKeptBytes = size_t{256} << 10;
  if (bytes_.capacity() > kKeptBytes) std::string().swap(bytes_);
  bytes_.clear();
  return batch;
}

WatchBlock MakeBlock(const WatchBatch& batch, std::span<const uint32_t> picked,
                     const WatchFilter& filter) {
  WatchBlock block;
  size_t total = 0;
  for (const uint32_t place : picked) {
    const WatchChange& change = batch.changes[place];
    if (!Passes(change, filter)) continue;
    if (block.count++ == 0) block.first = change.revision;
    block.last = change.revision;
    total += NestedBytes(BytesOf(change, filter));
  }
  if (block.count == 0) return block;
  std::string bytes;
  bytes.reserve(total);
  for (const uint32_t place : picked) {
    const WatchChange& change = batch.changes[place];
    if (!Passes(change, filter)) continue;
    const size_t event_bytes = BytesOf(change, filter);
    BeginNested(bytes, kEventsField, event_bytes);
    bytes.append(batch.bytes.view().substr(change.offset, event_bytes));
  }
  block.events = io::SharedBytes::Copy(bytes);
  return block;
}

size_t FirstEventBytes(std::string_view events) {
  Reader in(events);
  CHECK_EQ(in.U8(), BytesTag(kEventsField));
  in.LengthPrefixed();
  CHECK(in.ok());
  return events.size() - in.rest().size();
}

std::vector<engine::Event> DecodeBlock(std::string_view events) {
  std::vector<engine::Event> decoded;
  while (!events.empty()) {
    const size_t bytes = FirstEventBytes(events);
    Reader in(events.substr(0, bytes));
    in.U8();
    decoded.push_back(DecodeEvent(in.LengthPrefixed()));
    events.remove_prefix(bytes);
  }
  return decoded;
}

}  // namespace metastore::server
