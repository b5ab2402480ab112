// KvClient: a small blocking client of etcd's KV service over one HTTP/2 connection to a node on
// the loopback, with several calls under way. For one thread.
//
// The bytes are the load generator's (bench/load/wire.h), which share nothing with net/.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "io/base/status.h"
#include "io/base/time.h"
#include "tools/walinspect/crashtest/history.h"

namespace metastore::crashtest {

class KvClient final {
 public:
  // Errors, of all: kUnavailable       refused, or the connection was lost
  //                 kDeadlineExceeded  no answer in kAnswerMax
  //                 kInternal          an answer that makes no sense, or a call that was refused
  static constexpr Duration kAnswerMax = Seconds(30);

  static StatusOr<std::unique_ptr<KvClient>> Connect(uint16_t port);
  ~KvClient();
  KvClient(const KvClient&) = delete;
  KvClient& operator=(const KvClient&) = delete;

  struct Answer {
    uint64_t tag = 0;
    uint64_t revision = 0;
  };
  // Begins a call, whose answer will bear `tag`. Key and value together: at most 32 KiB.
  Status StartPut(uint64_t tag, std::string_view key, std::string_view value);
  Status StartDelete(uint64_t tag, std::string_view key);
  // Waits for the next answer of the calls under way.
  StatusOr<Answer> Await();
  size_t under_way() const { return calls_.size(); }

  // All keys, linearizably; nothing else may be under way.
  StatusOr<StoreState> ReadAll();

 private:
  struct Call {
    uint64_t tag = 0;
    std::string body;
  };
  struct Decoder;

  explicit KvClient(int fd);
  Status Start(uint64_t tag, std::string_view method, std::string_view message);
  void AppendCall(uint32_t stream, std::string_view method, std::string_view message);
  Status SendAll(std::string_view bytes);
  // Sends what the peer's windows allow of what waits.
  Status SendWaiting();
  Status Receive(MonoTime deadline);
  struct Frame;
  bool TakeFrame(Frame& frame);
  // Gives true when the stream ended well.
  StatusOr<bool> Handle(const Frame& frame);
  StatusOr<std::pair<uint32_t, Call>> AwaitCall();

  const int fd_;
  std::unique_ptr<Decoder> decoder_;
  std::string input_;
  struct Waiting {
    std::string frames;
    int64_t data_bytes = 0;  // of them: what the window counts
  };
  std::deque<Waiting> waiting_;  // calls that the connection's window holds up
  int64_t window_ = 65535;       // of the connection, for what we send
  uint32_t next_stream_ = 1;
  std::map<uint32_t, Call> calls_;  // by stream
};

}  // namespace metastore::crashtest
