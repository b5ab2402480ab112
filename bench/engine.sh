#!/usr/bin/env bash
# The state store alone: bench/engine_bench.cc. Arguments are Google Benchmark's.
set -euo pipefail
program=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")/build/release/bin/engine_bench
if [[ ! -x $program ]]; then
  echo "bench/engine.sh: there is no $program" >&2
  exit 1
fi
exec "$program" "$@"
