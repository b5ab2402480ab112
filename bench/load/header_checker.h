// Checks the header blocks of answers. Each connection has one, since HPACK is stateful (RFC 7541).
//
// A block is decoded by nghttp2's inflater, unless the very same bytes were decoded on this
// connection before, they do not touch the dynamic table, and the table has not changed since: then
// the verdict of that time holds. So every grpc-status is really looked at, at the price of a
// memcmp.
#pragma once

#include <nghttp2/nghttp2.h>

#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace metastore::bench {

// What one header block said.
struct HeaderVerdict {
  bool decoded = false;      // false: the block is malformed
  int http_status = 0;       // 0: no :status in the block
  int grpc_status = -1;      // -1: no grpc-status in the block
  std::string grpc_message;  // as sent, percent-encoded
};

class HeaderChecker final {
 public:
  HeaderChecker() { ok_ = nghttp2_hd_inflate_new(&inflater_) == 0; }
  ~HeaderChecker() {
    if (ok_) nghttp2_hd_inflate_del(inflater_);
  }
  HeaderChecker(const HeaderChecker&) = delete;
  HeaderChecker& operator=(const HeaderChecker&) = delete;

  // The verdict on `block`, a whole header block. The reference holds until the next call.
  const HeaderVerdict& Check(std::span<const uint8_t> block) {
    for (const Known& known : known_) {
      if (known.block.size() == block.size() &&
          std::memcmp(known.block.data(), block.data(), block.size()) == 0) {
        return known.verdict;
      }
    }
    inflated_blocks_++;
    HeaderVerdict verdict = Inflate(block);
    if (!LeavesTableAlone(block)) {
      known_.clear();
      last_ = std::move(verdict);
      return last_;
    }
    if (known_.size() == kKnownMax) known_.clear();
    known_.push_back({.block = {block.begin(), block.end()}, .verdict = std::move(verdict)});
    return known_.back().verdict;
  }

  // How many blocks went through the inflater.
  uint64_t inflated_blocks() const { return inflated_blocks_; }

 private:
  struct Known {
    std::vector<uint8_t> block;
    HeaderVerdict verdict;
  };
  static constexpr size_t kKnownMax = 8;

  HeaderVerdict Inflate(std::span<const uint8_t> block) {
    HeaderVerdict verdict;
    const uint8_t* at = block.data();
    size_t left = block.size();
    while (ok_) {
      nghttp2_nv field;
      int flags = 0;
      const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, at, left, 1);
      if (used < 0) return verdict;
      at += used;
      left -= static_cast<size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) Note(field, &verdict);
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    verdict.decoded = ok_ && left == 0;
    return verdict;
  }

  static std::string_view View(const uint8_t* bytes, size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
  }

  static void Note(const nghttp2_nv& field, HeaderVerdict* verdict) {
    const std::string_view name = View(field.name, field.namelen);
    const std::string_view value = View(field.value, field.valuelen);
    int* number = nullptr;
    if (name == ":status") number = &verdict->http_status;
    if (name == "grpc-status") number = &verdict->grpc_status;
    if (name == "grpc-message") verdict->grpc_message = value;
    // A status that is no number counts as unknown (2), never as success.
    if (number != nullptr &&
        std::from_chars(value.data(), value.data() + value.size(), *number).ec != std::errc()) {
      *number = 2;
    }
  }

  // True when `block` holds only indexed fields and literals that are not added to the table (RFC
  // 7541, section 6).
  static bool LeavesTableAlone(std::span<const uint8_t> block) {
    size_t at = 0;
    while (at < block.size()) {
      const uint8_t first = block[at];
      if ((first & 0x80) != 0) {
        if (!Integer(block, &at, 7)) return false;
        continue;
      }
      if ((first & 0xe0) != 0) return false;
      const auto name_index = Integer(block, &at, 4);
      if (!name_index) return false;
      if (*name_index == 0 && !String(block, &at)) return false;
      if (!String(block, &at)) return false;
    }
    return true;
  }

  static std::optional<uint64_t> Integer(std::span<const uint8_t> block, size_t* at,
                                         unsigned prefix_bits) {
    if (*at >= block.size()) return std::nullopt;
    const uint64_t mask = (uint64_t{1} << prefix_bits) - 1;
    uint64_t value = block[(*at)++] & mask;
    if (value < mask) return value;
    for (unsigned shift = 0; shift < 28 && *at < block.size(); shift += 7) {
      const uint8_t byte = block[(*at)++];
      value += uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  static bool String(std::span<const uint8_t> block, size_t* at) {
    const auto size = Integer(block, at, 7);
    if (!size || *size > block.size() - *at) return false;
    *at += static_cast<size_t>(*size);
    return true;
  }

  nghttp2_hd_inflater* inflater_ = nullptr;
  std::vector<Known> known_;
  HeaderVerdict last_;
  uint64_t inflated_blocks_ = 0;
  bool ok_ = false;
};

}  // namespace metastore::bench
