// How flag values are spelled: Go's booleans and durations, numbers, comma-separated lists. Pure
// functions.
//
// Errors of all parsers: kInvalidArgument, saying what form is expected; the caller adds the flag's
// name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/status.h"
#include "io/base/time.h"

namespace metastore::server {

// 1, t, T, true, True, TRUE and the same of false.
StatusOr<bool> ParseBool(std::string_view text);

// Decimal, without sign (ParseUint) or with an optional '-'.
StatusOr<uint64_t> ParseUint(std::string_view text);
StatusOr<int64_t> ParseInt(std::string_view text);

// Decimal, with an optional fraction and '-'; finite.
StatusOr<double> ParseDecimal(std::string_view text);

// Go's form: numbers with units, as 1h30m, 1.5s, 300us; a bare 0. Never negative, at most 292
// years.
StatusOr<Duration> ParseDuration(std::string_view text);

// CPU numbers and ranges, as 0-3,6; each once, at most 1023. Empty gives none.
StatusOr<std::vector<int>> ParseCpuList(std::string_view text);

// The parts between commas, without surrounding blanks; empty parts are left out.
std::vector<std::string> SplitList(std::string_view text);

std::string_view TrimBlanks(std::string_view text);

}  // namespace metastore::server
