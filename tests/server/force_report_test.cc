// Aim: the report of --force-new-cluster says who, what and how much, and stays small. Method: the
// whole text of small facts.
#include "server/force_report.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"

namespace metastore::server {
namespace {

ForceFacts Facts() {
  ForceFacts facts;
  facts.cluster = ClusterId(0xc1);
  facts.self = {.id = NodeId(0xa3), .name = "n3", .peer_urls = {"http://h3:2380"}};
  facts.others = {{.id = NodeId(0xa1), .name = "n1", .peer_urls = {"http://h1:1", "http://h1:2"}},
                  {.id = NodeId(0xa2), .peer_urls = {"http://h2:2380"}, .is_learner = true}};
  facts.term = Term(4);
  facts.committed = LogIndex(100);
  facts.taken = {.first = LogIndex(101),
                 .end = LogIndex(101),
                 .revision_before = Revision(90),
                 .revision_after = Revision(90)};
  facts.forced_last = LogIndex(102);
  return facts;
}

TEST(ForceReport, SaysWhoGoesOnWithWhatAndWithoutWhom) {
  const std::string text = ForceReport(Facts(), 10);
  EXPECT_TRUE(
      text.starts_with("A new cluster of one member is forced (--force-new-cluster).\n\n"
                       "cluster    c1, as before\n"
                       "goes on    n3 (a3, http://h3:2380)\n"
                       "taken out  n1 (a1, http://h1:1 http://h1:2)\n"
                       "taken out  (never started) (a2, http://h2:2380, learner)\n"
                       "last data  revision 90, entry 100, term 4\n"
                       "takes effect with entry 102\n\n"
                       "This member knows entries up to 100 as committed, revision 90.\n"
                       "Its log has nothing beyond them.\n"))
      << text;
  EXPECT_TRUE(absl::StrContains(text, "told of a revision above 90\nis no longer true")) << text;
}

TEST(ForceReport, ListsWhatIsInDoubtUpToABound) {
  ForceFacts facts = Facts();
  facts.taken.end = LogIndex(104);
  facts.taken.revision_after = Revision(92);
  facts.taken.changes_count = 3;
  facts.taken.changes = {{.revision = Revision(91), .key = "a\n\"b"},
                         {.revision = Revision(92), .key = "c", .deleted = true},
                         {.revision = Revision(92), .key = std::string(500, 'k')}};
  const std::string cut = ForceReport(facts, 2);
  EXPECT_TRUE(absl::StrContains(cut,
                                "  entries 101 to 103, revisions 91 to 92, 3 changes of keys:\n"
                                "    revision 91 put     \"a\\n\\\"b\"\n"
                                "    revision 92 deleted \"c\"\n"
                                "    and 1 more\n"))
      << cut;
  const std::string whole = ForceReport(facts, 3);
  EXPECT_TRUE(absl::StrContains(whole, Concat("\"", std::string(200, 'k'), "\"...\n"))) << whole;
  EXPECT_FALSE(absl::StrContains(whole, "more\n")) << whole;
}

TEST(ForceReport, NamesWhatIsDropped) {
  ForceFacts facts = Facts();
  facts.left_out = {.first = LogIndex(101),
                    .end = LogIndex(103),
                    .revision_before = Revision(90),
                    .revision_after = Revision(90)};
  const std::string text = ForceReport(facts, 10);
  EXPECT_TRUE(absl::StrContains(text, "DROPPED, since the first of them removes this member"))
      << text;
  EXPECT_TRUE(absl::StrContains(text, "  entries 101 to 102, which change no key\n")) << text;
  EXPECT_FALSE(absl::StrContains(text, "TAKEN OVER")) << text;
}

}  // namespace
}  // namespace metastore::server
