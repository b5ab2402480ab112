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
inline constexpr ClientError kNotLeader{StatusCode::kFailedPrecondition, "etcdserver: not leader"};
inline constexpr ClientError kBadLeaderTransferee{StatusCode::kFailedPrecondition,
                                                  "etcdserver: bad leader transferee"};
inline constexpr ClientError kTransferTimeout{
    StatusCode::kUnknown, "etcdserver: request timed out, leader transfer took too long"};
inline constexpr ClientError kNotSupportedForLearner{StatusCode::kFailedPrecondition,
                                                     "etcdserver: rpc not supported for learner"};
inline constexpr ClientError kMemberExists{StatusCode::kFailedPrecondition,
                                           "etcdserver: member ID already exist"};
inline constexpr ClientError kPeerUrlExists{StatusCode::kFailedPrecondition,
                                            "etcdserver: Peer URLs already exists"};
inline constexpr ClientError kMemberNotEnoughStarted{
    StatusCode::kFailedPrecondition,
    "etcdserver: re-configuration failed due to not enough started members"};
inline constexpr ClientError kMemberBadUrls{StatusCode::kInvalidArgument,
                                            "etcdserver: given member URLs are invalid"};
inline constexpr ClientError kMemberNotFound{StatusCode::kNotFound, "etcdserver: member not found"};
inline constexpr ClientError kMemberNotLearner{StatusCode::kFailedPrecondition,
                                               "etcdserver: can only promote a learner member"};
inline constexpr ClientError kLearnerNotReady{
    StatusCode::kFailedPrecondition,
    "etcdserver: can only promote a learner member which is in sync with leader"};
inline constexpr ClientError kTooManyLearners{StatusCode::kFailedPrecondition,
                                              "etcdserver: too many learner members in cluster"};
inline constexpr ClientError kUnhealthy{StatusCode::kUnavailable, "etcdserver: unhealthy cluster"};
inline constexpr ClientError kWatchCanceled{StatusCode::kCancelled, "etcdserver: watch canceled"};
inline constexpr ClientError kStopped{StatusCode::kUnavailable, "etcdserver: server stopped"};
inline constexpr ClientError kTimeout{StatusCode::kUnavailable, "etcdserver: request timed out"};
inline constexpr ClientError kTimeoutLeaderFailed{
    StatusCode::kUnavailable,
    "etcdserver: request timed out, possibly due to previous leader failure"};
// etcd has no such state; a client tries another member.
inline constexpr ClientError kRepairing{
    StatusCode::kUnavailable, "metastore: the member is being repaired from the other members"};
inline constexpr ClientError kCorrupt{StatusCode::kDataLoss, "etcdserver: corrupt cluster"};

}  // namespace errors
}  // namespace metastore::server
