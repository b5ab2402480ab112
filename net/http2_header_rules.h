// HeaderRules: which header lists are requests (RFC 9113 sections 8.1 to 8.3). Pure. One header
// after the other; then the whole is judged. What breaks a rule makes its stream malformed.
#pragma once

#include <cstdint>
#include <string_view>

namespace metastore::net {

// What of a request's headers its body and trailers are held against.
struct RequestFacts {
  int64_t content_length = -1;  // -1: not announced
  bool host = false;            // a "host" header
};

class HeaderRules final {
 public:
  // The headers of a new request, or the trailers of one whose facts are given.
  void BeginRequest();
  void BeginTrailers(const RequestFacts& request);

  // False: malformed.
  bool Check(std::string_view name, std::string_view value);
  // At the end of a request's headers: what is needed is there. Only CONNECT goes without :path.
  bool CompleteRequest();
  const RequestFacts& facts() const { return facts_; }

 private:
  bool CheckPseudo(std::string_view name, std::string_view value);
  bool CheckRegular(std::string_view name, std::string_view value);
  // Each pseudo header may be there once, with a value.
  bool Note(uint8_t seen, std::string_view value);

  RequestFacts facts_;
  uint8_t seen_ = 0;  // pseudo headers, as bits
  bool trailers_ = false;
  bool regular_seen_ = false;  // no pseudo header may follow
  bool connect_ = false;
  bool options_ = false;
  bool scheme_http_ = false;
  bool path_absolute_ = false;
  bool path_asterisk_ = false;
};

}  // namespace metastore::net
