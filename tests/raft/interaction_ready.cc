// How a script's node carries out a Ready.
#include "tests/raft/interaction_env.h"
#include "tests/raft/interaction_text.h"

namespace metastore::raft {

std::string InteractionEnv::ProcessReady(Node& node) {
  Ready ready = node.core->TakeReady();
  std::string out = ShowReady(node, ready);
  for (const Message& message : ready.send_now) messages_.push_back({message, false});
  if (node.async) {
    if (ready.append) node.append_work.push_back(std::move(*ready.append));
    if (ready.apply) node.apply_work.push_back(std::move(*ready.apply));
  } else {
    FinishSync(node, std::move(ready));
  }
  return out;
}

void InteractionEnv::FinishSync(Node& node, Ready ready) {
  if (ready.append) {
    RunAppend(node, *ready.append);
    for (const Message& message : ready.append->after_durable) {
      if (message.to != node.core->id()) messages_.push_back({message, false});
    }
  }
  if (ready.apply) RunApply(node, *ready.apply);
  if (ready.append) {
    for (Message& message : ready.append->after_durable) {
      if (message.to != node.core->id()) continue;
      Demand(node.core->StepOwn(std::move(message)).ok(), "a node refuses its own message");
    }
  }
  if (ready.apply) node.core->ApplyDone(ready.apply->entries.back().index);
}

std::string InteractionEnv::ShowReady(Node& node, const Ready& ready) {
  std::string out;
  // The scripts do not count a snapshot alone as to be synced; our tasks do.
  bool must_sync = false;
  if (ready.soft_state) out += Show(*ready.soft_state) + "\n";
  std::string messages;
  for (const Message& message : ready.send_now) messages += Show(message) + "\n";
  if (ready.append) {
    const AppendTask& append = *ready.append;
    must_sync = !append.entries.empty();
    if (append.hard_state) {
      const HardState& hard = *append.hard_state;
      must_sync |= hard.term != node.hard.term || hard.vote != node.hard.vote;
      out += "HardState " + Show(hard) + "\n";
      node.hard = hard;
    }
    Demand(append.must_sync == (must_sync || append.snapshot != nullptr), "must_sync is wrong");
    if (!append.entries.empty()) out += "Entries:\n" + Show(append.entries);
    if (append.snapshot != nullptr) out += "Snapshot " + Show(*append.snapshot) + "\n";
    for (const Message& message : append.after_durable) {
      if (!node.async && message.to != node.core->id()) messages += Show(message) + "\n";
    }
    if (node.async) messages += ShowAppend(node.core->id(), append, /*responses=*/true) + "\n";
  }
  if (ready.apply) {
    out += "CommittedEntries:\n" + Show(ready.apply->entries);
    if (node.async) {
      messages += ShowApply(node.core->id(), *ready.apply, /*responses=*/true) + "\n";
    }
  }
  if (!messages.empty()) out += "Messages:\n" + messages;
  if (out.empty()) return "<empty Ready>";
  return std::string("Ready MustSync=") + (must_sync ? "true" : "false") + ":\n" + out;
}

std::string InteractionEnv::ProcessAppendThread(Node& node) {
  if (node.append_work.empty()) return "no append work to perform";
  AppendTask task = std::move(node.append_work.front());
  node.append_work.pop_front();
  std::string out =
      "Processing:\n" + ShowAppend(node.core->id(), task, /*responses=*/false) + "\nResponses:\n";
  RunAppend(node, task);
  for (Message& message : task.after_durable) {
    out += Show(message) + "\n";
    messages_.push_back({std::move(message), false});
  }
  return out;
}

std::string InteractionEnv::ProcessApplyThread(Node& node) {
  if (node.apply_work.empty()) return "no apply work to perform";
  ApplyTask task = std::move(node.apply_work.front());
  node.apply_work.pop_front();
  const NodeId id = node.core->id();
  const std::string out = "Processing:\n" + ShowApply(id, task, /*responses=*/false) +
                          "\nResponses:\n" + ShowApplyResponse(id, task.entries) + "\n";
  RunApply(node, task);
  Mail answer;
  answer.apply_response = true;
  answer.message.to = id;
  answer.message.from = kApplyThread;
  answer.message.entries = std::move(task.entries);
  messages_.push_back(std::move(answer));
  return out;
}

void InteractionEnv::RunAppend(Node& node, AppendTask& task) {
  if (task.snapshot != nullptr) {
    node.history.push_back(*task.snapshot);
    node.log->SetSnapshot(*task.snapshot);
  }
  node.log->Extend(task);
  node.core->AppendDone(task.seq);
}

void InteractionEnv::RunApply(Node& node, const ApplyTask& task) {
  for (const Entry& entry : task.entries) {
    SnapshotMeta next = node.history.back();
    next.last = entry.id();
    if (entry.type != EntryType::kNormal) {
      const StatusOr<ConfChange> change = DecodeConfChange(entry.payload);
      Demand(change.ok(), "a conf change that does not decode");
      const StatusOr<ConfState> conf = node.core->ApplyConfChange(change.value_or(ConfChange()));
      Demand(conf.ok(), StdView(conf.status().message()));
      if (conf.ok()) next.conf = *conf;
    }
    node.history.push_back(next);
    node.log->SetSnapshot(next);
  }
}

}  // namespace metastore::raft
