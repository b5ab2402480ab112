// A cluster of cores driven by a recorded script: one queue of messages, one command at a time.
//
// A node runs in the scripts' asynchronous mode (tasks wait in queues until told to run) or in
// their synchronous one, which is the adapter of config.h: append, apply and own messages within
// one process-ready.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "raft/raft_core.h"
#include "raft/tail_log.h"
#include "tests/raft/datadriven.h"

namespace metastore::raft {

class InteractionEnv {
 public:
  // Runs one block; returns its output.
  std::string Run(const Directive& directive);

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
  class Indented;

  std::string Dispatch(const Directive& directive);
  std::string DispatchToNode(const Directive& directive, Node& node);
  std::string AddNodes(const Directive& directive);
  void AddNode(const Directive& directive);
  std::string Propose(const Directive& directive, Node& node);
  std::string ProposeConfChange(const Directive& directive, Node& node);
  std::string Stabilize(const Directive& directive);
  bool StabilizeOnce(const std::vector<NodeId>& ids, std::string& out);
  std::string Deliver(const Directive& directive);
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

  Node& Find(NodeId id) { return *nodes_.at(id.value() - 1); }
  std::vector<NodeId> Targets(const Directive& directive) const;

  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Mail> messages_;
  bool quiet_ = false;
};

}  // namespace metastore::raft
