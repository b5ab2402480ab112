#include "tests/raft/directive_form.h"

#include <algorithm>
#include <array>

namespace metastore::raft {
namespace {

enum class ValueKind : uint8_t { kNumber, kNumbers, kFlag, kText };

struct Option {
  std::string_view command;
  std::string_view key;
  ValueKind kind;
};

struct Form {
  std::string_view command;
  size_t numbers_min = 0;
  size_t numbers_max = 0;
  bool text = false;  // one more position after the numbers
};

constexpr size_t kAny = SIZE_MAX;

constexpr auto kForms = std::to_array<Form>({
    {"_breakpoint:", 0, 0},
    {"add-nodes", 1, 1},
    {"campaign", 1, 1},
    {"compact", 2, 2},
    {"deliver-msgs", 0, kAny},
    {"forget-leader", 1, 1},
    {"log-level", 0, 0, true},
    {"process-append-thread", 0, kAny},
    {"process-apply-thread", 0, kAny},
    {"process-ready", 0, kAny},
    {"propose", 1, 1, true},
    {"propose-conf-change", 1, 1},
    {"raft-log", 1, 1},
    {"raft-state", 0, 0},
    {"report-unreachable", 2, 2},
    {"send-snapshot", 2, 2},
    {"set-randomized-election-timeout", 1, 1},
    {"stabilize", 0, kAny},
    {"status", 1, 1},
    {"tick-election", 1, 1},
    {"tick-heartbeat", 1, 1},
    {"transfer-leadership", 0, 0},
});

constexpr auto kOptions = std::to_array<Option>({
    {"add-nodes", "async-storage-writes", ValueKind::kFlag},
    {"add-nodes", "checkquorum", ValueKind::kFlag},
    {"add-nodes", "content", ValueKind::kText},
    {"add-nodes", "disable-conf-change-validation", ValueKind::kFlag},
    {"add-nodes", "index", ValueKind::kNumber},
    {"add-nodes", "inflight", ValueKind::kNumber},
    {"add-nodes", "learners", ValueKind::kNumbers},
    {"add-nodes", "max-committed-size-per-ready", ValueKind::kNumber},
    {"add-nodes", "prevote", ValueKind::kFlag},
    {"add-nodes", "read-only", ValueKind::kText},
    {"add-nodes", "step-down-on-removal", ValueKind::kFlag},
    {"add-nodes", "voters", ValueKind::kNumbers},
    {"deliver-msgs", "drop", ValueKind::kNumbers},
    {"deliver-msgs", "type", ValueKind::kText},
    {"propose-conf-change", "transition", ValueKind::kText},
    {"propose-conf-change", "v1", ValueKind::kFlag},
    {"set-randomized-election-timeout", "timeout", ValueKind::kNumber},
    {"stabilize", "log-level", ValueKind::kText},
    {"transfer-leadership", "from", ValueKind::kNumber},
    {"transfer-leadership", "to", ValueKind::kNumber},
});

const Form* FormOf(std::string_view command) {
  const auto at = std::find_if(kForms.begin(), kForms.end(),
                               [command](const Form& form) { return form.command == command; });
  return at == kForms.end() ? nullptr : &*at;
}

Status CheckPositions(const Directive& directive, const Form& form) {
  std::vector<std::string_view> positions;
  for (const Directive::Arg& arg : directive.args) {
    if (arg.values.empty()) positions.push_back(arg.key);
  }
  if (form.text) {
    if (positions.size() <= form.numbers_min) return InvalidArgumentError("wants a text");
    positions.pop_back();
  }
  for (const std::string_view position : positions) {
    if (!ParseNumber(position)) return InvalidArgumentError(position, " is no number");
  }
  if (positions.size() < form.numbers_min || positions.size() > form.numbers_max) {
    return InvalidArgumentError("wants ", form.numbers_min, " numbers");
  }
  return OkStatus();
}

bool Fits(const std::string& value, ValueKind kind) {
  switch (kind) {
    case ValueKind::kNumber:
    case ValueKind::kNumbers:
      return ParseNumber(value).has_value();
    case ValueKind::kFlag:
      return value == "true" || value == "t" || value == "1" || value == "false" || value == "f" ||
             value == "0";
    case ValueKind::kText:
      return true;
  }
  return false;
}

Status CheckOption(const Directive& directive, const Directive::Arg& arg) {
  const auto at = std::find_if(kOptions.begin(), kOptions.end(), [&](const Option& option) {
    return option.command == directive.command && option.key == arg.key;
  });
  if (at == kOptions.end()) return InvalidArgumentError("no option ", arg.key);
  for (const std::string& value : arg.values) {
    if (Fits(value, at->kind)) continue;
    const std::string_view wanted = at->kind == ValueKind::kFlag ? "true or false" : "number";
    return InvalidArgumentError(arg.key, ": ", value, " is no ", wanted);
  }
  const bool list = at->kind == ValueKind::kNumbers;
  if (!list && arg.values.size() != 1) return InvalidArgumentError(arg.key, ": wants one value");
  return OkStatus();
}

}  // namespace

bool IsInteractionCommand(std::string_view command) { return FormOf(command) != nullptr; }

Status CheckForm(const Directive& directive) {
  const Form* const form = FormOf(directive.command);
  if (form == nullptr) return InvalidArgumentError("unknown command");
  MS_RETURN_IF_ERROR(CheckPositions(directive, *form));
  // What is proposed may itself have a '='.
  if (directive.command == "propose") return OkStatus();
  for (const Directive::Arg& arg : directive.args) {
    if (!arg.values.empty()) MS_RETURN_IF_ERROR(CheckOption(directive, arg));
  }
  if (directive.command == "transfer-leadership" && directive.args.size() != 2) {
    return InvalidArgumentError("wants from= and to=");
  }
  if (directive.command == "set-randomized-election-timeout" && directive.args.size() != 2) {
    return InvalidArgumentError("wants a node and timeout=");
  }
  return OkStatus();
}

}  // namespace metastore::raft
