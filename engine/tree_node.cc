#include "engine/tree_node.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "io/base/check.h"

namespace metastore::engine {
namespace {

// The first eight bytes as a number that orders as they do; missing ones are zero.
uint64_t HeadOf(std::string_view rest) {
  uint64_t head = 0;
  if (rest.empty()) return head;  // its data may be null
  std::memcpy(&head, rest.data(), std::min(rest.size(), sizeof head));
  return __builtin_bswap64(head);
}

uint32_t CommonBytes(std::string_view a, std::string_view b) {
  const size_t limit = std::min(a.size(), b.size());
  size_t same = 0;
  while (same < limit && a[same] == b[same]) ++same;
  return static_cast<uint32_t>(same);
}

template <typename T>
void OpenSlot(T* array, uint32_t slot, uint32_t count, T value) {
  std::copy_backward(array + slot, array + count, array + count + 1);
  array[slot] = value;
}

template <typename T>
void CloseSlot(T* array, uint32_t slot, uint32_t count) {
  std::copy(array + slot + 1, array + count, array + slot);
}

struct LeafKeys {
  KeyRecord* const* records;
  std::string_view operator()(uint32_t i) const { return records[i]->key(); }
};
struct InnerKeys {
  KeyText* const* separators;
  std::string_view operator()(uint32_t i) const { return separators[i]->view(); }
};

}  // namespace

KeyText* KeyText::New(std::string_view text) {
  void* memory = ::operator new(sizeof(KeyText) + text.size());
  auto* made = new (memory) KeyText;
  made->bytes = static_cast<uint32_t>(text.size());
  std::char_traits<char>::copy(reinterpret_cast<char*>(made + 1), text.data(), text.size());
  return made;
}

KeyText* ShortestSeparator(std::string_view below, std::string_view from) {
  CHECK_LT(below, from);
  return KeyText::New(from.substr(0, CommonBytes(below, from) + 1));
}

template <typename Keys>
TreeSearch TreeNode::SearchKeys(std::string_view key, const Keys& keys) const {
  const int prefix_order = key.substr(0, prefix_bytes).compare(prefix_view());
  if (prefix_order != 0) return {prefix_order < 0 ? 0 : count, false};
  const std::string_view rest = key.substr(prefix_bytes);
  const uint64_t head = HeadOf(rest);
  auto slot = static_cast<uint32_t>(std::lower_bound(heads, heads + count, head) - heads);
  if (slot == count || heads[slot] != head) return {slot, false};
  auto end = static_cast<uint32_t>(std::upper_bound(heads + slot, heads + count, head) - heads);
  while (slot < end) {
    const uint32_t middle = slot + (end - slot) / 2;
    const int order = keys(middle).substr(prefix_bytes).compare(rest);
    if (order == 0) return {middle, true};
    if (order < 0) {
      slot = middle + 1;
    } else {
      end = middle;
    }
  }
  return {slot, false};
}

template <typename Keys>
void TreeNode::SetPrefix(std::string_view text, const Keys& keys) {
  prefix_bytes = static_cast<uint32_t>(text.size());
  std::memmove(prefix, text.data(), text.size());
  for (uint32_t i = 0; i < count; ++i) heads[i] = HeadOf(keys(i).substr(prefix_bytes));
}

template <typename Keys>
void TreeNode::InsertHead(uint32_t slot, std::string_view key, const Keys& keys) {
  if (count == 0) {
    SetPrefix(key.substr(0, kPrefixMax), keys);
  } else if (const uint32_t common = CommonBytes(key, prefix_view()); common < prefix_bytes) {
    SetPrefix(prefix_view().substr(0, common), keys);
  }
  OpenSlot(heads, slot, count, HeadOf(key.substr(prefix_bytes)));
}

void TreeNode::RemoveHead(uint32_t slot) { CloseSlot(heads, slot, count); }

template <typename Keys>
void TreeNode::Refresh(const Keys& keys) {
  if (count == 0) return;
  const uint32_t common = std::min(CommonBytes(keys(0), keys(count - 1)), kPrefixMax);
  if (common > prefix_bytes) SetPrefix(keys(0).substr(0, common), keys);
}

void TreeNode::VerifyHeads(bool leaf) const {
  CHECK_LE(count, kSlots);
  for (uint32_t i = 0; i < count; ++i) {
    const std::string_view key =
        leaf ? LeafKeys{static_cast<const TreeLeaf*>(this)->records}(i)
             : InnerKeys{static_cast<const TreeInner*>(this)->separators}(i);
    CHECK_EQ(key.substr(0, prefix_bytes), prefix_view());
    CHECK_EQ(heads[i], HeadOf(key.substr(prefix_bytes)));
  }
}

TreeSearch TreeLeaf::Search(std::string_view key) const {
  return SearchKeys(key, LeafKeys{records});
}

void TreeLeaf::InsertRecord(KeyRecord* record, bool counts) {
  CHECK(!full());
  const TreeSearch found = Search(record->key());
  CHECK(!found.exact);
  const uint32_t slot = found.slot;
  InsertHead(slot, record->key(), LeafKeys{records});
  OpenSlot(records, slot, count, record);
  const uint64_t low = live & ((uint64_t{1} << slot) - 1);
  const uint64_t high = slot == 63 ? 0 : (live >> slot) << (slot + 1);
  live = low | high | (counts ? uint64_t{1} << slot : 0);
  ++count;
}

void TreeLeaf::RemoveRecord(uint32_t slot) {
  RemoveHead(slot);
  CloseSlot(records, slot, count);
  const uint64_t low = live & ((uint64_t{1} << slot) - 1);
  const uint64_t high = slot == 63 ? 0 : (live >> (slot + 1)) << slot;
  live = low | high;
  --count;
}

void TreeLeaf::MoveTail(uint32_t cut, TreeLeaf& right) {
  CHECK_EQ(right.count, 0u);
  if (cut == count) return;
  right.count = count - cut;
  std::copy(records + cut, records + count, right.records);
  std::copy(heads + cut, heads + count, right.heads);
  right.prefix_bytes = prefix_bytes;
  std::memcpy(right.prefix, prefix, prefix_bytes);
  right.live = live >> cut;  // cut < count <= 64
  live &= (uint64_t{1} << cut) - 1;
  count = cut;
  Refresh(LeafKeys{records});
  right.Refresh(LeafKeys{right.records});
}

uint32_t TreeInner::ChildOf(std::string_view key) const {
  const TreeSearch found = SearchKeys(key, InnerKeys{separators});
  return found.slot + (found.exact ? 1 : 0);
}

void TreeInner::InsertChild(uint32_t at, KeyText* separator, TreeNode* child, int64_t live_below) {
  CHECK(!full());
  CHECK_GE(at, 1u);
  InsertHead(at - 1, separator->view(), InnerKeys{separators});
  OpenSlot(separators, at - 1, count, separator);
  OpenSlot(children, at, count + 1, child);
  OpenSlot(live, at, count + 1, live_below);
  ++count;
}

void TreeInner::RemoveChild(uint32_t at) {
  CHECK_GT(count, 0u);
  const uint32_t separator = at == 0 ? 0 : at - 1;
  KeyText::Delete(separators[separator]);
  RemoveHead(separator);
  CloseSlot(separators, separator, count);
  CloseSlot(children, at, count + 1);
  CloseSlot(live, at, count + 1);
  --count;
}

KeyText* TreeInner::MoveTail(uint32_t cut, TreeInner& right) {
  CHECK_LT(cut, count);
  KeyText* separator = separators[cut];
  right.count = count - cut - 1;
  std::copy(separators + cut + 1, separators + count, right.separators);
  std::copy(heads + cut + 1, heads + count, right.heads);
  std::copy(children + cut + 1, children + count + 1, right.children);
  std::copy(live + cut + 1, live + count + 1, right.live);
  right.prefix_bytes = prefix_bytes;
  std::memcpy(right.prefix, prefix, prefix_bytes);
  count = cut;
  Refresh(InnerKeys{separators});
  right.Refresh(InnerKeys{right.separators});
  return separator;
}

int64_t TreeInner::LiveSum() const {
  int64_t sum = 0;
  for (uint32_t i = 0; i <= count; ++i) sum += live[i];
  return sum;
}

}  // namespace metastore::engine
