// --force-new-cluster: makes the one surviving member of a cluster that lost its majority for good
// a cluster of one, with the data that it has.
//
// Run on the state core, after the log was opened and before the group starts, which then finds
// nothing unusual: a log whose last entries are committed membership changes, and a snapshot of the
// state behind them.
//
// What it does, in this order:
//  1. Restores the state from the newest snapshot and the whole log into an engine of its own.
//     Entries beyond the known commit index are taken over, as a new leader would: that index is
//     learnt late, so most of them were acknowledged. Only from an unproven removal of this member
//     itself on are they dropped.
//  2. Writes the report (force_report.h) to the log output and, durably, to the data directory.
//  3. Appends the membership changes and the hard state that commits them. All of it is a few small
//     records given to a log in which nothing gathers: one frame, so a crash leaves all or nothing.
//  4. Writes a snapshot, so that no later start knows the old members even for a moment.
// Crashed before 3 it has changed nothing but the report; crashed after, the member is a cluster of
// one whether it starts with the flag or without.
//
// The cluster's and the member's ids stay. The others are removed members from then on: refused by
// this one (server/peers), upon which they stop.
#pragma once

#include <string>

#include "io/runtime.h"
#include "server/edge.h"
#include "wal/log.h"

namespace metastore::server {

struct ForceOptions {
  GroupId group{1};
  Identity identity;
  std::string data_dir;  // for the report
  std::string snapshot_dir;
  bool plan_only = false;  // the report, and nothing else
};

// A member that is the only voter already is left as it is, with a warning: the flag may stay on
// the command line over restarts, until others are added.
// Errors: kFailedPrecondition  nothing is known of a cluster here; this member was removed from it,
//                              is fenced, or had not ended the repair of its log; this was done
//                              before, and members were added since; plan_only, when the report
//                              has been written or there is nothing to force
//         kDataLoss            damaged snapshots or log: names file and offset
//         and those of writing the report and the log
io::Task<Status> ForceNewCluster(io::Runtime& runtime, wal::Log& log, ForceOptions options);

}  // namespace metastore::server
