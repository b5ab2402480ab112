// CHECK macros, on in every build: a failed one prints the expression, both values and the place,
// then aborts.
//
// For broken invariants of our own code only. Input from users, peers and disks is never CHECKed:
// it gets a Status. Not built on <ostream>, so that the header stays light: values print through
// small overloads below.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace metastore::check_internal {

[[noreturn]] void Fail(const char* file, int line, const char* expression,
                       const std::string& values);

template <typename T>
std::string Print(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::integral<T>) {
    return std::to_string(value);
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    return std::string(std::string_view(value));
  } else if constexpr (requires { value.value(); }) {
    return Print(value.value());
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return value == nullptr ? "nullptr" : "pointer";
  } else {
    return "?";
  }
}

template <typename A, typename B>
std::string PrintPair(const A& a, const B& b) {
  return Print(a) + " vs " + Print(b);
}

}  // namespace metastore::check_internal

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) [[unlikely]]                                           \
      ::metastore::check_internal::Fail(__FILE__, __LINE__, #condition, ""); \
  } while (false)

#define MS_CHECK_OP(a, op, b)                                              \
  do {                                                                     \
    const auto& ms_check_a = (a);                                          \
    const auto& ms_check_b = (b);                                          \
    if (!(ms_check_a op ms_check_b)) [[unlikely]]                          \
      ::metastore::check_internal::Fail(                                   \
          __FILE__, __LINE__, #a " " #op " " #b,                           \
          ::metastore::check_internal::PrintPair(ms_check_a, ms_check_b)); \
  } while (false)

#define CHECK_EQ(a, b) MS_CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) MS_CHECK_OP(a, !=, b)
#define CHECK_LT(a, b) MS_CHECK_OP(a, <, b)
#define CHECK_LE(a, b) MS_CHECK_OP(a, <=, b)
#define CHECK_GT(a, b) MS_CHECK_OP(a, >, b)
#define CHECK_GE(a, b) MS_CHECK_OP(a, >=, b)

// Ends a function whose switch returned in every case.
#define CHECK_UNREACHABLE() \
  ::metastore::check_internal::Fail(__FILE__, __LINE__, "reached an impossible place", "")
