// Vectors of entries and of messages that are used again: with them a proposal in steady state
// allocates nothing but the bytes of its payload.
//
// Owner: RaftCore (buffers()); same core. The core takes the vectors of a Ready from here, and of
// the messages that were stepped gives back those itself; the pump gives back what it is done with,
// or not, and takes from here the entries of messages that it decodes.
//
// Bounds: kVectorsMax of each kind, each of at most kItemsMax items; what is more is freed.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "raft/message.h"
#include "raft/ready.h"
#include "raft/types.h"

namespace metastore::raft {

class Buffers final {
 public:
  static constexpr size_t kVectorsMax = 64;
  static constexpr size_t kItemsMax = 4096;

  // Empty, with the room it had before.
  std::vector<Entry> TakeEntries() { return Take(entries_); }
  std::vector<Message> TakeMessages() { return Take(messages_); }

  // What is in them is dropped at once; messages give their entries back too.
  void Give(std::vector<Entry>&& entries) { Keep(entries_, entries); }
  void Give(std::vector<Message>&& messages) {
    for (Message& message : messages) Keep(entries_, message.entries);
    Keep(messages_, messages);
  }
  void Give(AppendTask&& task) {
    Keep(entries_, task.entries);
    Give(std::move(task.after_durable));
  }
  void Give(ApplyTask&& task) { Keep(entries_, task.entries); }

  size_t kept() const { return entries_.size() + messages_.size(); }

 private:
  template <typename T>
  static std::vector<T> Take(std::vector<std::vector<T>>& kept) {
    if (kept.empty()) return {};
    std::vector<T> vector = std::move(kept.back());
    kept.pop_back();
    return vector;
  }
  template <typename T>
  static void Keep(std::vector<std::vector<T>>& kept, std::vector<T>& vector) {
    if (vector.capacity() == 0) return;
    vector.clear();
    if (vector.capacity() > kItemsMax || kept.size() == kVectorsMax) return;
    kept.push_back(std::move(vector));
  }

  std::vector<std::vector<Entry>> entries_;
  std::vector<std::vector<Message>> messages_;
};

}  // namespace metastore::raft
