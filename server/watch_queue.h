// DeliveryQueue: what one WatchSession has for its holder and that was not yet taken, in order.
#pragma once

#include <deque>
#include <utility>

#include "server/watch_delivery.h"
#include "server/watch_index.h"

namespace metastore::server {

class DeliveryQueue final {
 public:
  static size_t BytesOf(const WatchDelivery& delivery) {
    return sizeof(Item) + delivery.events.size();
  }

  bool empty() const { return items_.empty(); }
  size_t bytes() const { return bytes_; }
  // Queued, that are no events.
  size_t answers_count() const { return answers_; }
  size_t events_count() const { return events_; }

  // `owner`: whom the bytes count for; null: nobody.
  void Push(WatchDelivery delivery, Watcher* owner) {
    const size_t bytes = BytesOf(delivery);
    bytes_ += bytes;
    events_ += delivery.events_count;
    if (owner == nullptr) ++answers_;
    if (owner != nullptr) owner->queued_bytes += static_cast<uint32_t>(bytes);
    items_.push_back({std::move(delivery), owner, owner == nullptr});
  }
  // The first, which there is, and its owner.
  std::pair<WatchDelivery, Watcher*> Pop() {
    Item item = std::move(items_.front());
    items_.pop_front();
    const size_t bytes = BytesOf(item.delivery);
    bytes_ -= bytes;
    events_ -= item.delivery.events_count;
    if (item.answer) --answers_;
    if (item.owner != nullptr) item.owner->queued_bytes -= static_cast<uint32_t>(bytes);
    return {std::move(item.delivery), item.owner};
  }
  // `owner` goes; what is queued for it stays.
  void Disown(Watcher& owner) {
    if (owner.queued_bytes == 0) return;
    for (Item& item : items_) {
      if (item.owner == &owner) item.owner = nullptr;
    }
    owner.queued_bytes = 0;
  }
  void Clear() {
    items_.clear();
    bytes_ = answers_ = events_ = 0;
  }

 private:
  struct Item {
    WatchDelivery delivery;
    Watcher* owner = nullptr;
    bool answer = false;
  };

  std::deque<Item> items_;
  size_t bytes_ = 0;
  size_t answers_ = 0;
  size_t events_ = 0;
};

}  // namespace metastore::server
