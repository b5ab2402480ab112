// Strong types for the ids, positions and counters that would be bugs if mixed up.
//
// Each wraps one integer, orders and hashes as it does, and converts neither from nor to it
// implicitly.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace metastore {

template <typename Tag, typename Rep = uint64_t>
class StrongId {
 public:
  using rep = Rep;

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const StrongId&) const = default;

  // Positions are counted on and off; two of them are never added.
  constexpr StrongId operator+(Rep count) const { return StrongId(value_ + count); }
  constexpr StrongId operator-(Rep count) const { return StrongId(value_ - count); }
  constexpr Rep operator-(StrongId other) const { return value_ - other.value_; }
  constexpr StrongId& operator++() {
    ++value_;
    return *this;
  }
  constexpr StrongId& operator--() {
    --value_;
    return *this;
  }
  constexpr StrongId& operator+=(Rep count) {
    value_ += count;
    return *this;
  }

  template <typename H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  Rep value_ = 0;
};

using GroupId =
    StrongId<struct GroupIdTag>;  // one raft group on the nodes; 1 is the plain etcd keyspace
using NodeId =
    StrongId<struct NodeIdTag>;  // a member, by etcd's rule (server/membership.h); 0 = none
using ClusterId = StrongId<struct ClusterIdTag>;  // likewise
using Term = StrongId<struct TermTag>;            // raft term; 0 before the first election
using LogIndex = StrongId<struct LogIndexTag>;    // raft log position; the first entry has 1
using Lsn = StrongId<struct LsnTag>;  // position of a frame in a WAL stream; the first frame has 1
using Epoch =
    StrongId<struct EpochTag>;  // incarnation of a WAL stream's tail; grows with every open
using Revision = StrongId<struct RevisionTag, int64_t>;  // MVCC main revision; an empty store has 1
using LeaseId = StrongId<struct LeaseIdTag, int64_t>;    // 0 = no lease

}  // namespace metastore

template <typename Tag, typename Rep>
struct std::hash<metastore::StrongId<Tag, Rep>> {
  std::size_t operator()(metastore::StrongId<Tag, Rep> id) const {
    return std::hash<Rep>{}(id.value());
  }
};
