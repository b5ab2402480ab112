#include "io/uring/errno_status.h"

#include <cerrno>
#include <cstring>

namespace metastore::io::uring {
namespace {

StatusCode FileCode(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return StatusCode::kResourceExhausted;
    case EIO:
    case EILSEQ:
    case EBADMSG:  // checksum error of the file system
    case EUCLEAN:  // its structures are damaged
    case EREMOTEIO:
    case ENODATA:  // a medium error, as some drivers name it
      return StatusCode::kDataLoss;
    case ENOENT:
    case ENOTDIR:
      return StatusCode::kNotFound;
    case EEXIST:
      return StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return StatusCode::kPermissionDenied;
    case ECANCELED:
      return StatusCode::kCancelled;
    default:
      return StatusCode::kInternal;
  }
}

StatusCode SocketCode(int error) {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
      return StatusCode::kResourceExhausted;
    case EADDRINUSE:
      return StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
      return StatusCode::kPermissionDenied;
    case ECANCELED:
      return StatusCode::kCancelled;
    default:
      return StatusCode::kUnavailable;  // reset, refused, unreachable, timed out: the other side is
                                        // not there
  }
}

}  // namespace

std::string ErrnoName(int error) {
  const char* name = strerrorname_np(error);
  return name == nullptr ? Concat("errno ", error) : std::string(name);
}

Status FileStatus(int error, std::string_view operation, std::string_view path) {
  const char* text = strerrordesc_np(error);
  return MakeStatus(FileCode(error), path, ": ", operation, ": ", ErrnoName(error),
                    text == nullptr ? "" : ", ", text == nullptr ? "" : text);
}

Status SocketStatus(int error, std::string_view operation) {
  const char* text = strerrordesc_np(error);
  return MakeStatus(SocketCode(error), operation, ": ", ErrnoName(error),
                    text == nullptr ? "" : ", ", text == nullptr ? "" : text);
}

}  // namespace metastore::io::uring
