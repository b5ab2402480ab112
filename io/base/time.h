// Points in time and spans, in nanoseconds, so that a bare integer never stands for either.
#pragma once

#include <compare>
#include <cstdint>

namespace metastore {

// A span of time.
struct Duration {
  int64_t ns = 0;

  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration operator+(Duration other) const { return {ns + other.ns}; }
  constexpr Duration operator-(Duration other) const { return {ns - other.ns}; }
  constexpr Duration operator*(int64_t factor) const { return {ns * factor}; }
  constexpr Duration operator/(int64_t divisor) const { return {ns / divisor}; }
  constexpr int64_t us() const { return ns / 1000; }
  constexpr int64_t ms() const { return ns / 1'000'000; }
};

constexpr Duration Nanoseconds(int64_t n) { return {n}; }
constexpr Duration Microseconds(int64_t n) { return {n * 1000}; }
constexpr Duration Milliseconds(int64_t n) { return {n * 1'000'000}; }
constexpr Duration Seconds(int64_t n) { return {n * 1'000'000'000}; }

// A point on the runtime's monotonic clock; its zero means nothing.
struct MonoTime {
  int64_t ns = 0;

  static constexpr MonoTime Max() { return {INT64_MAX}; }
  constexpr auto operator<=>(const MonoTime&) const = default;
  constexpr MonoTime operator+(Duration d) const { return {ns + d.ns}; }
  constexpr MonoTime operator-(Duration d) const { return {ns - d.ns}; }
  constexpr Duration operator-(MonoTime other) const { return {ns - other.ns}; }
};

// A point on the wall clock, nanoseconds since 1970 UTC; for people and traces, never for
// decisions.
struct WallTime {
  int64_t ns = 0;
  constexpr auto operator<=>(const WallTime&) const = default;
};

}  // namespace metastore
