#include "net/hpack_decoder.h"

#include <nghttp2/nghttp2.h>

#include "io/base/check.h"

namespace metastore::net {
namespace {

constexpr size_t kHeaderOverheadBytes = 32;  // RFC 9113 6.5.2
constexpr size_t kFloodFactor = 4;  // times the limit: no longer one stream's problem but an attack
constexpr size_t kListBytesKept = 4096;  // memory of a large list is not kept
constexpr size_t kHeadersKept =
    kListBytesKept / kHeaderOverheadBytes;    // nor of one of many headers
constexpr size_t kBlockRememberedMax = 1024;  // and its block is not remembered
constexpr uint64_t kStaticEntries = 61;       // RFC 7541 appendix A

// RFC 7541 5.1; leaves `block` after the integer. Of a broken one: anything, with `block` empty.
uint64_t TakeInteger(std::string_view& block, unsigned prefix_bits) {
  const uint64_t mask = (1U << prefix_bits) - 1;
  uint64_t value = static_cast<uint8_t>(block.front()) & mask;
  block.remove_prefix(1);
  if (value < mask) return value;
  for (unsigned shift = 0; !block.empty() && shift <= 28; shift += 7) {
    const auto byte = static_cast<uint8_t>(block.front());
    block.remove_prefix(1);
    value += uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  block = {};
  return value;
}

void SkipString(std::string_view& block) {
  if (block.empty()) return;
  const uint64_t bytes = TakeInteger(block, 7);
  block.remove_prefix(std::min<uint64_t>(bytes, block.size()));
}

std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

void HeaderList::Clear() {
  bytes.clear();
  sizes.clear();
  headers.clear();
  if (bytes.capacity() > kListBytesKept) std::string().swap(bytes);
  if (sizes.capacity() > kHeadersKept) {
    std::vector<std::pair<size_t, size_t>>().swap(sizes);
    std::vector<Http2Header>().swap(headers);
  }
  list_bytes = 0;
  facts = RequestFacts();
  malformed = false;
}

TableUse TableUseOf(std::string_view block) {
  TableUse use;
  while (!block.empty()) {
    const auto first = static_cast<uint8_t>(block.front());
    if ((first & 0x80) != 0) {  // RFC 7541 6.1: an indexed header
      use.reads = TakeInteger(block, 7) > kStaticEntries || use.reads;
      continue;
    }
    // 6.2.1: with incremental indexing; 6.3: size update.
    if ((first & 0xe0) != 0) return TableUse{.reads = use.reads, .changes = true};
    const uint64_t name = TakeInteger(block, 4);  // 6.2.2 and 6.2.3: literals
    use.reads = name > kStaticEntries || use.reads;
    if (name == 0) SkipString(block);
    SkipString(block);
  }
  return use;
}

HeaderDecoder::HeaderDecoder() { CHECK_EQ(nghttp2_hd_inflate_new(&inflater_), 0); }

HeaderDecoder::~HeaderDecoder() { nghttp2_hd_inflate_del(inflater_); }

HeaderDecoder::Known HeaderDecoder::Find(std::string_view block) {
  for (Entry& entry : entries_) {
    if (entry.number == 0 || entry.block != block) continue;
    if (entry.reads_table && entry.table_version != table_version_) continue;
    entry.used = true;
    return Known{.list = &entry.list, .number = entry.number};
  }
  return Known{};
}

void HeaderDecoder::Begin(HeaderRules* rules) {
  rules_ = rules;
  list_.Clear();
  ++table_version_;  // until it is known better
}

HeaderDecoder::Result HeaderDecoder::Decode(std::string_view bytes, bool last) {
  auto* in = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t left = bytes.size();
  while (true) {
    nghttp2_nv header;
    int flags = 0;
    const ssize_t taken =
        nghttp2_hd_inflate_hd2(inflater_, &header, &flags, in, left, last ? 1 : 0);
    if (taken < 0) return Result::kBroken;
    in += taken;
    left -= static_cast<size_t>(taken);
    const bool emitted = (flags & NGHTTP2_HD_INFLATE_EMIT) != 0;
    if (emitted && !Add(View(header.name, header.namelen), View(header.value, header.valuelen))) {
      return Result::kFlood;
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    if (!emitted && left == 0) return Result::kOk;
  }
  nghttp2_hd_inflate_end_headers(inflater_);
  return Result::kOk;
}

const HeaderList& HeaderDecoder::Finish(std::string_view block) {
  HeaderList& list = Remember(block);
  const std::string_view text = list.bytes;
  size_t at = 0;
  for (const auto& [name_bytes, value_bytes] : list.sizes) {
    list.headers.push_back(Http2Header{.name = text.substr(at, name_bytes),
                                       .value = text.substr(at + name_bytes, value_bytes)});
    at += name_bytes + value_bytes;
  }
  return list;
}

bool HeaderDecoder::Add(std::string_view name, std::string_view value) {
  if (rules_ == nullptr || list_.malformed) return true;
  list_.malformed = !rules_->Check(name, value);
  if (list_.malformed) return true;
  list_.list_bytes += name.size() + value.size() + kHeaderOverheadBytes;
  if (list_.too_large()) return list_.list_bytes <= kFloodFactor * net_limits::kHeaderListBytesMax;
  list_.bytes.append(name).append(value);
  list_.sizes.emplace_back(name.size(), value.size());
  return true;
}

// Where the list under way is from now on.
HeaderList& HeaderDecoder::Remember(std::string_view block) {
  if (block.empty() || block.size() > kBlockRememberedMax) return list_;
  if (list_.malformed || list_.list_bytes > kListBytesKept) return list_;
  const TableUse use = TableUseOf(block);
  if (use.changes) return list_;
  --table_version_;  // it did not change after all
  Entry& entry = Evict();
  entry.block = block;
  std::swap(entry.list, list_);
  entry.number = ++numbers_;
  entry.table_version = table_version_;
  entry.reads_table = use.reads;
  return entry.list;
}

HeaderDecoder::Entry& HeaderDecoder::Evict() {
  while (std::exchange(entries_[hand_].used, false)) hand_ = (hand_ + 1) % kEntries;
  Entry& entry = entries_[hand_];
  hand_ = (hand_ + 1) % kEntries;
  return entry;
}

}  // namespace metastore::net
