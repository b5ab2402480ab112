#include "engine/key_tree.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "engine/tree_node.h"
#include "io/base/check.h"

namespace metastore::engine {
namespace {

TreeInner* AsInner(TreeNode* node) { return static_cast<TreeInner*>(node); }
TreeLeaf* AsLeaf(TreeNode* node) { return static_cast<TreeLeaf*>(node); }

// Divides the full child `at` of `inner`, which has room. `appending`: `key` is beyond everything
// in the tree, so the new sibling begins empty and the old one stays full, as keys in ascending
// order will have it.
void SplitLeafChild(TreeInner* inner, uint32_t at, std::string_view key, bool appending) {
  TreeLeaf* left = AsLeaf(inner->children[at]);
  auto* right = new TreeLeaf;
  const uint32_t cut = appending ? left->count : left->count / 2;
  const std::string_view first = appending ? key : left->records[cut]->key();
  KeyText* separator = ShortestSeparator(left->records[cut - 1]->key(), first);
  left->MoveTail(cut, *right);
  right->next = left->next;
  right->previous = left;
  if (right->next != nullptr) right->next->previous = right;
  left->next = right;
  inner->live[at] = std::popcount(left->live);
  inner->InsertChild(at + 1, separator, right, std::popcount(right->live));
}

void SplitInnerChild(TreeInner* inner, uint32_t at, bool appending) {
  TreeInner* left = AsInner(inner->children[at]);
  auto* right = new TreeInner;
  const uint32_t cut = appending ? left->count - 1 : left->count / 2;
  KeyText* separator = left->MoveTail(cut, *right);
  inner->live[at] = left->LiveSum();
  inner->InsertChild(at + 1, separator, right, right->LiveSum());
}

void FreeNode(TreeNode* node, int height) {
  if (height == 0) {
    delete AsLeaf(node);
    return;
  }
  TreeInner* inner = AsInner(node);
  for (uint32_t i = 0; i <= inner->count; ++i) FreeNode(inner->children[i], height - 1);
  for (uint32_t i = 0; i < inner->count; ++i) KeyText::Delete(inner->separators[i]);
  delete inner;
}

struct Bounds {
  const KeyText* low = nullptr;
  const KeyText* high = nullptr;
};

int64_t VerifyNode(const TreeNode* node, int height, Bounds bounds, size_t& records) {
  node->VerifyHeads(height == 0);
  if (height == 0) {
    const auto* leaf = static_cast<const TreeLeaf*>(node);
    for (uint32_t i = 0; i < leaf->count; ++i) {
      const std::string_view key = leaf->records[i]->key();
      if (i > 0) CHECK_LT(leaf->records[i - 1]->key(), key);
      if (bounds.low != nullptr) CHECK_GE(key, bounds.low->view());
      if (bounds.high != nullptr) CHECK_LT(key, bounds.high->view());
      CHECK_EQ(leaf->records[i]->live(), ((leaf->live >> i) & 1) != 0);
    }
    records += leaf->count;
    return std::popcount(leaf->live);
  }
  const auto* inner = static_cast<const TreeInner*>(node);
  int64_t live = 0;
  for (uint32_t i = 0; i <= inner->count; ++i) {
    Bounds child = bounds;
    if (i > 0) child.low = inner->separators[i - 1];
    if (i < inner->count) child.high = inner->separators[i];
    const int64_t below = VerifyNode(inner->children[i], height - 1, child, records);
    CHECK_EQ(below, inner->live[i]);
    live += below;
  }
  return live;
}

}  // namespace

KeyRecord* KeyTree::Cursor::record() const {
  return leaf_ == nullptr ? nullptr : leaf_->records[slot_];
}

void KeyTree::Cursor::Next() {
  CHECK(leaf_ != nullptr);
  if (++slot_ < leaf_->count) {
    if (slot_ + 2 < leaf_->count) __builtin_prefetch(leaf_->records[slot_ + 2]);
    return;
  }
  slot_ = 0;
  leaf_ = leaf_->next;  // only a root leaf is empty
}

KeyTree::KeyTree() : root_(new TreeLeaf) {}

KeyTree::~KeyTree() { FreeNode(root_, height_); }

TreeLeaf* KeyTree::Descend(std::string_view key, Path& path) const {
  TreeNode* node = root_;
  for (int level = height_; level > 0; --level) {
    TreeInner* inner = AsInner(node);
    const uint32_t child = inner->ChildOf(key);
    path.steps[path.depth++] = {inner, child};
    node = inner->children[child];
  }
  return AsLeaf(node);
}

void KeyTree::SplitRoot(std::string_view key) {
  CHECK_LT(height_, Path::kDepthMax);
  auto* root = new TreeInner;
  root->children[0] = root_;
  root->live[0] = live_;
  if (height_ == 0) {
    const TreeLeaf* leaf = AsLeaf(root_);
    SplitLeafChild(root, 0, key, leaf->records[leaf->count - 1]->key() < key);
  } else {
    SplitInnerChild(root, 0, false);
  }
  root_ = root;
  ++height_;
}

// Divides full nodes on the way down, so that a parent always has room.
TreeLeaf* KeyTree::DescendForInsert(const KeyRecord* record, bool live) {
  const std::string_view key = record->key();
  if (root_->full()) SplitRoot(key);
  TreeNode* node = root_;
  bool rightmost = true;
  for (int level = height_; level > 0; --level) {
    TreeInner* inner = AsInner(node);
    uint32_t child = inner->ChildOf(key);
    rightmost = rightmost && child == inner->count;
    if (inner->children[child]->full()) {
      if (level > 1) {
        SplitInnerChild(inner, child, rightmost);
      } else {
        const TreeLeaf* leaf = AsLeaf(inner->children[child]);
        SplitLeafChild(inner, child, key, rightmost && leaf->records[leaf->count - 1]->key() < key);
      }
      child = inner->ChildOf(key);
    }
    inner->live[child] += live ? 1 : 0;
    node = inner->children[child];
  }
  return AsLeaf(node);
}

void KeyTree::Insert(KeyRecord* record, bool live) {
  TreeLeaf* leaf = DescendForInsert(record, live);
  leaf->InsertRecord(record, live);
  ++size_;
  live_ += live ? 1 : 0;
}

void KeyTree::SetLive(const KeyRecord* record, bool live) {
  const int64_t change = live ? 1 : -1;
  Path path;
  TreeLeaf* leaf = Descend(record->key(), path);
  const TreeSearch found = leaf->Search(record->key());
  CHECK(found.exact);
  const uint64_t bit = uint64_t{1} << found.slot;
  CHECK_NE((leaf->live & bit) != 0, live);
  leaf->live ^= bit;
  for (int i = 0; i < path.depth; ++i) path.steps[i].inner->live[path.steps[i].child] += change;
  live_ += change;
}

void KeyTree::Remove(const KeyRecord* record) {
  Path path;
  TreeLeaf* leaf = Descend(record->key(), path);
  const TreeSearch found = leaf->Search(record->key());
  CHECK(found.exact);
  CHECK_EQ((leaf->live >> found.slot) & 1, 0u);
  leaf->RemoveRecord(found.slot);
  --size_;
  if (leaf->count == 0 && height_ > 0) RemoveLeaf(leaf, path);
}

size_t KeyTree::TakeFirst(KeyRecord** records) {
  static_assert(kTakenMax == TreeNode::kSlots);
  Path path;
  TreeLeaf* leaf = Descend({}, path);
  const uint32_t count = std::exchange(leaf->count, 0);
  std::copy(leaf->records, leaf->records + count, records);
  const int64_t live = std::popcount(std::exchange(leaf->live, 0));
  for (int i = 0; i < path.depth; ++i) path.steps[i].inner->live[path.steps[i].child] -= live;
  size_ -= count;
  live_ -= live;
  if (height_ > 0) RemoveLeaf(leaf, path);
  return count;
}

void KeyTree::RemoveLeaf(TreeLeaf* leaf, Path& path) {
  if (leaf->previous != nullptr) leaf->previous->next = leaf->next;
  if (leaf->next != nullptr) leaf->next->previous = leaf->previous;
  delete leaf;
  // An inner node that loses its only child goes too.
  for (int i = path.depth - 1; i >= 0; --i) {
    TreeInner* inner = path.steps[i].inner;
    if (inner->count > 0) {
      inner->RemoveChild(path.steps[i].child);
      break;
    }
    CHECK_GT(i, 0);
    delete inner;
  }
  CollapseRoot();
}

void KeyTree::CollapseRoot() {
  while (height_ > 0 && root_->count == 0) {
    TreeInner* inner = AsInner(root_);
    root_ = inner->children[0];
    delete inner;
    --height_;
  }
}

KeyTree::Cursor KeyTree::Seek(std::string_view key) const {
  Path path;
  Cursor cursor;
  cursor.leaf_ = Descend(key, path);
  cursor.slot_ = static_cast<uint32_t>(cursor.leaf_->Search(key).slot);
  if (cursor.slot_ < cursor.leaf_->count) return cursor;
  cursor.slot_ = 0;
  cursor.leaf_ = cursor.leaf_->next;
  return cursor;
}

int64_t KeyTree::LiveBelow(std::string_view key) const {
  int64_t below = 0;
  TreeNode* node = root_;
  for (int level = height_; level > 0; --level) {
    TreeInner* inner = AsInner(node);
    const uint32_t child = inner->ChildOf(key);
    for (uint32_t i = 0; i < child; ++i) below += inner->live[i];
    node = inner->children[child];
  }
  const TreeLeaf* leaf = AsLeaf(node);
  const uint32_t slot = leaf->Search(key).slot;
  const uint64_t mask = slot >= 64 ? ~uint64_t{0} : (uint64_t{1} << slot) - 1;
  return below + std::popcount(leaf->live & mask);
}

int64_t KeyTree::LiveIn(std::string_view key, std::string_view range_end) const {
  if (range_end.empty()) {
    const KeyRecord* record = Seek(key).record();
    return record != nullptr && record->key() == key && record->live() ? 1 : 0;
  }
  if (range_end == std::string_view("\0", 1)) return live_ - LiveBelow(key);
  if (key >= range_end) return 0;
  return LiveBelow(range_end) - LiveBelow(key);
}

void KeyTree::Verify() const {
  size_t records = 0;
  CHECK_EQ(VerifyNode(root_, height_, {}, records), live_);
  CHECK_EQ(records, size_);
}

}  // namespace metastore::engine
