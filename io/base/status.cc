#include "io/base/status.h"

namespace metastore {

Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  return MakeStatus(status.code(), context, ": ", StdView(status.message()));
}

}  // namespace metastore
