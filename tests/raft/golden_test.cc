// Aim: every recorded script gives its output, and what is no such script is refused with its line.
// Method: the scripts that come with the project and our own in tests/data/raft, run as
// `tools/dev goldens` runs them; and broken ones made here.
#include "tests/raft/golden.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace metastore::raft {
namespace {

std::string TestName(const std::string& path) {
  const std::filesystem::path file(path);
  std::string name = file.parent_path().stem().string() + "_" + file.stem().string();
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

std::vector<std::string> AllScripts() {
  std::vector<std::string> files = SharedScripts();
  for (const std::string& own : FindScripts(MS_TEST_DATA "/raft")) files.push_back(own);
  return files;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, GivesTheRecordedOutput) { EXPECT_EQ(Difference(GetParam()), ""); }

INSTANTIATE_TEST_SUITE_P(Scripts, Golden, testing::ValuesIn(AllScripts()),
                         [](const testing::TestParamInfo<std::string>& param) {
                           return TestName(param.param);
                         });

TEST(GoldenRunner, AllSharedScriptsAreFound) {
  const std::vector<std::string> files = SharedScripts();
  if (files.empty()) GTEST_SKIP() << "no recorded scripts in " MS_SHARED_DIR;
  EXPECT_EQ(files.size(), 31u);
}

class BrokenScript : public testing::Test {
 protected:
  std::string Run(const std::string& text) {
    const std::string path = testing::TempDir() + "/broken_script.txt";
    std::ofstream(path, std::ios::binary) << text;
    std::string difference = Difference(path);
    if (difference.starts_with(path)) difference.erase(0, path.size());
    return difference;
  }
};

TEST_F(BrokenScript, IsRefusedWithItsLine) {
  const std::string nodes = "add-nodes 2 voters=(1,2) index=2\n----\nok\n\n";
  EXPECT_EQ(Run("committed cfg=(1\n----\n0\n"),
            ": line 1: a list does not close: committed cfg=(1");
  EXPECT_EQ(Run("\nraft-state\nok\n"), ": line 2: no ---- after raft-state");
  EXPECT_EQ(Run("dance\n----\nok\n"), ":1: unknown command dance");
  EXPECT_EQ(Run("committed cfg=(x) idx=(1)\n----\n"), ":1: committed: x is no number");
  EXPECT_EQ(Run("committed cfg=(1,2) idx=(1)\n----\n"), ":1: committed: 2 members but 1 values");
  EXPECT_EQ(Run("vote cfg=(1) votes=(q)\n----\n"), ":1: vote: a vote is y, n or _, not q");
  EXPECT_EQ(Run(nodes + "campaign 7\n----\nok\n"), ":5: campaign: there is no node 7");
  EXPECT_EQ(Run(nodes + "campaign\n----\nok\n"), ":5: campaign: wants 1 numbers");
  EXPECT_EQ(Run(nodes + "campaign one\n----\nok\n"), ":5: campaign: one is no number");
  EXPECT_EQ(Run(nodes + "status 1 fast=true\n----\nok\n"), ":5: status: no option fast");
  EXPECT_EQ(Run(nodes + "propose 1\n----\nok\n"), ":5: propose: wants a text");
  EXPECT_EQ(Run("add-nodes 1 voters=(1) index=2 inflight=many\n----\nok\n"),
            ":1: add-nodes: inflight: many is no number");
  EXPECT_EQ(Run(nodes + "deliver-msgs 1 type=MsgFoo\n----\nok\n"),
            ":5: deliver-msgs: unknown message type MsgFoo");
}

TEST_F(BrokenScript, TheFirstDifferenceIsShownWithItsLine) {
  EXPECT_EQ(Run("# one\ncommitted cfg=(1) idx=(12)\n----\n     idx\n>     12    (id=1)\n13\n"),
            ":6: of committed in line 2\n  wanted: 13\n  got:    12");
  EXPECT_EQ(Run("vote\n----\n"), ":3: of vote in line 1\n  wanted: ok\n  got:    VoteWon");
  EXPECT_EQ(Run("vote\n----\nVoteWon\nVoteWon\n"),
            ":4: of vote in line 1\n  wanted: VoteWon\n  got:    <end of output>");
}

TEST_F(BrokenScript, LogLinesDoNotCount) {
  EXPECT_EQ(Run("add-nodes 1 voters=(1) index=2\n----\nINFO anything\n  DEBUG else\n"), "");
}

TEST_F(BrokenScript, AnOutputWithBlankLinesIsFenced) {
  EXPECT_EQ(Run("vote\n----\n----\n\nVoteWon\n----\n----\n\nvote\n----\nVoteWon\n"),
            ":4: of vote in line 1\n  wanted: \n  got:    VoteWon");
}

}  // namespace
}  // namespace metastore::raft
