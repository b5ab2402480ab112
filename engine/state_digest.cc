#include "engine/state_digest.h"

#include <algorithm>

#include "io/base/check.h"

namespace metastore::engine {

DigestRanges::Part DigestRanges::MakePart(int64_t begin, int64_t end, size_t first, size_t ranges) {
  Part part{.begin = begin, .length = end - begin, .first = first, .ranges = ranges};
  if (ranges == 0) return part;
  const auto count = static_cast<int64_t>(ranges);
  part.width = std::max<int64_t>(1, part.length / count + (part.length % count == 0 ? 0 : 1));
  return part;
}

DigestRanges::DigestRanges(Revision revision, Revision compacted) {
  CHECK_GE(revision, Revision(1));
  CHECK_LE(compacted, revision);
  const int64_t floor = std::max<int64_t>(compacted.value(), 1);
  const size_t old_ranges = floor > 1 ? kDigestRanges / 2 : 0;
  old_ = MakePart(1, floor, 0, old_ranges);
  new_ = MakePart(floor, revision.value() + 1, old_ranges, kDigestRanges - old_ranges);
}

size_t DigestRanges::Of(Revision revision) const {
  const Part& part = old_.ranges > 0 && revision.value() < new_.begin ? old_ : new_;
  const int64_t at = std::clamp<int64_t>(revision.value() - part.begin, 0, part.length - 1);
  return part.first + static_cast<size_t>(at / part.width);
}

RevisionSpan DigestRanges::Span(size_t range) const {
  CHECK_LT(range, kDigestRanges);
  const Part& part = range < new_.first ? old_ : new_;
  const int64_t from = static_cast<int64_t>(range - part.first) * part.width;
  const int64_t to = std::min(from + part.width, part.length);
  return {Revision(part.begin + from), Revision(part.begin + to - 1)};
}

}  // namespace metastore::engine
