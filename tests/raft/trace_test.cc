// Aim: the transitions of a run come out in the schema and in their order. Method: an election, a
// write and a membership change of a small cluster, compared with the lines in tests/data/raft;
// MS_REWRITE makes them anew.
#include "raft/trace.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/raft/cluster.h"

namespace metastore::raft {
namespace {

class Lines final : public TraceSink {
 public:
  void OnEvent(const TraceEvent& event) override { text += TraceLine(event); }
  std::string text;
};

TEST(Trace, GivesTheRecordedLines) {
  Lines lines;
  Cluster::Options options;
  options.nodes = 3;
  options.voters = 2;
  options.configure = [&lines](Config& config) {
    config.pre_vote = false;
    config.check_quorum = false;
    config.trace = &lines;
  };
  Cluster cluster(options);
  cluster.core(1).Campaign();
  cluster.Pump(1);
  cluster.Settle();
  cluster.Propose(1, "x");
  cluster.Settle();
  cluster.Snapshot(1);
  cluster.core(1).ProposeConfChange({{}, {{ConfChangeKind::kAddVoter, NodeId(3)}}, ""});
  cluster.Pump(1);
  cluster.Settle();
  const std::string path = MS_TEST_DATA "/raft/trace.ndjson";
  if (std::getenv("MS_REWRITE") != nullptr) std::ofstream(path) << lines.text;
  std::ifstream in(path);
  std::ostringstream wanted;
  wanted << in.rdbuf();
  EXPECT_EQ(lines.text, wanted.str());
}

TEST(Trace, WhatTheSchemaDoesNotKnowIsNoLine) {
  Message message;
  message.type = MessageType::kReadIndex;
  TraceEvent event;
  event.kind = TraceKind::kReceive;
  event.message = &message;
  EXPECT_EQ(TraceLine(event), "");
  message.type = MessageType::kHeartbeat;
  EXPECT_NE(TraceLine(event), "");
}

}  // namespace
}  // namespace metastore::raft
