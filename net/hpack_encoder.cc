#include "net/hpack_encoder.h"

#include <algorithm>
#include <utility>

namespace metastore::net {
namespace {

constexpr size_t kStaticEntries = 61;       // RFC 7541 appendix A
constexpr size_t kEntryOverheadBytes = 32;  // RFC 7541 4.1
constexpr uint8_t kIndexed = 0x80;          // 6.1, 7 bits of index
constexpr uint8_t kWithIndexing = 0x40;     // 6.2.1, 6 bits
constexpr uint8_t kWithoutIndexing = 0;     // 6.2.2, 4 bits
constexpr uint8_t kSizeUpdate = 0x20;       // 6.3, 5 bits

struct StaticEntry {
  std::string_view name;
  std::string_view value;
  size_t index;
};
// Of the static table, what answers are made of.
constexpr std::array<StaticEntry, 5> kStatic = {{{":status", "200", 8},
                                                 {":status", "400", 12},
                                                 {":status", "404", 13},
                                                 {":status", "500", 14},
                                                 {"content-type", "", 31}}};

// RFC 7541 5.1.
void AppendInteger(std::string& to, uint8_t first, unsigned prefix_bits, size_t value) {
  const size_t mask = (size_t{1} << prefix_bits) - 1;
  if (value < mask) {
    to.push_back(static_cast<char>(first | value));
    return;
  }
  to.push_back(static_cast<char>(first | mask));
  for (value -= mask; value >= 0x80; value >>= 7)
    to.push_back(static_cast<char>(0x80 | (value & 0x7f)));
  to.push_back(static_cast<char>(value));
}

void AppendString(std::string& to, std::string_view text) {
  AppendInteger(to, 0, 7, text.size());
  to.append(text);
}

// Whole in the static table, or at least its name; else null.
const StaticEntry* FindStatic(const Http2Header& header) {
  const StaticEntry* name_only = nullptr;
  for (const StaticEntry& entry : kStatic) {
    if (entry.name != header.name) continue;
    if (entry.value == header.value) return &entry;
    name_only = &entry;
  }
  return name_only;
}

void AppendLiteral(std::string& to, const Http2Header& header, const StaticEntry* known,
                   bool with_indexing) {
  const uint8_t first = with_indexing ? kWithIndexing : kWithoutIndexing;
  AppendInteger(to, first, with_indexing ? 6 : 4, known == nullptr ? 0 : known->index);
  if (known == nullptr) AppendString(to, header.name);
  AppendString(to, header.value);
}

bool WholeInStatic(const StaticEntry* known, const Http2Header& header) {
  return known != nullptr && known->value == header.value && !header.value.empty();
}

}  // namespace

void HpackEncoder::SetTableSize(uint32_t smallest, uint32_t last) {
  const uint32_t size = std::min(last, kTableBytesDefault);
  if (smallest >= table_bytes_max_ && size == table_bytes_max_) return;
  table_bytes_max_ = size;
  entries_count_ = 0;
  table_bytes_ = 0;
  update_due_ = true;
  ++table_version_;
}

std::string HpackEncoder::TakeTableUpdate() {
  std::string update;
  if (!std::exchange(update_due_, false)) return update;
  // Down to nothing, which is below any size the peer has named in between, and up again.
  AppendInteger(update, kSizeUpdate, 5, 0);
  if (table_bytes_max_ > 0) AppendInteger(update, kSizeUpdate, 5, table_bytes_max_);
  return update;
}

std::string_view HpackEncoder::EncodeFixed(const Http2FixedHeaders& headers) {
  for (const Kept& kept : kept_) {
    if (kept.headers == &headers && kept.table_version == table_version_)
      return {kept.block.data(), kept.bytes};
  }
  scratch_.clear();
  const uint32_t version = table_version_;
  for (const Http2Header& header : headers.list) AppendFixed(header);
  if (version == table_version_) Keep(headers);
  return scratch_;
}

void HpackEncoder::AppendFixed(const Http2Header& header) {
  const StaticEntry* known = FindStatic(header);
  if (WholeInStatic(known, header)) return AppendInteger(scratch_, kIndexed, 7, known->index);
  for (size_t i = 0; i < entries_count_; ++i) {
    if (entries_[i].name != header.name || entries_[i].value != header.value) continue;
    return AppendInteger(scratch_, kIndexed, 7, kStaticEntries + entries_count_ - i);
  }
  AppendLiteral(scratch_, header, known, Insert(header));
}

// False: the table has no room, and nothing is ever evicted.
bool HpackEncoder::Insert(const Http2Header& header) {
  const size_t bytes = header.name.size() + header.value.size() + kEntryOverheadBytes;
  if (entries_count_ == kEntriesMax || table_bytes_ + bytes > table_bytes_max_) return false;
  entries_[entries_count_++] = header;
  table_bytes_ += bytes;
  ++table_version_;
  return true;
}

void HpackEncoder::Keep(const Http2FixedHeaders& headers) {
  if (scratch_.size() > kKeptBytesMax) return;
  const auto old = std::find_if(kept_.begin(), kept_.end(),
                                [&headers](const Kept& kept) { return kept.headers == &headers; });
  Kept& kept = old != kept_.end() ? *old : kept_[kept_next_++ % kKeptMax];
  kept.headers = &headers;
  kept.table_version = table_version_;
  kept.bytes = scratch_.size();
  std::copy(scratch_.begin(), scratch_.end(), kept.block.begin());
}

void HpackEncoder::AppendLiterals(std::string& block, std::span<const Http2Header> headers) {
  for (const Http2Header& header : headers) {
    const StaticEntry* known = FindStatic(header);
    if (WholeInStatic(known, header)) {
      AppendInteger(block, kIndexed, 7, known->index);
    } else {
      AppendLiteral(block, header, known, false);
    }
  }
}

}  // namespace metastore::net
