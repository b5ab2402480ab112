#!/usr/bin/env python3
"""The batch policies beside each other: natural, adaptive and off, at 1, 16, 256 and 1,024 puts in
flight, on this disk (real processes, interleaved rounds, medians) and on a simulated one.

  tools/dev bench batch [--rounds 3] [--seconds 2] [--disk-us 5000]

Results: a table, and build/bench/batch.json. docs/PROFILING.md says when which wins.
"""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench" / "load"))
import servers  # noqa: E402

POLICIES = ("natural", "adaptive", "off")
SHAPES = {1: (1, 1), 16: (1, 16), 256: (16, 16), 1024: (64, 16)}


def loadgen(binaries, server, connections, streams, seconds):
    done = subprocess.run(
        [binaries / "loadgen", "--port", str(server.port), "--op", "put", "--keys", "10000"]
        + ["--connections", str(connections), "--streams", str(streams)]
        + ["--duration", str(seconds), "--warmup", "0.3"],
        capture_output=True,
        text=True,
        timeout=seconds + 120,
    )
    if done.returncode != 0:
        sys.exit(f"loadgen: {done.stderr or done.stdout}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_real(arguments):
    rows = []
    for number in range(arguments.rounds):
        for policy in POLICIES if number % 2 == 0 else reversed(POLICIES):
            server = servers.Server(
                "metastore",
                arguments.bin / "metastore",
                arguments.work / f"{policy}-{number}",
                extra=[f"--batch-policy={policy}"],
            )
            try:
                server.start()
                for in_flight, (connections, streams) in SHAPES.items():
                    before = server.durable_writes()
                    report = loadgen(arguments.bin, server, connections, streams, arguments.seconds)
                    rows.append(
                        {
                            "policy": policy,
                            "in_flight": in_flight,
                            "rate": report["rate"],
                            "p50_us": report["p50_us"],
                            "p99_us": report["p99_us"],
                            "durable_writes": server.durable_writes() - before,
                            "acknowledged": report["acknowledged"],
                        }
                    )
            finally:
                server.kill()
                shutil.rmtree(server.directory, ignore_errors=True)
    return rows


def measure_simulated(arguments):
    done = subprocess.run(
        [arguments.bin / "batch_sim", "--disk-us", str(arguments.disk_us)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode != 0:
        sys.exit(f"batch_sim: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(title, rows):
    print(f"\n{title}")
    print("in flight  policy       puts/s   p50 us   p99 us  a write")
    for in_flight in SHAPES:
        for policy in POLICIES:
            of = [r for r in rows if r["policy"] == policy and r["in_flight"] == in_flight]
            if not of:
                continue
            middle = {
                key: statistics.median(r[key] for r in of) for key in ("rate", "p50_us", "p99_us")
            }
            shared = statistics.median(
                r.get("acknowledged", r["rate"]) / max(1, r["durable_writes"]) for r in of
            )
            print(
                f"{in_flight:>9}  {policy:9} {middle['rate']:>9.0f} {middle['p50_us']:>8.0f} "
                f"{middle['p99_us']:>8.0f} {shared:>8.1f}"
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--disk-us", type=int, default=5000, help="a write of the simulated disk")
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin")
    parser.add_argument("--work", type=Path, default=ROOT / "build/bench/batch")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench/batch.json")
    arguments = parser.parse_args()
    arguments.bin = arguments.bin.absolute()
    arguments.work = arguments.work.absolute()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    real = measure_real(arguments)
    simulated = measure_simulated(arguments)
    table("this disk ('a write': puts per durable write)", real)
    table(f"a simulated disk, {arguments.disk_us} us a write", simulated)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"real": real, "simulated": simulated}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
