// Aim: vectors are used again and bounded, so that a proposal in steady state allocates nothing
// (bench/raft_bench.cc counts). Method: the queue beside std::deque; a core whose tasks are given
// back hands the same memory out again.
#include "raft/buffers.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <set>

#include "io/base/prng.h"
#include "raft/raft_core.h"
#include "raft/ring.h"
#include "raft/tail_log.h"

namespace metastore::raft {
namespace {

TEST(Ring, IsAQueueLikeTheStandardOne) {
  Prng prng(1);
  Ring<uint64_t> ring;
  std::deque<uint64_t> plain;
  for (uint64_t i = 0; i < 20000; ++i) {
    const uint64_t kind = prng.Below(100);
    if (plain.empty() || kind < (i / 2000 % 2 == 0 ? 60u : 40u)) {
      ring.push_back(i);
      plain.push_back(i);
    } else if (kind < 97) {
      ring.pop_front();
      plain.pop_front();
    } else if (kind < 99) {
      ring.pop_back();
      plain.pop_back();
    } else if (kind == 99 && i % 7 == 0) {
      ring.clear();
      plain.clear();
    }
    ASSERT_EQ(ring.size(), plain.size());
    for (size_t at = 0; at < plain.size(); at += 1 + plain.size() / 4) {
      ASSERT_EQ(ring[at], plain[at]);
    }
    if (plain.empty()) continue;
    ASSERT_EQ(ring.front(), plain.front());
    ASSERT_EQ(ring.back(), plain.back());
  }
}

TEST(Ring, LetsGoOfWhatIsTakenOut) {
  const auto value = std::make_shared<int>(1);
  Ring<std::shared_ptr<int>> ring;
  ring.push_back(value);
  ring.push_back(value);
  ring.pop_front();
  EXPECT_EQ(value.use_count(), 2);
  ring.pop_back();
  EXPECT_EQ(value.use_count(), 1);
  EXPECT_DEATH(ring.pop_back(), "CHECK failed");
  EXPECT_DEATH(ring.pop_front(), "CHECK failed");
}

TEST(Buffers, GiveTheSameMemoryOutAgainEmpty) {
  Buffers buffers;
  std::vector<Entry> entries(10);
  const Entry* const memory = entries.data();
  buffers.Give(std::move(entries));
  const std::vector<Entry> again = buffers.TakeEntries();
  EXPECT_EQ(again.data(), memory);
  EXPECT_TRUE(again.empty());
  EXPECT_EQ(buffers.TakeEntries().capacity(), 0u);
}

TEST(Buffers, DropWhatIsInThemAtOnce) {
  Buffers buffers;
  Message message;
  message.entries.push_back(Entry{.payload = Payload(std::string_view("x"))});
  Payload payload = message.entries.front().payload;
  std::vector<Message> messages;
  messages.push_back(std::move(message));
  buffers.Give(std::move(messages));
  EXPECT_NE(payload.mutable_data(), nullptr);  // the sole copy: else it dies
  EXPECT_EQ(buffers.kept(), 2u);               // the messages', and its entries'
}

TEST(Buffers, AreBounded) {
  Buffers buffers;
  std::vector<Entry> large;
  large.reserve(Buffers::kItemsMax + 1);
  buffers.Give(std::move(large));
  EXPECT_EQ(buffers.kept(), 0u);
  buffers.Give(std::vector<Entry>());
  EXPECT_EQ(buffers.kept(), 0u);
  for (size_t i = 0; i < 2 * Buffers::kVectorsMax; ++i) buffers.Give(std::vector<Entry>(1));
  EXPECT_EQ(buffers.kept(), Buffers::kVectorsMax);
}

TEST(Buffers, ACoreHandsOutTheVectorsOfFinishedTasksAgain) {
  SnapshotMeta start{{Term(1), LogIndex(1)}, {.voters = {NodeId(1), NodeId(2)}}};
  TailLog view(start.last, SIZE_MAX);
  Config config;
  config.id = NodeId(1);
  RaftCore core(config, view, {{Term(1), kNobody, LogIndex(1)}, start.conf, LogIndex(1)});
  std::set<const void*> memory;
  // Whether all vectors of this round were seen before.
  const auto carry_out = [&] {
    bool known = true;
    const auto look = [&](const void* at) {
      if (at != nullptr) known = !memory.insert(at).second && known;
    };
    while (core.HasReady()) {
      Ready ready = core.TakeReady();
      look(ready.send_now.data());
      for (Message& message : ready.send_now) {
        look(message.entries.data());
        if (message.type != MessageType::kAppend && !NeedsDurableTerm(message)) continue;
        Message answer;
        answer.type = message.type == MessageType::kAppend ? MessageType::kAppendResponse
                                                           : MessageType::kVoteResponse;
        answer.from = NodeId(2);
        answer.to = NodeId(1);
        answer.term = message.term;
        answer.log.index = message.log.index + message.entries.size();
        EXPECT_TRUE(core.Step(answer).ok());
      }
      core.buffers().Give(std::move(ready.send_now));
      if (ready.append) {
        look(ready.append->entries.data());
        look(ready.append->after_durable.data());
        view.Extend(*ready.append);
        core.AppendDone(ready.append->seq);
        for (Message& own : ready.append->after_durable) {
          EXPECT_TRUE(core.StepOwn(std::move(own)).ok());
        }
        core.buffers().Give(*std::move(ready.append));
      }
      if (!ready.apply) continue;
      look(ready.apply->entries.data());
      core.ApplyDone(ready.apply->entries.back().index);
      core.buffers().Give(*std::move(ready.apply));
    }
    return known;
  };
  Message pre_vote;
  pre_vote.type = MessageType::kPreVoteResponse;
  pre_vote.from = NodeId(2);
  pre_vote.to = NodeId(1);
  pre_vote.term = Term(2);
  core.Campaign();
  ASSERT_TRUE(core.Step(pre_vote).ok());
  carry_out();
  ASSERT_TRUE(core.is_leader());
  for (int i = 0; i < 100; ++i) {
    Payload payload(std::string_view("x"));
    ASSERT_EQ(core.Propose({&payload, 1}).code, ProposeCode::kAccepted);
    EXPECT_TRUE(carry_out() || i < 10) << i;
  }
  EXPECT_EQ(core.applied(), core.last_index());
  EXPECT_LE(core.buffers().kept(), 20u);
}

}  // namespace
}  // namespace metastore::raft
