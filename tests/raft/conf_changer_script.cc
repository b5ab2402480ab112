// Scripts of membership changes: one tracker a script; the last index grows by one with each block,
// so that `next` shows when a progress was made.
#include "raft/conf_changer.h"
#include "tests/raft/golden.h"
#include "tests/raft/interaction_text.h"

namespace metastore::raft {
namespace {

class ConfChangerScript final : public ScriptRunner {
 public:
  StatusOr<std::string> Run(const Directive& directive) override {
    const ConfChanger changer(tracker_, last_index_, Inflights(10, 0));
    ++last_index_;
    const StatusOr<std::vector<ConfChangeStep>> steps = ParseSteps(directive.input);
    if (!steps.ok()) return std::string(StdView(steps.status().message()));
    StatusOr<Membership> next = InvalidArgumentError("unknown command");
    if (directive.command == "simple") next = changer.Simple(*steps);
    if (directive.command == "enter-joint") {
      next = changer.EnterJoint(directive.Flag("autoleave"), *steps);
    }
    if (directive.command == "leave-joint") {
      next = steps->empty() ? changer.LeaveJoint()
                            : InvalidArgumentError("this command takes no input");
    }
    if (!next.ok()) return std::string(StdView(next.status().message()));
    tracker_.Switch(std::move(next->config), std::move(next->progress));
    return Describe(tracker_.config()) + "\n" + Describe(tracker_.progress());
  }

 private:
  Tracker tracker_;
  LogIndex last_index_;
};

}  // namespace

std::unique_ptr<ScriptRunner> MakeConfChangerScript() {
  return std::make_unique<ConfChangerScript>();
}

}  // namespace metastore::raft
