#include "net/metadata.h"

#include "io/base/check.h"

namespace metastore::net {

void Metadata::Add(std::string_view key, std::string_view value) {
  entries_.push_back(Entry{.offset = static_cast<uint32_t>(bytes_.size()),
                           .key_bytes = static_cast<uint32_t>(key.size()),
                           .value_bytes = static_cast<uint32_t>(value.size())});
  bytes_.append(key).append(value);
}

std::optional<std::string_view> Metadata::Find(std::string_view wanted) const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (key(i) == wanted) return value(i);
  }
  return std::nullopt;
}

void Metadata::Clear() {
  bytes_.clear();
  entries_.clear();
}

std::string_view Metadata::key(size_t index) const {
  CHECK_LT(index, entries_.size());
  const Entry& entry = entries_[index];
  return std::string_view(bytes_).substr(entry.offset, entry.key_bytes);
}

std::string_view Metadata::value(size_t index) const {
  CHECK_LT(index, entries_.size());
  const Entry& entry = entries_[index];
  return std::string_view(bytes_).substr(entry.offset + entry.key_bytes, entry.value_bytes);
}

}  // namespace metastore::net
