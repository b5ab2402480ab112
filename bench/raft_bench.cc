// raft_bench: what the core costs, without disk and network: a cluster in memory whose writes are
// durable at once and whose messages arrive in order.
//
//   raft_bench [proposals]       default 200,000 of 256 bytes for each row
//
// Expected before measuring: a step some 100 ns; a proposal with 1 voter 3 steps and a Ready
// (0.3 us), with 3 voters some 12 steps (1.2 us), with 5 some 22 (2.2 us). No allocation but the
// caller's of the payload's bytes, which is not counted: vectors go back to the core that made them
// (buffers.h). Rows: proposals one at a time (each committed and applied before the next) and in
// batches of 64 payloads. Figures: of this thread's processor time, median of five rounds;
// allocations are counted by operator new.
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "io/base/check.h"
#include "raft/raft_core.h"
#include "raft/tail_log.h"

namespace {
uint64_t allocations = 0;
}  // namespace

void* operator new(size_t size) {
  ++allocations;
  void* const memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace metastore::raft {
namespace {

constexpr size_t kPayloadBytes = 256;
constexpr size_t kCompactEvery = 4096;
constexpr int kRounds = 5;

struct Node {
  std::unique_ptr<TailLog> view;
  std::unique_ptr<RaftCore> core;
};

class Cluster {
 public:
  explicit Cluster(uint64_t voters) {
    SnapshotMeta start;
    start.last = {Term(1), LogIndex(1)};
    for (uint64_t id = 1; id <= voters; ++id) start.conf.voters.emplace_back(id);
    for (uint64_t id = 1; id <= voters; ++id) {
      Node node;
      node.view = std::make_unique<TailLog>(start.last, SIZE_MAX);
      Config config;
      config.id = NodeId(id);
      config.seed = id;
      node.core = std::make_unique<RaftCore>(
          config, *node.view,
          InitialState{{Term(1), kNobody, LogIndex(1)}, start.conf, LogIndex(1)});
      nodes_.push_back(std::move(node));
    }
    leader().Campaign();
    Settle();
    CHECK(leader().is_leader());
  }

  void Propose(size_t count) {
    payloads_.clear();
    for (size_t i = 0; i < count; ++i) payloads_.emplace_back(text_);
    CHECK(leader().Propose(payloads_).code == ProposeCode::kAccepted);
    Settle();
    CHECK_EQ(leader().applied(), leader().last_index());
    if (leader().last_index() - compacted_ < kCompactEvery) return;
    compacted_ = leader().last_index();
    for (Node& node : nodes_) node.view->Compact(node.core->applied());
  }

  uint64_t steps() const { return steps_; }

 private:
  RaftCore& leader() { return *nodes_.front().core; }

  void Settle() {
    for (bool worked = true; worked;) {
      worked = false;
      for (Node& node : nodes_) {
        while (node.core->HasReady()) {
          Pump(node);
          worked = true;
        }
      }
      std::swap(network_, arriving_);
      for (Message& message : arriving_) Deliver(message);
      arriving_.clear();
    }
  }

  // As a link does: the sender gets its vector back, the receiver decodes into one of its own.
  void Deliver(Message& message) {
    ++steps_;
    RaftCore& to = *nodes_[message.to.value() - 1].core;
    if (!message.entries.empty()) {
      std::vector<Entry> entries = to.buffers().TakeEntries();
      entries.assign(std::make_move_iterator(message.entries.begin()),
                     std::make_move_iterator(message.entries.end()));
      std::swap(message.entries, entries);
      nodes_[message.from.value() - 1].core->buffers().Give(std::move(entries));
    }
    CHECK(to.Step(std::move(message)).ok());
  }

  void Pump(Node& node) {
    RaftCore& core = *node.core;
    Ready ready = core.TakeReady();
    for (Message& message : ready.send_now) network_.push_back(std::move(message));
    core.buffers().Give(std::move(ready.send_now));
    if (ready.append) Append(node, *ready.append);
    if (!ready.apply) return;
    core.ApplyDone(ready.apply->entries.back().index);
    core.buffers().Give(*std::move(ready.apply));
  }

  void Append(Node& node, AppendTask& task) {
    RaftCore& core = *node.core;
    node.view->Extend(task);
    core.AppendDone(task.seq);
    for (Message& message : task.after_durable) {
      if (message.to != core.id()) {
        network_.push_back(std::move(message));
        continue;
      }
      ++steps_;
      CHECK(core.StepOwn(std::move(message)).ok());
    }
    core.buffers().Give(std::move(task));
  }

  std::vector<Node> nodes_;
  std::vector<Message> network_;
  std::vector<Message> arriving_;
  std::vector<Payload> payloads_;
  const std::string text_ = std::string(kPayloadBytes, 'x');
  LogIndex compacted_;
  uint64_t steps_ = 0;
};

double SecondsNow() {
  timespec now;
  CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void Row(uint64_t voters, size_t batch, size_t proposals) {
  Cluster cluster(voters);
  for (size_t i = 0; i < 1000; ++i) cluster.Propose(batch);
  const size_t calls = std::max<size_t>(1, proposals / batch / kRounds);
  const uint64_t allocated = allocations;
  const uint64_t stepped = cluster.steps();
  std::array<double, kRounds> seconds;
  for (double& round : seconds) {
    const double begin = SecondsNow();
    for (size_t i = 0; i < calls; ++i) cluster.Propose(batch);
    round = SecondsNow() - begin;
  }
  std::sort(seconds.begin(), seconds.end());
  const double all = static_cast<double>(calls * kRounds * batch);
  const double rate = static_cast<double>(calls * batch) / seconds[kRounds / 2];
  const double steps = static_cast<double>(cluster.steps() - stepped) / all;
  std::printf("%6llu %6zu %14.0f %14.0f %12.2f %14.2f\n", static_cast<unsigned long long>(voters),
              batch, rate, rate * steps, steps, static_cast<double>(allocations - allocated) / all);
}

}  // namespace
}  // namespace metastore::raft

int main(int argc, char** argv) {
  // Else the payloads freed by a compaction go back to the kernel, which a node with more on its
  // heap than this cluster does not do: that would be half of what one voter costs.
  CHECK_EQ(mallopt(M_TRIM_THRESHOLD, 256 << 20), 1);
  const size_t proposals = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200'000;
  std::printf("voters  batch    proposals/s        steps/s  steps/prop.  allocs/prop.\n");
  for (const size_t batch : {size_t{1}, size_t{64}}) {
    for (const uint64_t voters : {1u, 3u, 5u}) metastore::raft::Row(voters, batch, proposals);
  }
}
