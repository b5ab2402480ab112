// RecordRing: the last records of one writer, in memory that others read at the same time, without
// locks: the writer never waits, and a reader never takes a record that was overwritten meanwhile.
//
// A record is a fixed number of 64-bit words; records are numbered from 0 on, and record n lies in
// slot n modulo the number of slots. Layout in words, in the machine's byte order:
//   0 format, written last   1 words a record   2 slots   3 records written   4..7 zero
//   8.. slots: each a sequence word and the record's words
// The sequence is 2n + 1 while record n is written and 2n + 2 once it is whole (0: never used). A
// reader takes the words between two looks at the sequence and keeps them only if both say whole.
// All words are read and written as relaxed atomics; the fences order them (H.-J. Boehm, "Can
// seqlocks get along with programming language memory models?", MSPC 2012).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "io/base/check.h"
#include "io/base/status.h"

namespace metastore::io {

struct RecordRingShape {
  uint64_t format = 0;  // what the records are, and in which version; not 0
  size_t record_words = 0;
  size_t slots = 0;

  constexpr size_t words() const { return kHeaderWords + slots * (1 + record_words); }
  constexpr size_t slot_at(uint64_t number) const {
    return kHeaderWords + static_cast<size_t>(number % slots) * (1 + record_words);
  }
  static constexpr size_t kHeaderWords = 8;
};

class RecordRingWriter final {
 public:
  // `memory`: zeros, of shape.words(), which outlive it.
  RecordRingWriter(std::span<uint64_t> memory, const RecordRingShape& shape)
      : memory_(memory), shape_(shape) {
    CHECK_EQ(memory.size(), shape.words());
    CHECK(shape.format != 0);
    memory_[1] = shape.record_words;
    memory_[2] = shape.slots;
    Word(0).store(shape.format, std::memory_order_release);
  }

  void Append(std::span<const uint64_t> record) {
    CHECK_EQ(record.size(), shape_.record_words);
    const size_t slot = shape_.slot_at(written_);
    Word(slot).store(2 * written_ + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    for (size_t i = 0; i < record.size(); ++i) {
      Word(slot + 1 + i).store(record[i], std::memory_order_relaxed);
    }
    Word(slot).store(2 * written_ + 2, std::memory_order_release);
    Word(3).store(++written_, std::memory_order_release);
  }

 private:
  std::atomic_ref<uint64_t> Word(size_t at) { return std::atomic_ref(memory_[at]); }

  std::span<uint64_t> memory_;
  RecordRingShape shape_;
  uint64_t written_ = 0;
};

class RecordRingReader final {
 public:
  // `memory` outlives it and may be mapped for reading only.
  // Errors: kUnavailable         the writer has not begun yet
  //         kFailedPrecondition  not a ring of this shape (another version, or something else)
  static StatusOr<RecordRingReader> Open(std::span<uint64_t> memory, const RecordRingShape& shape) {
    if (memory.size() < RecordRingShape::kHeaderWords) {
      return FailedPreconditionError("too short for a ring: ", memory.size() * sizeof(uint64_t),
                                     " bytes");
    }
    const uint64_t format = std::atomic_ref(memory[0]).load(std::memory_order_acquire);
    if (format == 0) return UnavailableError("the ring has not begun yet");
    if (format != shape.format) {
      return FailedPreconditionError("format ", absl::Hex(format), ", known is ",
                                     absl::Hex(shape.format));
    }
    if (memory[1] != shape.record_words || memory[2] != shape.slots ||
        memory.size() != shape.words()) {
      return FailedPreconditionError("a ring of ", memory[2], " x ", memory[1], " words in ",
                                     memory.size(), ", expected are ", shape.slots, " x ",
                                     shape.record_words, " in ", shape.words());
    }
    return RecordRingReader(memory, shape);
  }

  // How many records there have been; the last of them are there.
  uint64_t written() const { return Load(3, std::memory_order_acquire); }
  // The first that may still be there.
  uint64_t oldest() const {
    const uint64_t end = written();
    return end > shape_.slots ? end - shape_.slots : 0;
  }
  // False: record `number` is not there (any more), or is being overwritten; `record` is then
  // undefined.
  bool Read(uint64_t number, std::span<uint64_t> record) const {
    CHECK_EQ(record.size(), shape_.record_words);
    const size_t slot = shape_.slot_at(number);
    if (Load(slot, std::memory_order_acquire) != 2 * number + 2) return false;
    for (size_t i = 0; i < record.size(); ++i) {
      record[i] = Load(slot + 1 + i, std::memory_order_relaxed);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    return Load(slot, std::memory_order_relaxed) == 2 * number + 2;
  }

 private:
  RecordRingReader(std::span<uint64_t> memory, const RecordRingShape& shape)
      : memory_(memory), shape_(shape) {}
  uint64_t Load(size_t at, std::memory_order order) const {
    return std::atomic_ref(memory_[at]).load(order);
  }

  std::span<uint64_t> memory_;
  RecordRingShape shape_;
};

}  // namespace metastore::io
