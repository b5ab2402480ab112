#include "io/file.h"

namespace metastore::io {
namespace {

FileAwaiter Transfer(File& file, FileOpKind kind, uint64_t offset, std::span<char> bytes) {
  FileAwaiter awaiter(file, kind);
  awaiter.op().offset = offset;
  awaiter.op().data = bytes.data();
  awaiter.op().size = bytes.size();
  return awaiter;
}

}  // namespace

FileAwaiter File::Read(uint64_t offset, std::span<char> into, int registered_index) {
  FileAwaiter awaiter = Transfer(*this, FileOpKind::kRead, offset, into);
  awaiter.op().registered_index = registered_index;
  return awaiter;
}

FileAwaiter File::Write(uint64_t offset, std::span<char> from, int registered_index) {
  FileAwaiter awaiter = Transfer(*this, FileOpKind::kWrite, offset, from);
  awaiter.op().registered_index = registered_index;
  return awaiter;
}

FileAwaiter File::DurableWrite(uint64_t offset, std::span<char> from, DurableMethod method) {
  FileAwaiter awaiter = Transfer(*this, FileOpKind::kDurableWrite, offset, from);
  awaiter.op().method = method;
  return awaiter;
}

FileAwaiter File::Sync() { return FileAwaiter(*this, FileOpKind::kSync); }

FileAwaiter File::Allocate(uint64_t bytes) {
  FileAwaiter awaiter(*this, FileOpKind::kAllocate);
  awaiter.op().size = bytes;
  return awaiter;
}

FileAwaiter File::Truncate(uint64_t bytes) {
  FileAwaiter awaiter(*this, FileOpKind::kTruncate);
  awaiter.op().size = bytes;
  return awaiter;
}

}  // namespace metastore::io
