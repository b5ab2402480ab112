#include "io/socket.h"

namespace metastore::io {

std::string Address::ToString() const {
  const bool v6 = ip.find(':') != std::string::npos;
  return v6 ? Concat("[", ip, "]:", port) : Concat(ip, ":", port);
}

}  // namespace metastore::io
