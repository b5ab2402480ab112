// StateDigest: what a replica's state comes to at one applied index, cut by revision so that a
// difference can be named. Plain values; pure functions of revision and compaction floor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "io/base/ids.h"

namespace metastore::engine {

inline constexpr size_t kDigestRanges = 32;

// Equal on equal replicas, however far physical removal has come and whatever a replica began from:
// only what can still be read counts.
struct StateDigest {
  LogIndex applied_index;
  Revision revision;
  Revision compacted;
  // Of the versions kept, by the revision that made them (DigestRanges), whatever their order.
  std::array<uint64_t, kDigestRanges> ranges{};
  uint64_t unversioned = 0;  // leases, the limit of an entry's keys

  bool operator==(const StateDigest&) const = default;
};

// Both ends belong to it; first > last: it is empty.
struct RevisionSpan {
  Revision first;
  Revision last;
};

// How revisions are spread over a digest's ranges: where something was compacted, half of the
// ranges are for what is older than the floor, of which only newest versions are left.
class DigestRanges final {
 public:
  DigestRanges(Revision revision, Revision compacted);

  // The range of a version made by `revision`; those that no state has count to the nearest.
  size_t Of(Revision revision) const;
  RevisionSpan Span(size_t range) const;

 private:
  struct Part {
    int64_t begin = 1;   // first revision
    int64_t length = 0;  // revisions
    int64_t width = 1;   // of one range
    size_t first = 0;    // range
    size_t ranges = 0;
  };
  static Part MakePart(int64_t begin, int64_t end, size_t first, size_t ranges);

  Part old_;  // below the floor; without ranges where there is none
  Part new_;
};

}  // namespace metastore::engine
