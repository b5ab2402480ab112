// Aim: what a node may hold after a crash is exactly what its client's history allows: nothing
// acknowledged is missing, nothing impossible is there. Method: a history of a few calls, states
// against it at several places.
#include "tools/walinspect/crashtest/history.h"

#include <gtest/gtest.h>

#include "tools/walinspect/crashtest/recording.h"

namespace metastore::crashtest {
namespace {

io::TraceRecord Call(Note note, uint64_t number, std::string_view key, std::string_view value) {
  io::TraceRecord record = MakeNote(note, {});
  record.operation = number;
  record.name = key;
  record.data = value;
  return record;
}

io::TraceRecord Answer(uint64_t number, uint64_t revision) {
  io::TraceRecord record = MakeNote(Note::kAnswered, {});
  record.operation = number;
  record.size = revision;
  return record;
}

// Calls 1 to 3 are answered; 4 never is; 5 is after it.
std::vector<io::TraceRecord> Records() {
  return {Call(Note::kPut, 1, "a", "a1"),   // 0
          Answer(1, 2),                     // 1
          Call(Note::kPut, 2, "b", "b1"),   // 2
          Call(Note::kPut, 3, "a", "a2"),   // 3
          Answer(3, 4),                     // 4
          Answer(2, 3),                     // 5
          Call(Note::kPut, 4, "a", "a3"),   // 6: unanswered
          Call(Note::kDelete, 5, "b", ""),  // 7
          Answer(5, 5)};                    // 8
}

StoreState State(uint64_t revision, std::map<std::string, StoredValue> keys) {
  return {.revision = revision, .keys = std::move(keys)};
}

TEST(CrashHistoryTest, WhatWasAcknowledgedMustBeThere) {
  const History history(Records());
  EXPECT_EQ(history.AcknowledgedBefore(1), 0u);
  EXPECT_EQ(history.AcknowledgedBefore(2), 2u);
  EXPECT_EQ(history.AcknowledgedBefore(5), 4u);
  EXPECT_EQ(history.AcknowledgedBefore(9), 5u);
  EXPECT_EQ(history.Check(State(2, {{"a", {"a1", 2}}}), 2), "");
  EXPECT_EQ(history.Check(State(1, {}), 1), "");
  EXPECT_EQ(history.Check(State(1, {}), 2), "LOST: revision 2 was acknowledged, the store is at 1");
  EXPECT_EQ(history.Check(State(2, {}), 2), "LOST: key a has nothing, not a put of revision 2");
}

TEST(CrashHistoryTest, AStoreHoldsAPrefixOfTheRevisions) {
  const History history(Records());
  const StoreState newest = State(4, {{"a", {"a2", 4}}, {"b", {"b1", 3}}});
  // Not acknowledged yet, but begun: either is fine.
  EXPECT_EQ(history.Check(newest, 4), "");
  EXPECT_EQ(history.Check(State(3, {{"a", {"a1", 2}}, {"b", {"b1", 3}}}), 4), "");
  // A later revision without an earlier one.
  EXPECT_EQ(history.Check(State(4, {{"a", {"a2", 4}}}), 4),
            "WRONG: key b has nothing, not a put of revision 3");
  EXPECT_EQ(history.Check(State(4, {{"a", {"a1", 2}}, {"b", {"b1", 3}}}), 6),
            "LOST: key a has a put of revision 2, not a put of revision 4");
  EXPECT_EQ(history.Check(State(5, {{"a", {"a2", 4}}}), 9), "");
  EXPECT_EQ(history.Check(State(5, {{"a", {"a2", 4}}, {"b", {"b1", 3}}}), 9),
            "LOST: key b has a put of revision 3, not a deletion of revision 5");
}

TEST(CrashHistoryTest, AnUnansweredCallMayHaveHappenedOnceItBegan) {
  const History history(Records());
  const StoreState with = State(5, {{"a", {"a3", 5}}, {"b", {"b1", 3}}});
  EXPECT_EQ(history.Check(with, 7), "");
  EXPECT_EQ(history.Check(with, 6), "WRONG: key a has a value that nobody had put there");
}

TEST(CrashHistoryTest, WhatNobodyPutIsWrong) {
  const History history(Records());
  EXPECT_EQ(history.Check(State(2, {{"a", {"a1", 2}}, {"c", {"", 1}}}), 2),
            "WRONG: nobody has ever put the key c");
  EXPECT_EQ(history.Check(State(2, {{"a", {"else", 2}}}), 2),
            "WRONG: key a has a value that nobody had put there");
  EXPECT_EQ(history.Check(State(2, {{"a", {"a1", 1}}}), 2),
            "WRONG: key a has a put of revision 2 at revision 1");
}

TEST(CrashHistoryTest, WhatAStartHasShownStays) {
  const History history(Records());
  const StoreState state = State(3, {{"a", {"a1", 2}}, {"b", {"b1", 3}}});
  EXPECT_EQ(history.Check(state, 4, 3), "");
  EXPECT_EQ(history.Check(state, 4, 4),
            "LOST: revision 4 was shown after the first start, the store is at 3");
}

}  // namespace
}  // namespace metastore::crashtest
