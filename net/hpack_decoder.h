// HeaderDecoder: the header blocks that one connection receives (RFC 7541), decoded by nghttp2's
// inflater, and a memo of the last few: a client's requests repeat their blocks byte by byte, and a
// comparison is far cheaper than decoding and checking again.
//
// The memo's rule: the bytes are the same, and the block does not change the dynamic table, and,
// where it names entries of that table, the table has not changed since. (Most clients send :path
// as a literal without indexing, so "names only static entries" would never hit.)
//
// Bounds: kHeaderListBytesMax of decoded headers are kept; four times as many end the connection.
// Pure; owned by one session. Views into a HeaderList live until the next block is begun.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http2_header_rules.h"
#include "net/http2_session.h"

struct nghttp2_hd_inflater;

namespace metastore::net {

// One decoded header list.
struct HeaderList {
  std::string bytes;  // names and values, one after the other
  std::vector<std::pair<size_t, size_t>> sizes;
  std::vector<Http2Header> headers;  // views into `bytes`, made by Finish
  size_t list_bytes = 0;             // by RFC 9113 6.5.2, of all that came
  RequestFacts facts;
  bool malformed = false;

  bool too_large() const { return list_bytes > net_limits::kHeaderListBytesMax; }
  void Clear();
};

// How a block uses the dynamic table. Of a block that is no HPACK the answer means nothing.
struct TableUse {
  bool reads = false;
  bool changes = false;
};
TableUse TableUseOf(std::string_view block);

class HeaderDecoder final {
 public:
  HeaderDecoder();
  ~HeaderDecoder();
  HeaderDecoder(const HeaderDecoder&) = delete;
  HeaderDecoder& operator=(const HeaderDecoder&) = delete;

  // A request's list whose block was `block`, if it is remembered, and its number (never 0; other
  // lists never have it). Nothing is to be decoded then.
  struct Known {
    const HeaderList* list = nullptr;
    uint64_t number = 0;
  };
  Known Find(std::string_view block);

  // Begins a block whose headers are checked by `rules`, or, without, only keep the table right.
  void Begin(HeaderRules* rules);
  enum class Result : uint8_t { kOk, kBroken, kFlood };
  // Its next bytes; `last` with the last ones, which may be none.
  Result Decode(std::string_view bytes, bool last);
  // After Decode(last): what was decoded, to be judged.
  HeaderList& list() { return list_; }
  // The same with its headers, once it is judged. Remembered if it is good and its block came in
  // one piece, `block`; else `block` is empty.
  const HeaderList& Finish(std::string_view block);

 private:
  struct Entry {
    std::string block;
    HeaderList list;
    uint64_t number = 0;         // 0: none
    uint64_t table_version = 0;  // where it reads the table
    bool reads_table = false;
    bool used = false;  // since it was last considered for eviction
  };
  static constexpr size_t kEntries = 4;

  bool Add(std::string_view name, std::string_view value);
  HeaderList& Remember(std::string_view block);
  Entry& Evict();

  nghttp2_hd_inflater* inflater_ = nullptr;
  HeaderRules* rules_ = nullptr;  // of the block under way
  HeaderList list_;
  std::array<Entry, kEntries> entries_;
  size_t hand_ = 0;             // of the clock that evicts
  uint64_t table_version_ = 0;  // grows whenever the dynamic table may have changed
  uint64_t numbers_ = 0;
};

}  // namespace metastore::net
