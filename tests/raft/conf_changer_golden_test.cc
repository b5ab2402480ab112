// Aim: memberships change as in the recorded scripts, errors included. Method: one tracker a
// script; the last index grows by one with each block, so that `next` shows when a progress was
// made.
#include <gtest/gtest.h>

#include "raft/conf_changer.h"
#include "tests/raft/datadriven.h"
#include "tests/raft/interaction_text.h"

namespace metastore::raft {
namespace {

class Script {
 public:
  std::string Run(const Directive& directive) {
    const ConfChanger changer(tracker_, last_index_, Inflights(10, 0));
    ++last_index_;
    const std::vector<ConfChangeStep> steps = ParseSteps(directive.input);
    StatusOr<Membership> next = InvalidArgumentError("unknown command");
    if (directive.command == "simple") next = changer.Simple(steps);
    if (directive.command == "enter-joint") {
      next = changer.EnterJoint(directive.Flag("autoleave"), steps);
    }
    if (directive.command == "leave-joint") next = changer.LeaveJoint();
    if (!next.ok()) return std::string(StdView(next.status().message()));
    tracker_.Switch(std::move(next->config), std::move(next->progress));
    return Describe(tracker_.config()) + "\n" + Describe(tracker_.progress());
  }

 private:
  Tracker tracker_;
  LogIndex last_index_;
};

TEST(ConfChangerGolden, EveryScriptGivesItsOutput) {
  const std::vector<std::string> files = GoldenFiles("confchange");
  if (files.empty()) GTEST_SKIP() << "no recorded scripts in " MS_SHARED_DIR;
  EXPECT_EQ(files.size(), 9u);
  for (const std::string& file : files) {
    Script script;
    RunScript(
        file, [&script](const Directive& directive) { return script.Run(directive); },
        [](const std::string& text) { return text; });
  }
}

}  // namespace
}  // namespace metastore::raft
