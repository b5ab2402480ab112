#include "io/uring/addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace metastore::io::uring {

StatusOr<SystemAddress> ToSystem(const Address& address) {
  SystemAddress out;
  sockaddr_in v4 = {};
  sockaddr_in6 v6 = {};
  if (inet_pton(AF_INET, address.ip.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&out.storage, &v4, sizeof(v4));
    out.bytes = sizeof(v4);
    return out;
  }
  if (inet_pton(AF_INET6, address.ip.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    std::memcpy(&out.storage, &v6, sizeof(v6));
    out.bytes = sizeof(v6);
    return out;
  }
  return InvalidArgumentError("not an IP address: ", address.ip);
}

Address FromSystem(const SystemAddress& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.storage.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address.storage, sizeof(v4));
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return {text, ntohs(v4.sin_port)};
  }
  if (address.storage.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address.storage, sizeof(v6));
    // An IPv4 peer of an IPv6 socket: its address is the last four bytes.
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
    const uint8_t* bytes = v6.sin6_addr.s6_addr;
    inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? bytes + 12 : bytes, text, sizeof(text));
    return {text, ntohs(v6.sin6_port)};
  }
  return {};
}

}  // namespace metastore::io::uring
