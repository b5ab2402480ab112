// The one place where an operation is permitted or refused.
//
// Every service calls Authorise once an operation, with the principal the connection and its
// metadata name, before it does anything. Authentication cannot be turned on yet (etcd's default),
// and while it is off everybody may do everything, as in etcd.
#pragma once

#include <string>
#include <string_view>

#include "engine/command.h"
#include "io/base/status.h"
#include "net/grpc.h"

namespace metastore::server {

struct Principal {
  std::string user;  // empty: nobody in particular
};

enum class Permission : uint8_t { kRead, kWrite, kAdminister, kStatus };

// What an operation touches: keys for kRead and kWrite, else nothing.
struct Access {
  Permission permission = Permission::kStatus;
  std::string_view key;
  std::string_view range_end;
};

// Who asks: from the request's metadata.
Principal PrincipalOf(const net::GrpcRequest& request);

// Errors: none while authentication is off.
Status Authorise(const Principal& principal, const Access& access);
// Every access of a transaction, both branches and compares included.
Status Authorise(const Principal& principal, const engine::TxnOp& txn);
// The writes, and the reads of previous pairs.
Status Authorise(const Principal& principal, const engine::PutOp& put);
Status Authorise(const Principal& principal, const engine::DeleteRangeOp& op);

}  // namespace metastore::server
