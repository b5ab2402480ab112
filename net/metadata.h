// Metadata: the key-value pairs that travel with a gRPC call (HTTP/2 headers and trailers, RFC 9113
// section 8.2).
//
// Order is kept and keys may repeat. Keys are lower case. Values whose key ends in "-bin" are held
// decoded: the wire form (base64) exists in net/ only. Owned by one call on one core; Clear keeps
// the memory, since calls are reused. Bounded by net_limits::kHeaderListBytesMax, which the HTTP/2
// session enforces before anything arrives here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace metastore::net {

class Metadata final {
 public:
  // Appends one pair; both are copied.
  void Add(std::string_view key, std::string_view value);
  // The first value of `key` (lower case); nothing if absent. The view lives until the next Add or
  // Clear.
  std::optional<std::string_view> Find(std::string_view key) const;
  void Clear();

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  std::string_view key(size_t index) const;
  std::string_view value(size_t index) const;

 private:
  struct Entry {
    uint32_t offset;
    uint32_t key_bytes;
    uint32_t value_bytes;
  };
  std::string bytes_;
  std::vector<Entry> entries_;
};

}  // namespace metastore::net
