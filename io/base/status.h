// Status values, and the one place that bridges std::string_view and this abseil's own
// absl::string_view.
//
// absl 20220623 neither converts between the two nor accepts std::string_view in StrCat and the
// error makers. Use the functions below instead of abseil's, and AbslView/StdView where a call into
// abseil needs one.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace metastore {

using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

inline absl::string_view AbslView(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view StdView(absl::string_view s) { return {s.data(), s.size()}; }

namespace status_internal {
inline absl::string_view Arg(std::string_view s) { return AbslView(s); }
inline absl::string_view Arg(const std::string& s) { return s; }
inline absl::string_view Arg(const char* s) { return s; }
template <typename T>
  requires(!std::is_convertible_v<const T&, std::string_view>)
inline const T& Arg(const T& value) {
  return value;
}
}  // namespace status_internal

// Concatenates strings of any kind, numbers and absl::Hex/Dec.
template <typename... Args>
std::string Concat(const Args&... args) {
  return absl::StrCat(status_internal::Arg(args)...);
}

// Makes a status of `code` whose message is the concatenation of `args`.
template <typename... Args>
Status MakeStatus(StatusCode code, const Args&... args) {
  return Status(code, Concat(args...));
}

#define MS_STATUS_MAKER(Name, code)               \
  template <typename... Args>                     \
  Status Name(const Args&... args) {              \
    return MakeStatus(StatusCode::code, args...); \
  }
MS_STATUS_MAKER(CancelledError, kCancelled)
MS_STATUS_MAKER(UnknownError, kUnknown)
MS_STATUS_MAKER(InvalidArgumentError, kInvalidArgument)
MS_STATUS_MAKER(DeadlineExceededError, kDeadlineExceeded)
MS_STATUS_MAKER(NotFoundError, kNotFound)
MS_STATUS_MAKER(AlreadyExistsError, kAlreadyExists)
MS_STATUS_MAKER(PermissionDeniedError, kPermissionDenied)
MS_STATUS_MAKER(ResourceExhaustedError, kResourceExhausted)
MS_STATUS_MAKER(FailedPreconditionError, kFailedPrecondition)
MS_STATUS_MAKER(AbortedError, kAborted)
MS_STATUS_MAKER(OutOfRangeError, kOutOfRange)
MS_STATUS_MAKER(UnimplementedError, kUnimplemented)
MS_STATUS_MAKER(InternalError, kInternal)
MS_STATUS_MAKER(UnavailableError, kUnavailable)
MS_STATUS_MAKER(DataLossError, kDataLoss)
MS_STATUS_MAKER(UnauthenticatedError, kUnauthenticated)
#undef MS_STATUS_MAKER

inline Status OkStatus() { return Status(); }

// The same status with `context` and a colon before its message; OK stays OK.
Status Annotate(const Status& status, std::string_view context);

}  // namespace metastore

// Returns early with a failed status; the CO_ forms are for coroutines whose expression has no
// co_await in it.
#define MS_RETURN_IF_ERROR(expression)            \
  do {                                            \
    ::metastore::Status ms_status = (expression); \
    if (!ms_status.ok()) [[unlikely]]             \
      return ms_status;                           \
  } while (false)
#define MS_CO_RETURN_IF_ERROR(expression)         \
  do {                                            \
    ::metastore::Status ms_status = (expression); \
    if (!ms_status.ok()) [[unlikely]]             \
      co_return ms_status;                        \
  } while (false)
