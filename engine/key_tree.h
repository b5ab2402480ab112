// KeyTree: the keys in order, with counts of the live ones, so that a range is found, walked and
// counted.
//
// The naive design, a balanced tree of pointers compared key by key, costs a cache miss a
// comparison: 20 of them at a million keys. This is a B+tree whose nodes keep, beside the pointers,
// the common prefix of their keys and the next eight bytes of each as a number, so that a node is
// searched without touching the keys unless those bytes tie. Inner nodes own their separators, cut
// as short as they may be. Each node's parent knows how many live keys are below it: counting a
// range at the latest revision takes two descents.
//
// Updates of existing keys never come here; creating, deleting and re-creating a key does.
//
// Borrows the records; single core.
//
// Invariants
//  1. Every leaf is at the same depth; no node but a leaf that is the root is empty.
//  2. A leaf's keys ascend; child i of an inner node has keys below separator i, child i + 1 keys
//  not below it.
//  3. Nodes are not merged when they become small, only freed when empty.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/key_record.h"

namespace metastore::engine {

class KeyTree final {
 public:
  KeyTree();
  ~KeyTree();  // frees nodes, not records
  KeyTree(const KeyTree&) = delete;
  KeyTree& operator=(const KeyTree&) = delete;

  // A place between keys, at its record; valid until the next Insert or Remove.
  class Cursor {
   public:
    KeyRecord* record() const;  // null at the end
    void Next();

   private:
    friend class KeyTree;
    const struct TreeLeaf* leaf_ = nullptr;
    uint32_t slot_ = 0;
  };

  // Adds a record whose key is absent. `live`: it counts.
  void Insert(KeyRecord* record, bool live);
  // Removes a record that is present (CHECKed) and counted as not live.
  void Remove(const KeyRecord* record);
  // Removes the records with the lowest keys, some of them, counted or not, and writes them to
  // `records`, which has room for kTakenMax. How many: 0 if there is none.
  static constexpr size_t kTakenMax = 64;
  size_t TakeFirst(KeyRecord** records);
  // The present record begins or ceases to count; it did not, or did.
  void SetLive(const KeyRecord* record, bool live);

  // At the first key >= `key`.
  Cursor Seek(std::string_view key) const;
  // Live keys below `key`.
  int64_t LiveBelow(std::string_view key) const;
  // Live keys in the range, by etcd's rule for range_end (engine/command.h).
  int64_t LiveIn(std::string_view key, std::string_view range_end) const;
  int64_t live_count() const { return live_; }
  size_t size() const { return size_; }

  // CHECKs every invariant; for tests, linear.
  void Verify() const;

 private:
  struct Step {
    struct TreeInner* inner;
    uint32_t child;
  };
  struct Path {
    static constexpr int kDepthMax = 16;
    Step steps[kDepthMax];
    int depth = 0;
  };

  TreeLeaf* Descend(std::string_view key, Path& path) const;
  TreeLeaf* DescendForInsert(const KeyRecord* record, bool live);
  void SplitRoot(std::string_view key);
  void RemoveLeaf(TreeLeaf* leaf, Path& path);
  void CollapseRoot();

  struct TreeNode* root_;
  int height_ = 0;  // inner levels above the leaves
  int64_t live_ = 0;
  size_t size_ = 0;
};

// Whether `key` is below the end of the range that begins at `begin` (engine/command.h,
// "range_end").
inline bool BeforeRangeEnd(std::string_view key, std::string_view begin,
                           std::string_view range_end) {
  if (range_end.empty()) return key == begin;
  if (range_end == std::string_view("\0", 1)) return true;
  return key < range_end;
}

}  // namespace metastore::engine
