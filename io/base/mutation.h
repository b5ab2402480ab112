// Mutations: bugs planted in a library, by which its tests prove that they would find such.
//
// A library lists its own in an enum with kNone (wal/mutation.h, raft/mutation.h) and asks
// Mutated() where one would be. Only the build option MS_MUTATIONS compiles them in, never into a
// release; tests then plant one at a time.
#pragma once

#include <string_view>

namespace metastore {

template <typename Mutation>
struct MutationName {
  Mutation mutation = Mutation::kNone;
  std::string_view name;
};

#ifdef MS_MUTATIONS

template <typename Mutation>
inline Mutation planted_mutation = Mutation::kNone;

// Plants this one instead of any other of its library, in the whole process; kNone: none.
template <typename Mutation>
void Plant(Mutation mutation) {
  planted_mutation<Mutation> = mutation;
}
template <typename Mutation>
bool Mutated(Mutation mutation) {
  return planted_mutation<Mutation> == mutation;
}

#else

template <typename Mutation>
constexpr bool Mutated(Mutation) {
  return false;
}

#endif

}  // namespace metastore
