#include "tests/sim/service_client.h"

namespace metastore::sim_test {

io::Task<bool> ServiceClient::Connect(MonoTime deadline) {
  if (connected()) co_return true;
  if (client_ != nullptr) {
    co_await Reset();
  }
  client_ = std::make_unique<net_test::GrpcClient>(runtime_, options_);
  Status connected = co_await client_->Connect(server_, deadline);
  if (!connected.ok()) client_.reset();
  co_return connected.ok();
}

io::Task<void> ServiceClient::Reset() {
  if (client_ == nullptr) co_return;
  co_await client_->Close();
  client_.reset();
}

}  // namespace metastore::sim_test
