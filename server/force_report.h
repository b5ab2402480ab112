// What --force-new-cluster tells people before it changes anything: which member goes on, without
// whom, with which revisions, and which writes may be lost. A pure function on values.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "io/base/ids.h"
#include "server/members.h"

namespace metastore::server {

// A change of one key by an entry beyond the commit index that the member knows.
struct DoubtfulChange {
  Revision revision;
  std::string key;
  bool deleted = false;
};

// Entries [first, end) beyond that index, and what applying them did.
struct DoubtfulEntries {
  static constexpr size_t kListedMax = 10'000;

  LogIndex first;
  LogIndex end;              // equal to `first`: there are none
  Revision revision_before;  // of the state without them
  Revision revision_after;   // and with them
  uint64_t changes_count = 0;
  std::vector<DoubtfulChange> changes;  // the first kListedMax

  uint64_t count() const { return end - first; }
};

struct ForceFacts {
  ClusterId cluster;
  Member self;
  std::vector<Member> others;  // who are taken out of the cluster; by id
  Term term;                   // of the last entry of the log
  LogIndex committed;          // as far as the member knows; it is told late
  DoubtfulEntries taken;       // from committed + 1 on: they count as committed from now on
  DoubtfulEntries left_out;    // dropped: they begin with the removal of this member itself
  LogIndex forced_last;        // the entry that completes the new membership
};

// Lines of at most some 300 bytes, each ended by \n. Keys are escaped and, if long, cut.
//   listed_max   changes listed of each part, at most
std::string ForceReport(const ForceFacts& facts, size_t listed_max);

}  // namespace metastore::server
