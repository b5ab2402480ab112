// The nodes of KeyTree: sorted slots that are searched by common prefix and eight-byte heads.
//
// Invariants, of each node
//  1. Its first prefix_bytes bytes are the same for all its keys (not always the longest such
//  prefix).
//  2. heads[i] is the next eight bytes of key i, big-endian, zero-padded: heads ascend, and where
//  they tie the keys decide.
#pragma once

#include <cstdint>
#include <new>
#include <string_view>

#include "engine/key_record.h"

namespace metastore::engine {

// A separator, owned by the inner node it is in.
struct KeyText {
  uint32_t bytes = 0;

  std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), bytes}; }
  static KeyText* New(std::string_view text);
  static void Delete(KeyText* text) { ::operator delete(text); }
};

// The shortest text above `below` and not above `from`; below < from.
KeyText* ShortestSeparator(std::string_view below, std::string_view from);

struct TreeSearch {
  uint32_t slot = 0;   // of the first key >= the one searched
  bool exact = false;  // it is that key
};

struct TreeNode {
  static constexpr uint32_t kSlots = 64;
  static constexpr uint32_t kPrefixMax = 48;

  uint32_t count = 0;  // keys: records of a leaf, separators of an inner node
  uint32_t prefix_bytes = 0;
  uint64_t heads[kSlots];
  char prefix[kPrefixMax];

  bool full() const { return count == kSlots; }
  std::string_view prefix_view() const { return {prefix, prefix_bytes}; }
  void VerifyHeads(bool leaf) const;

 protected:
  // The part that leaves and inner nodes share; `keys(i)` is key i.
  template <typename Keys>
  TreeSearch SearchKeys(std::string_view key, const Keys& keys) const;
  // Makes room in heads at `slot` for `key`, which will be there; shortens the prefix for it if
  // need be.
  template <typename Keys>
  void InsertHead(uint32_t slot, std::string_view key, const Keys& keys);
  void RemoveHead(uint32_t slot);
  // Takes the longest prefix the keys have; recomputes the heads if that is longer.
  template <typename Keys>
  void Refresh(const Keys& keys);
  template <typename Keys>
  void SetPrefix(std::string_view text, const Keys& keys);
};

struct TreeLeaf final : TreeNode {
  uint64_t live = 0;  // bit i: record i counts
  TreeLeaf* next = nullptr;
  TreeLeaf* previous = nullptr;
  KeyRecord* records[kSlots];

  TreeSearch Search(std::string_view key) const;
  void InsertRecord(KeyRecord* record, bool counts);  // not full
  void RemoveRecord(uint32_t slot);
  // Moves the records from `cut` on to `right`, which is empty.
  void MoveTail(uint32_t cut, TreeLeaf& right);
};

struct TreeInner final : TreeNode {
  KeyText* separators[kSlots];
  TreeNode* children[kSlots + 1];
  int64_t live[kSlots + 1];  // live keys below each child

  // The child that has, or would have, `key`.
  uint32_t ChildOf(std::string_view key) const;
  // Puts `child` at `at` (at least 1), with `separator`, which it takes, before it.
  void InsertChild(uint32_t at, KeyText* separator, TreeNode* child, int64_t live_below);
  // Forgets child `at`, freed by the caller, and a separator beside it; there is one.
  void RemoveChild(uint32_t at);
  // Moves what is behind separator `cut` to `right`, which is empty, and returns that separator.
  KeyText* MoveTail(uint32_t cut, TreeInner& right);
  int64_t LiveSum() const;
};

}  // namespace metastore::engine
