// From errno to the statuses of io/file.h and io/socket.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/status.h"

namespace metastore::io::uring {

// "ENOSPC"; "errno 4711" where the C library has no name.
std::string ErrnoName(int error);

// The failure of `operation` ("write at 4096") on `path`; `error` is a positive errno.
Status FileStatus(int error, std::string_view operation, std::string_view path);

// The failure of `operation` ("send") on a socket.
Status SocketStatus(int error, std::string_view operation);

}  // namespace metastore::io::uring
