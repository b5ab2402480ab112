#include "tests/sim/workload.h"

#include <algorithm>
#include <utility>

namespace metastore::sim_test {
namespace {

constexpr Duration kAfterFailure = Milliseconds(50);
constexpr Duration kStopLimit = Seconds(60);
constexpr uint64_t kKeysAtOnceMax = 4;

}  // namespace

Workload::Workload(sim::SimMachine& machine)
    : machine_(machine), gate_(machine.runtime().scheduler()) {}

Workload::~Workload() { Stop(); }

void Workload::Start(const WorkloadOptions& options) {
  CHECK(!servers_.empty());
  on_ = true;
  for (int i = 0; i < options.writers; ++i) {
    gate_.Spawn("writer", io::ReadyClass::kClient, RunWriter(options, i));
  }
}

void Workload::Stop() {
  on_ = false;
  CHECK(machine_.world().RunUntil([&] { return gate_.running() == 0; }, kStopLimit));
}

io::Task<void> Workload::RunWriter(WorkloadOptions options, int number) {
  Prng& prng = machine_.world().prng();
  Writer writer{KvClient(runtime(), AnyServer())};
  for (uint64_t i = 0; on_ && i < options.operations_max; ++i) {
    writer.name = Concat(number, ".", i);
    writer.deadline = runtime().Now() + options.call_timeout;
    writer.began = Now();
    const bool answered = co_await OneOperation(writer, options);
    if (!answered) {
      co_await writer.client.Reset();
      writer.client.MoveTo(AnyServer());
      co_await io::SleepUntil(runtime(), runtime().Now() + kAfterFailure);
    }
    const uint64_t pause = prng.Below(static_cast<uint64_t>(options.pause_max.ns) + 1);
    co_await io::SleepUntil(runtime(), runtime().Now() + Nanoseconds(static_cast<int64_t>(pause)));
  }
  co_await writer.client.Reset();
}

io::Task<bool> Workload::OneOperation(Writer& writer, const WorkloadOptions& options) {
  const uint64_t choice = machine_.world().prng().Below(options.transactions ? 13 : 10);
  if (choice < 3) return ReadOne(writer, options);
  if (choice == 3 && options.deletes) return DeleteOne(writer, options);
  if (choice == 4 && options.swaps) return SwapOne(writer, options);
  if (choice == 10) return ReadSome(writer, options);
  if (choice > 10) return WriteSome(writer, options);
  return WriteOne(writer, options);
}

io::Task<bool> Workload::ReadOne(Writer& writer, const WorkloadOptions& options) {
  const std::string key = AnyKey(options);
  const bool stale =
      options.serializable_percent > 0 &&
      machine_.world().prng().Below(100) < static_cast<uint64_t>(options.serializable_percent);
  const Freshness freshness = stale ? Freshness::kSerializable : Freshness::kLinearizable;
  StatusOr<ReadAck> read = co_await writer.client.Get(key, 0, writer.deadline, freshness);
  if (read.ok()) NoteSeen(writer, key, *read, freshness);
  co_return NoteRead(read.status());
}

io::Task<bool> Workload::ReadSome(Writer& writer, const WorkloadOptions& options) {
  const std::vector<std::string> keys = SomeKeys(options);
  StatusOr<TxnAck> read = co_await writer.client.GetAll(keys, writer.deadline);
  for (size_t i = 0; read.ok() && i < keys.size(); ++i) {
    NoteSeen(writer, keys[i], read->reads[i], Freshness::kLinearizable);
  }
  co_return NoteRead(read.status());
}

io::Task<bool> Workload::WriteOne(Writer& writer, const WorkloadOptions& options) {
  const std::string key = AnyKey(options);
  const std::string value = NewValue(writer, options);
  StatusOr<PutAck> ack = co_await writer.client.Put(key, value, writer.deadline);
  co_return NoteWrite(ack.status(), {.keys = {{key, value}},
                                     .revision = ack.ok() ? ack->revision : 0,
                                     .began = writer.began,
                                     .returned = Now()});
}

io::Task<bool> Workload::WriteSome(Writer& writer, const WorkloadOptions& options) {
  WriteEvent write{.began = writer.began};
  std::vector<std::pair<std::string, std::string>> pairs;
  for (std::string& key : SomeKeys(options)) {
    pairs.emplace_back(key, NewValue(writer, options));
    write.keys.push_back({std::move(key), pairs.back().second});
  }
  StatusOr<TxnAck> ack = co_await writer.client.PutAll(std::move(pairs), writer.deadline);
  if (ack.ok()) write.revision = ack->revision;
  write.returned = Now();
  co_return NoteWrite(ack.status(), std::move(write));
}

io::Task<bool> Workload::DeleteOne(Writer& writer, const WorkloadOptions& options) {
  const std::string key = AnyKey(options);
  StatusOr<PutAck> ack = co_await writer.client.Delete(key, writer.deadline);
  co_return NoteWrite(ack.status(), {.keys = {{key, ""}},
                                     .revision = ack.ok() ? ack->revision : 0,
                                     .began = writer.began,
                                     .returned = Now()});
}

io::Task<bool> Workload::SwapOne(Writer& writer, const WorkloadOptions& options) {
  const std::string key = AnyKey(options);
  const std::string value = NewValue(writer, options);
  StatusOr<ReadAck> read = co_await writer.client.Get(key, 0, writer.deadline);
  if (!read.ok()) co_return NoteRead(read.status());
  writer.began = Now();
  const int64_t expected = read->mod_revision;
  StatusOr<TxnAck> swap =
      co_await writer.client.CompareAndSwap(key, expected, value, writer.deadline);
  if (swap.ok() && !swap->succeeded) {
    NoteSeen(writer, key, swap->reads[0], Freshness::kLinearizable);
    CHECK(swap->reads[0].mod_revision != expected);
    co_return NoteRead(OkStatus());
  }
  co_return NoteWrite(swap.status(), {.keys = {{key, value}},
                                      .revision = swap.ok() ? swap->revision : 0,
                                      .began = writer.began,
                                      .returned = Now(),
                                      .expected = expected});
}

const io::Address& Workload::AnyServer() {
  return servers_[machine_.world().prng().Below(servers_.size())];
}

std::string Workload::AnyKey(const WorkloadOptions& options) {
  return Concat("key", machine_.world().prng().Below(static_cast<uint64_t>(options.keys)));
}

std::vector<std::string> Workload::SomeKeys(const WorkloadOptions& options) {
  const uint64_t most = std::min<uint64_t>(kKeysAtOnceMax, static_cast<uint64_t>(options.keys));
  const uint64_t count = machine_.world().prng().Between(1, most);
  std::vector<std::string> keys;
  while (keys.size() < count) {
    std::string key = AnyKey(options);
    if (std::ranges::find(keys, key) == keys.end()) keys.push_back(std::move(key));
  }
  return keys;
}

std::string Workload::NewValue(const Writer& writer, const WorkloadOptions& options) {
  const uint64_t filler =
      machine_.world().prng().Below(static_cast<uint64_t>(options.value_bytes_max));
  std::string value = Concat(writer.name, ".", ++values_, ":", std::string(filler, 'v'));
  history_.Asked(value);
  return value;
}

bool Workload::NoteRead(const Status& status) {
  ++(status.ok() ? counts_.reads : counts_.reads_failed);
  return status.ok();
}

bool Workload::NoteWrite(const Status& status, WriteEvent write) {
  if (status.ok()) {
    ++counts_.acknowledged;
    history_.Acknowledged(std::move(write));
  } else {
    ++counts_.unknown;
    history_.Unknown();
  }
  return status.ok();
}

void Workload::NoteSeen(const Writer& writer, const std::string& key, const ReadAck& ack,
                        Freshness freshness) {
  history_.Read({.key = key,
                 .found = ack.found,
                 .value = ack.value,
                 .mod_revision = ack.mod_revision,
                 .header_revision = ack.header_revision,
                 .began = writer.began,
                 .returned = Now(),
                 .serializable = freshness == Freshness::kSerializable});
}

}  // namespace metastore::sim_test
