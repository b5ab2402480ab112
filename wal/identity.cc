#include "wal/identity.h"

namespace metastore::wal {

io::Task<StatusOr<std::optional<LogIdentity>>> IdentityOfLog(io::Runtime& runtime,
                                                             std::string directory) {
  LogScan scan(runtime, {.directory = directory});
  Status opened = co_await scan.OpenFiles();
  if (opened.code() == StatusCode::kNotFound) co_return std::optional<LogIdentity>();
  MS_CO_RETURN_IF_ERROR(opened);
  Status read = co_await scan.ReadHeaders();
  MS_CO_RETURN_IF_ERROR(read);
  if (scan.finding().verdict == Verdict::kForeign) {
    co_return FailedPreconditionError(scan.finding().file, ": ", scan.finding().detail);
  }
  for (const ScannedFile& file : scan.files()) {
    if (!file.has_header) continue;
    co_return std::optional<LogIdentity>({file.header.cluster, file.header.member});
  }
  co_return std::optional<LogIdentity>();
}

}  // namespace metastore::wal
