// HpackEncoder: the header blocks that one connection sends (RFC 7541).
//
// Only fixed lists (Http2FixedHeaders) enter the dynamic table, once each, so that a unary answer
// takes three bytes of headers after the first: its table never grows past a handful of entries and
// never evicts. All else is literal, and so does not depend on when it is sent.
//
// Honours the peer's SETTINGS_HEADER_TABLE_SIZE: with a table too small for an entry the entry is
// sent as a literal. Pure; owned by one session. What EncodeFixed and TakeTableUpdate return has to
// be sent in the order in which it was made.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/http2_session.h"

namespace metastore::net {

class HpackEncoder final {
 public:
  // The peer's SETTINGS: the smallest table size they named, and the last.
  void SetTableSize(uint32_t smallest, uint32_t last);
  // What the next block has to begin with, whatever it is; mostly nothing.
  std::string TakeTableUpdate();

  // The block of `headers`; the view lives until the next call.
  std::string_view EncodeFixed(const Http2FixedHeaders& headers);
  // Appends the block of `headers` without any use of the dynamic table.
  static void AppendLiterals(std::string& block, std::span<const Http2Header> headers);

 private:
  static constexpr size_t kEntriesMax = 8;
  static constexpr size_t kKeptMax = 4;                 // encoded lists
  static constexpr size_t kKeptBytesMax = 16;           // of each
  static constexpr uint32_t kTableBytesDefault = 4096;  // RFC 9113 6.5.2; we never use more

  // An encoding of a list that holds while the table does not change.
  struct Kept {
    const Http2FixedHeaders* headers = nullptr;
    uint32_t table_version = 0;
    size_t bytes = 0;
    std::array<char, kKeptBytesMax> block{};
  };

  void AppendFixed(const Http2Header& header);
  bool Insert(const Http2Header& header);
  void Keep(const Http2FixedHeaders& headers);

  std::array<Http2Header, kEntriesMax> entries_;  // in the order of their insertion; fixed storage
  size_t entries_count_ = 0;
  size_t table_bytes_ = 0;  // by RFC 7541 4.1
  uint32_t table_bytes_max_ = kTableBytesDefault;
  bool update_due_ = false;
  uint32_t table_version_ = 0;
  std::array<Kept, kKeptMax> kept_;
  size_t kept_next_ = 0;
  std::string scratch_;
};

}  // namespace metastore::net
