// A cluster of cores driven by a recorded script: one queue of messages, one command at a time.
//
// A node runs in the scripts' asynchronous mode (tasks wait in queues until told to run) or in
// their synchronous one, which is the adapter of config.h: append, apply and own messages within
// one process-ready.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "raft/raft_core.h"
#include "raft/tail_log.h"
#include "tests/raft/datadriven.h"
#include "tests/raft/golden.h"

namespace metastore::raft {

class InteractionEnv final : public ScriptRunner {
 public:
  static bool Knows(std::string_view command);
  StatusOr<std::string> Run(const Directive& directive) override;

 private:
  struct Node {
    std::unique_ptr<TailLog> log;
    std::unique_ptr<RaftCore> core;
    bool async = false;
    HardState hard;                     // as last seen in a Ready
    std::vector<SnapshotMeta> history;  // one a applied entry
    std::deque<AppendTask> append_work;
    std::deque<ApplyTask> apply_work;
  };
  // In the queue: a message, or the answer of an apply task.
  struct Mail {
    Message message;
    bool apply_response = false;
  };

  Status CheckNodes(const Directive& directive) const;
  StatusOr<std::string> RunOne(const Directive& directive);
  std::string Dispatch(const Directive& directive);
  std::string DispatchToNodes(const Directive& directive);
  std::string DispatchToNode(const Directive& directive, Node& node);
  void SetLogLevel(const std::string& name);
  void AddNodes(const Directive& directive);
  void AddNode(const Directive& directive);
  void Propose(const Directive& directive, Node& node);
  void ProposeConfChange(const Directive& directive, Node& node);
  std::string Compact(Node& node, LogIndex index);
  std::string Stabilize(const Directive& directive);
  bool StabilizeOnce(const std::vector<NodeId>& ids, std::string& out);
  std::string Deliver(const Directive& directive);
  static std::string_view TypeName(const Mail& mail);
  std::string DeliverTo(NodeId to, std::string_view type, bool drop);
  std::string Step(Mail mail);
  std::string ForEach(const Directive& directive, std::string_view what,
                      std::string (InteractionEnv::*process)(Node&));
  std::string ProcessReady(Node& node);
  std::string ProcessAppendThread(Node& node);
  std::string ProcessApplyThread(Node& node);
  std::string ShowReady(Node& node, const Ready& ready);
  void RunAppend(Node& node, AppendTask& task);
  void RunApply(Node& node, const ApplyTask& task);
  void FinishSync(Node& node, Ready ready);
  std::string RaftState() const;
  static std::string RaftLog(Node& node);
  std::string SendSnapshot(const Directive& directive);
  // What the core must never do, whatever the script says: it fails.
  void Demand(bool holds, std::string_view what);

  Node& Find(NodeId id) { return *nodes_.at(id.value() - 1); }
  std::vector<NodeId> Targets(const Directive& directive) const;

  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Mail> messages_;
  bool quiet_ = false;
  std::string error_;   // of the command under way: shown behind its output, and when quiet
  std::string broken_;  // the first demand that did not hold
};

}  // namespace metastore::raft
