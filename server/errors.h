// The errors clients see. etcd's clients match the text, not the code, so every message is exact to
// the byte. Source: etcd v3 API, api/v3rpc/rpctypes; only those this server can give today.
#pragma once

#include <string_view>

#include "io/base/status.h"

namespace metastore::server {

struct ClientError {
  StatusCode code;
  std::string_view message;
};

inline Status ToStatus(const ClientError& error) {
  return Status(error.code, AbslView(error.message));
}

namespace errors {

inline constexpr ClientError kEmptyKey{StatusCode::kInvalidArgument,
                                       "etcdserver: key is not provided"};
inline constexpr ClientError kKeyNotFound{StatusCode::kInvalidArgument,
                                          "etcdserver: key not found"};
inline constexpr ClientError kValueProvided{StatusCode::kInvalidArgument,
                                            "etcdserver: value is provided"};
inline constexpr ClientError kLeaseProvided{StatusCode::kInvalidArgument,
                                            "etcdserver: lease is provided"};
inline constexpr ClientError kTooManyOps{StatusCode::kInvalidArgument,
                                         "etcdserver: too many operations in txn request"};
inline constexpr ClientError kDuplicateKey{StatusCode::kInvalidArgument,
                                           "etcdserver: duplicate key given in txn request"};
inline constexpr ClientError kInvalidSortOption{StatusCode::kInvalidArgument,
                                                "etcdserver: invalid sort option"};
inline constexpr ClientError kInvalidClientApiVersion{StatusCode::kInvalidArgument,
                                                      "etcdserver: invalid client api version"};
inline constexpr ClientError kRequestTooLarge{StatusCode::kInvalidArgument,
                                              "etcdserver: request is too large"};
inline constexpr ClientError kCompacted{StatusCode::kOutOfRange,
                                        "etcdserver: mvcc: required revision has been compacted"};
inline constexpr ClientError kFutureRevision{
    StatusCode::kOutOfRange, "etcdserver: mvcc: required revision is a future revision"};
inline constexpr ClientError kNoSpace{StatusCode::kResourceExhausted,
                                      "etcdserver: mvcc: database space exceeded"};
inline constexpr ClientError kTooManyRequests{StatusCode::kResourceExhausted,
                                              "etcdserver: too many requests"};
inline constexpr ClientError kLeaseNotFound{StatusCode::kNotFound,
                                            "etcdserver: requested lease not found"};
inline constexpr ClientError kLeaseExists{StatusCode::kFailedPrecondition,
                                          "etcdserver: lease already exists"};
inline constexpr ClientError kLeaseTtlTooLarge{StatusCode::kOutOfRange,
                                               "etcdserver: too large lease TTL"};
inline constexpr ClientError kNoLeader{StatusCode::kUnavailable, "etcdserver: no leader"};
inline constexpr ClientError kLeaderChanged{StatusCode::kUnavailable, "etcdserver: leader changed"};
inline constexpr ClientError kStopped{StatusCode::kUnavailable, "etcdserver: server stopped"};
inline constexpr ClientError kTimeout{StatusCode::kUnavailable, "etcdserver: request timed out"};
inline constexpr ClientError kCorrupt{StatusCode::kDataLoss, "etcdserver: corrupt cluster"};

}  // namespace errors
}  // namespace metastore::server
