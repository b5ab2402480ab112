// Recorded scripts, whatever folder they are in: found, told apart by their commands, run, and
// compared with what they expect.
//
// Three kinds: majorities (`committed`, `vote`), membership changes (`simple`, `enter-joint`,
// `leave-joint`) and whole clusters (all other commands). Log lines are taken out on both sides; an
// output of nothing else is "ok".
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"
#include "tests/raft/datadriven.h"

namespace metastore::raft {

// Runs the blocks of one script, which share a state.
class ScriptRunner {
 public:
  virtual ~ScriptRunner() = default;
  // The output of a block.
  // Errors: kInvalidArgument   the block asks for what cannot be: a missing or superfluous
  // argument,
  //                            a node that was not added
  //         kInternal          the core did what it must never do, or what was asked is beyond it
  virtual StatusOr<std::string> Run(const Directive& directive) = 0;
};

std::unique_ptr<ScriptRunner> MakeQuorumScript();
std::unique_ptr<ScriptRunner> MakeConfChangerScript();
std::unique_ptr<ScriptRunner> MakeInteractionScript();

// A runner for what the script's commands are; null where no command is known.
std::unique_ptr<ScriptRunner> RunnerFor(const std::vector<Directive>& script);

// Scripts at or below `path`, sorted: files named *.txt or without an extension that have a line
// "----".
std::vector<std::string> FindScripts(const std::string& path);
// The recorded scripts that come with the project's shared files; none where those are not there.
std::vector<std::string> SharedScripts();

// What is wrong with the first block that differs, with its lines; empty when the script gives all
// of its output.
std::string Difference(const std::string& path);

// The script's text with the output of this run in the place of what it expects.
// Errors: those of ParseScript and of ScriptRunner::Run
StatusOr<std::string> Rewritten(const std::string& path);

}  // namespace metastore::raft
