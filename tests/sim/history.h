// History: what clients did and were told, and the checks that hold whatever crashes in between.
//
// Revisions are the store's own claim of a total order; the checks hold it to that:
//  1. Every acknowledged write is in the store at its revision, with its value.
//  2. No two acknowledged writes have one revision.
//  3. Real time: a call that began after another had returned sees no lower revision, and a write a
//     higher one.
//  4. A read returns the newest version at or below its header's revision, as the final store has
//  it.
// Together they make the register and compare-and-swap histories linearizable.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/base/time.h"

namespace metastore::sim_test {

struct WriteEvent {
  std::string key;
  std::string value;  // empty: a delete
  int64_t revision = 0;
  MonoTime began;
  MonoTime returned;
};

struct ReadEvent {
  std::string key;
  bool found = false;
  std::string value;
  int64_t mod_revision = 0;
  int64_t header_revision = 0;
  MonoTime began;
  MonoTime returned;
};

class History final {
 public:
  void Acknowledged(WriteEvent write) { writes_.push_back(std::move(write)); }
  void Read(ReadEvent read) { reads_.push_back(std::move(read)); }
  void Unknown() { ++unknown_; }

  const std::vector<WriteEvent>& writes() const { return writes_; }
  const std::vector<ReadEvent>& reads() const { return reads_; }
  uint64_t unknown() const { return unknown_; }

  // Problems of order alone (2 and 3), one line each.
  std::vector<std::string> CheckOrder() const;

 private:
  std::vector<WriteEvent> writes_;
  std::vector<ReadEvent> reads_;
  uint64_t unknown_ = 0;  // writes without an answer: they may have happened
};

}  // namespace metastore::sim_test
