#include "net/byte_stream.h"

#include <utility>

namespace metastore::net {
namespace {

// Hands the socket's own tasks on: no coroutine frame of its own.
class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(std::unique_ptr<io::Socket> socket) : socket_(std::move(socket)) {}

  io::Task<StatusOr<io::ReceivedBytes>> Receive() override { return socket_->Receive(); }
  io::Task<Status> Send(std::string_view bytes) override { return socket_->Send(bytes); }
  void ShutdownSend() override { socket_->ShutdownSend(); }
  void Close() override { socket_->Close(); }
  const io::Address& peer() const override { return socket_->peer(); }

 private:
  std::unique_ptr<io::Socket> socket_;
};

}  // namespace

std::unique_ptr<ByteStream> MakePlainStream(std::unique_ptr<io::Socket> socket) {
  return std::make_unique<PlainStream>(std::move(socket));
}

}  // namespace metastore::net
