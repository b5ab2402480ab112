// NodeRing: the flush ring (wal/flush_ring.h) of the node that runs on a log. It is found through
// /proc: the process that has both the ring and one of the log's files open. Needs the node's user,
// or root.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "io/base/status.h"
#include "wal/flush_ring.h"

namespace metastore::walinspect {

class NodeRing final {
 public:
  // Errors: kNotFound            no node runs on the log in `directory`
  //         kInvalidArgument     there is no such directory
  //         kUnavailable         the node is just starting
  //         kPermissionDenied    perhaps one does, but not for this user to see
  //         kFailedPrecondition  its ring has another format: node and tool differ in version
  static StatusOr<std::unique_ptr<NodeRing>> Find(const std::string& directory);
  // The file at `path` as a ring. Errors: as Find, and kNotFound without one.
  static StatusOr<std::unique_ptr<NodeRing>> Map(const std::string& path);
  ~NodeRing();
  NodeRing(const NodeRing&) = delete;
  NodeRing& operator=(const NodeRing&) = delete;

  const wal::FlushRingReader& ring() const { return *ring_; }
  int process() const { return process_; }
  // The node has not ended yet.
  bool Alive() const;

 private:
  NodeRing(void* data, size_t bytes) : data_(data), bytes_(bytes) {}

  void* const data_;
  const size_t bytes_;
  std::optional<wal::FlushRingReader> ring_;
  int process_ = 0;
  std::string link_;  // the ring among its descriptors
};

// Of the files in the log's directory.
StatusOr<std::set<uint64_t>> LogInodes(const std::string& directory);

}  // namespace metastore::walinspect
