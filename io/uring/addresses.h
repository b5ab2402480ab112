// Addresses as the system has them.
#pragma once

#include <sys/socket.h>

#include "io/base/status.h"
#include "io/socket.h"

namespace metastore::io::uring {

struct SystemAddress {
  sockaddr_storage storage = {};
  socklen_t bytes = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

// Errors: kInvalidArgument  `address.ip` is no IPv4 or IPv6 literal
StatusOr<SystemAddress> ToSystem(const Address& address);
// An empty address for families other than IPv4 and IPv6.
Address FromSystem(const SystemAddress& address);

}  // namespace metastore::io::uring
