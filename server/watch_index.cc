#include "server/watch_index.h"

#include <utility>

#include "io/base/check.h"
#include "io/base/hash.h"

namespace metastore::server {
namespace {

void Fill(WatchRange& range, std::string_view key, std::string_view range_end) {
  range.bounds.reserve(key.size() + range_end.size());
  range.bounds.append(key).append(range_end);
  range.key_bytes = static_cast<uint32_t>(key.size());
}

}  // namespace

WatchIndex::WatchIndex(uint64_t seed) : seed_(seed) {}

WatchIndex::~WatchIndex() { CHECK_EQ(ranges_count(), 0u); }

bool WatchIndex::EndsLater(const WatchRange& a, const WatchRange& b) {
  if (IsOpen(b.range_end())) return false;
  return IsOpen(a.range_end()) || a.range_end() > b.range_end();
}

int WatchIndex::Order(std::string_view key, std::string_view range_end, const WatchRange& range) {
  const int keys = key.compare(range.key());
  return keys != 0 ? keys : range_end.compare(range.range_end());
}

void WatchIndex::Update(Node& node) {
  node.last = &node;
  for (const Node* child : {node.left.get(), node.right.get()}) {
    if (child != nullptr && EndsLater(child->last->range, node.last->range))
      node.last = child->last;
  }
}

// The left child comes above `link`'s node.
void WatchIndex::RotateRight(Link& link) {
  Link up = std::move(link->left);
  link->left = std::move(up->right);
  Update(*link);
  up->right = std::move(link);
  link = std::move(up);
  Update(*link);
}

void WatchIndex::RotateLeft(Link& link) {
  Link up = std::move(link->right);
  link->right = std::move(up->left);
  Update(*link);
  up->left = std::move(link);
  link = std::move(up);
  Update(*link);
}

void WatchIndex::Insert(Link& link, Link node) {
  if (link == nullptr) {
    link = std::move(node);
    return Update(*link);
  }
  const bool left = Order(node->range.key(), node->range.range_end(), link->range) < 0;
  Insert(left ? link->left : link->right, std::move(node));
  const Link& child = left ? link->left : link->right;
  if (child->priority <= link->priority) return Update(*link);
  left ? RotateRight(link) : RotateLeft(link);
}

void WatchIndex::Erase(Link& link, const WatchRange& range) {
  CHECK(link != nullptr);
  if (&link->range == &range) return Sink(link);
  const bool left = Order(range.key(), range.range_end(), link->range) < 0;
  Erase(left ? link->left : link->right, range);
  Update(*link);
}

// Takes the node down until it has no children, and frees it.
void WatchIndex::Sink(Link& link) {
  if (link->left == nullptr || link->right == nullptr) {
    Link rest = std::move(link->left != nullptr ? link->left : link->right);
    link = std::move(rest);
    return;
  }
  if (link->left->priority > link->right->priority) {
    RotateRight(link);
    Sink(link->right);
  } else {
    RotateLeft(link);
    Sink(link->left);
  }
  Update(*link);
}

WatchRange& WatchIndex::Take(std::string_view key, std::string_view range_end) {
  CHECK(range_end.empty() || IsOpen(range_end) || key < range_end);
  if (range_end.empty()) {
    const auto found = singles_.find(key);
    if (found != singles_.end()) {
      ++found->second->watchers_count;
      return *found->second;
    }
    auto range = std::make_unique<WatchRange>();
    Fill(*range, key, range_end);
    WatchRange& single = *range;
    singles_.emplace(single.key(), std::move(range));
    single.watchers_count = 1;
    return single;
  }
  for (Node* node = root_.get(); node != nullptr;) {
    const int order = Order(key, range_end, node->range);
    if (order == 0) {
      ++node->range.watchers_count;
      return node->range;
    }
    node = order < 0 ? node->left.get() : node->right.get();
  }
  auto node = std::make_unique<Node>();
  Fill(node->range, key, range_end);
  node->range.watchers_count = 1;
  node->priority = Hash64(node->range.bounds, seed_ + key.size());
  WatchRange& span = node->range;
  Insert(root_, std::move(node));
  ++spans_count_;
  return span;
}

void WatchIndex::Give(WatchRange& range) {
  if (--range.watchers_count > 0) return;
  CHECK(range.synced.empty() && range.passing.empty());
  if (range.range_end().empty()) {
    CHECK_EQ(singles_.erase(range.key()), 1u);
    return;
  }
  Erase(root_, range);
  --spans_count_;
}

}  // namespace metastore::server
