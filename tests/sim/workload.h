// Workload: clients on a machine of their own, which put, delete, swap, read and do transactions
// of several keys until told to stop, and write down what they were told (history.h).
//
// Each writer has one connection. When a call gets no answer it counts as unknown, and the writer
// goes on to another member. Clients never stop for a crash: to them it is a lost connection.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/gate.h"
#include "io/sim/sim_world.h"
#include "tests/sim/history.h"
#include "tests/sim/kv_client.h"

namespace metastore::sim_test {

struct WorkloadOptions {
  int writers = 4;
  int keys = 10;
  int value_bytes_max = 300;
  Duration pause_max = Milliseconds(2);
  Duration call_timeout = Seconds(3);
  uint64_t operations_max = UINT64_MAX;  // a writer
  bool deletes = true;
  bool swaps = true;
  bool transactions = false;     // of several keys
  int serializable_percent = 0;  // of the reads of one key
};

struct WorkloadCounts {
  uint64_t acknowledged = 0;  // writes, those included that changed nothing
  uint64_t unknown = 0;       // writes without an answer
  uint64_t reads = 0;         // answered
  uint64_t reads_failed = 0;

  uint64_t operations() const { return acknowledged + unknown + reads; }
};

class Workload final {
 public:
  // `machine` runs a process of one core.
  explicit Workload(sim::SimMachine& machine);
  // Stops.
  ~Workload();

  // The members that writers may turn to; at least one before Start.
  void SetServers(std::vector<io::Address> servers) { servers_ = std::move(servers); }
  void Start(const WorkloadOptions& options);
  // Runs the world until the last writer has gone.
  void Stop();
  bool started() const { return on_; }

  History& history() { return history_; }
  const WorkloadCounts& counts() const { return counts_; }
  io::Runtime& runtime() { return machine_.runtime(); }

 private:
  struct Writer {
    explicit Writer(KvClient kv) : client(std::move(kv)) {}
    KvClient client;
    std::string name;  // of its next operation, unique
    MonoTime deadline;
    MonoTime began;
  };

  io::Task<void> RunWriter(WorkloadOptions options, int number);
  // False: no answer.
  io::Task<bool> OneOperation(Writer& writer, const WorkloadOptions& options);
  io::Task<bool> ReadOne(Writer& writer, const WorkloadOptions& options);
  io::Task<bool> ReadSome(Writer& writer, const WorkloadOptions& options);
  io::Task<bool> WriteOne(Writer& writer, const WorkloadOptions& options);
  io::Task<bool> WriteSome(Writer& writer, const WorkloadOptions& options);
  io::Task<bool> DeleteOne(Writer& writer, const WorkloadOptions& options);
  io::Task<bool> SwapOne(Writer& writer, const WorkloadOptions& options);

  const io::Address& AnyServer();
  std::string AnyKey(const WorkloadOptions& options);
  std::vector<std::string> SomeKeys(const WorkloadOptions& options);
  std::string NewValue(const Writer& writer, const WorkloadOptions& options);
  MonoTime Now() const { return machine_.world().Now(); }
  bool NoteRead(const Status& status);
  bool NoteWrite(const Status& status, WriteEvent write);
  void NoteSeen(const Writer& writer, const std::string& key, const ReadAck& ack,
                Freshness freshness);

  sim::SimMachine& machine_;
  std::vector<io::Address> servers_;
  History history_;
  WorkloadCounts counts_;
  io::Gate gate_;
  uint64_t values_ = 0;
  bool on_ = false;
};

}  // namespace metastore::sim_test
