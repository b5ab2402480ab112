// What the commands of cluster scripts look like, so that their code can rely on it.
#pragma once

#include <string_view>

#include "io/base/status.h"
#include "tests/raft/datadriven.h"

namespace metastore::raft {

// Whether there is a cluster command of this name.
bool IsInteractionCommand(std::string_view command);

// Checks positions, options and the kind of their values.
// Errors: kInvalidArgument   says what is missing, superfluous or no number
Status CheckForm(const Directive& directive);

}  // namespace metastore::raft
