// The two halves of HTTP/2 flow control (RFC 9113 section 5.2) of one stream or of the connection.
// Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace metastore::net {

inline constexpr int64_t kWindowBytesMax = (int64_t{1} << 31) - 1;  // RFC 9113 6.9.1
inline constexpr int32_t kWindowBytesDefault = 65'535;              // RFC 9113 6.9.2

// What the peer lets us send. Below zero after SETTINGS that shrank it (RFC 9113 6.9.2).
class SendWindow final {
 public:
  explicit SendWindow(int64_t bytes) : bytes_(bytes) {}

  // Adds `change`, which may be negative. False, and unchanged: beyond 2^31-1 or below -2^31.
  [[nodiscard]] bool Change(int64_t change) {
    const int64_t changed = bytes_ + change;
    if (changed > kWindowBytesMax || changed < -kWindowBytesMax - 1) return false;
    bytes_ = changed;
    return true;
  }
  void Use(size_t bytes) { bytes_ -= static_cast<int64_t>(bytes); }
  size_t available() const { return bytes_ > 0 ? static_cast<size_t>(bytes_) : 0; }

 private:
  int64_t bytes_;
};

// What we let the peer send. It closes as bytes arrive and opens, in steps of half the window,
// as they are consumed.
class ReceiveWindow final {
 public:
  explicit ReceiveWindow(int64_t size) : size_(size) {}

  // `bytes` have come. False, and nothing taken: the peer was not allowed to send as much.
  [[nodiscard]] bool Take(size_t bytes) {
    if (taken_ + static_cast<int64_t>(bytes) > size_) return false;
    taken_ += static_cast<int64_t>(bytes);
    return true;
  }
  void Consume(size_t bytes) { consumed_ += static_cast<int64_t>(bytes); }
  // An update is worth its frame.
  bool update_due() const {
    const int64_t open = std::min(consumed_, taken_);
    return open > 0 && open >= size_ / 2;
  }
  // The increment to announce; the window is open for it from now on.
  uint32_t TakeUpdate() {
    const int64_t open = std::min(consumed_, taken_);
    taken_ -= open;
    consumed_ -= open;
    return static_cast<uint32_t>(open);
  }
  // The peer has acknowledged another size.
  void Resize(int64_t size) { size_ = size; }

 private:
  int64_t size_;
  int64_t taken_ = 0;
  int64_t consumed_ = 0;
};

}  // namespace metastore::net
