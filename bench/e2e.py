#!/usr/bin/env python3
"""MetaStore against etcd, end to end: the same loads on the same machine in interleaved rounds,
medians and ratios.

  tools/dev bench e2e [--rounds 3] [--seconds 3] [--pin] [--only metastore|etcd] [--strace] [--perf]

Each round starts each server on a fresh directory on the real disk, with the same flags, one after
the other (who begins alternates), and gives it: every key once; durable puts by h2load (one key
again and again) and by loadgen (random keys out of 100,000, every grpc-status checked); after a
restart linearizable single-key reads; at last puts until kill -9, and after a restart every key
acknowledged in the last second is read back. Servers are restarted before the reads since etcd 3.4
copies a read buffer on each read that only shrinks at a commit without writes: right after puts it
reads several times slower than it can.

Results: a table, and build/bench/e2e.json with every single figure. Status 1: an answer was wrong
or a write was lost.
"""
import argparse
import json
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench" / "load"))
import servers  # noqa: E402
from profiling import run_perf, run_strace  # noqa: E402

# name: (connections, streams)
SHAPES = {"64x16": (64, 16), "1x16": (1, 16), "100x1": (100, 1), "1x1": (1, 1)}
KEYS, KEY_BYTES, VALUE_BYTES = 100_000, 32, 256
DISTURBED_LOAD = 0.5
# What has to hold (the floors and aims), as ratios to etcd: (figure, load) -> (floor, aim).
GOALS = {
    ("rate", "h2load put 64x16"): (4, 6),
    ("rate", "loadgen put 64x16"): (5, 8),
    ("rate", "loadgen range 64x16"): (15, 15),
    ("cpu_us", "loadgen put 64x16"): (1 / 6, 1 / 6),
}


class Bench:
    keys = KEYS
    notes = [
        "Latencies and CPU in microseconds, CPU a request of the whole server process. h2load has "
        "no p50; it",
        "repeats one key and tops out near 450,000/s. Spread: (largest - smallest) / median of the "
        "rate.",
    ]

    def __init__(self, arguments):
        self.arguments = arguments
        self.bin = arguments.bin.absolute()
        self.work = arguments.work.absolute()
        self.rows = []  # dicts: round, server, load, figures
        self.problems = []
        self.server_cpu, self.load_cpu = (0, 1) if arguments.pin else (None, None)
        self.binaries = {
            "metastore": arguments.metastore or self.bin / "metastore",
            "etcd": arguments.etcd or shutil.which("etcd"),
        }
        if arguments.only:
            self.binaries = {arguments.only: self.binaries[arguments.only]}
        for kind, binary in self.binaries.items():
            if not binary or not Path(binary).exists():
                sys.exit(f"no {kind} binary ({binary}): build it, or install etcd-server")

    # One load

    def loadgen(self, server, *options, timeout=180):
        """Runs loadgen, gives its report. Wrong answers are noted as problems."""
        command = [
            str(self.bin / "loadgen"),
            "--port",
            str(server.port),
            "--keys",
            str(self.keys),
            "--key-bytes",
            str(KEY_BYTES),
            "--value-bytes",
            str(VALUE_BYTES),
            *map(str, options),
        ]
        if self.load_cpu is not None:
            command += ["--cpu", str(self.load_cpu)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        lines = done.stdout.splitlines()
        report = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        if done.returncode != 0:
            self.problem(
                f"{server.kind}: {' '.join(command[3:])}: {done.stderr.strip() or done.stdout}"
            )
        return report

    def problem(self, text):
        self.problems.append(text)
        print(f"PROBLEM: {text}", file=sys.stderr, flush=True)

    def h2load(self, server, connections, streams):
        """Durable puts of one key; h2load looks at HTTP statuses only, so the revision tells what
        really happened."""
        key, value = b"h2load-one-key".ljust(KEY_BYTES, b"-"), b"v" * VALUE_BYTES
        message = b"\x0a" + bytes([len(key)]) + key + b"\x12\x80\x02" + value
        with tempfile.NamedTemporaryFile(dir=self.work) as body:
            body.write(b"\x00" + struct.pack(">I", len(message)) + message)
            body.flush()
            command = [
                "h2load",
                "-t1",
                f"-c{connections}",
                f"-m{streams}",
                f"-D{self.arguments.seconds}",
                "-H",
                "te: trailers",
                "-H",
                "content-type: application/grpc",
                "-d",
                body.name,
                f"http://127.0.0.1:{server.port}/etcdserverpb.KV/Put",
            ]
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=self.arguments.seconds + 120,
                preexec_fn=servers.pinner(self.load_cpu),
            )
        rate = re.search(r"finished in .*?, ([0-9.]+) req/s", done.stdout)
        counts = re.search(
            r"requests: .*? (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout
        )
        if not rate or not counts:
            self.problem(f"{server.kind}: h2load: {done.stderr or done.stdout}")
            return {}
        mean = re.search(r"time for request:\s+\S+\s+\S+\s+([0-9.]+)(us|ms|s)", done.stdout)
        if int(counts[3]) or int(counts[4]):
            self.problem(f"{server.kind}: h2load: {counts[0]}")
        unit = {"us": 1, "ms": 1e3, "s": 1e6}
        return {
            "rate": float(rate[1]),
            "acknowledged": int(counts[2]),
            "mean_us": float(mean[1]) * unit[mean[2]] if mean else None,
        }

    def measure(self, round_number, server, load, run):
        """One row: what the load reports, and what the server used for it."""
        usage = servers.Usage(server)
        report = run()
        used = usage.since()
        if not report:
            return
        acknowledged = report.get("acknowledged", 0)
        row = {"round": round_number, "server": server.kind, "load": load, **report, **used}
        row["cpu_us"] = (
            round(used["server_cpu_s"] * 1e6 / acknowledged, 3) if acknowledged else None
        )
        if " put " in load and used["revisions"] < acknowledged:
            self.problem(
                f"{server.kind}: {load}: {acknowledged} acknowledged, only {used['revisions']} "
                f"revisions"
            )
        self.rows.append(row)
        print(
            f"  {server.kind:9} {load:20} {report['rate']:>10.0f}/s  p50 "
            f"{report.get('p50_us') or 0:>8.0f}  "
            f"p99 {report.get('p99_us') or 0:>8.0f} us  cpu {row['cpu_us'] or 0:>7.2f} us  acked "
            f"{acknowledged:>8} "
            f"durable writes {used['durable_writes']:>6}  {used['bytes_written'] >> 20:>5} MiB",
            flush=True,
        )

    # One round

    def run_round(self, number, kind):
        server = servers.Server(
            kind,
            self.binaries[kind],
            self.work / f"{kind}-{number}",
            self.server_cpu,
            self.arguments.server_flag if kind == "metastore" else (),
        )
        seconds = self.arguments.seconds
        try:
            server.start()
            self.measure(
                number, server, "loadgen fill 64x16", lambda: self.loadgen(server, "--op", "fill")
            )
            for shape, (connections, streams) in SHAPES.items():
                self.measure(
                    number,
                    server,
                    f"h2load put {shape}",
                    lambda: self.h2load(server, connections, streams),
                )
            for shape, (connections, streams) in SHAPES.items():
                options = [
                    "--op",
                    "put",
                    "--duration",
                    seconds,
                    "--connections",
                    connections,
                    "--streams",
                    streams,
                ]
                self.measure(
                    number, server, f"loadgen put {shape}", lambda: self.loadgen(server, *options)
                )
            server.stop()
            server.start()
            for shape in ("64x16", "1x1"):
                connections, streams = SHAPES[shape]
                options = [
                    "--op",
                    "range",
                    "--duration",
                    seconds,
                    "--connections",
                    connections,
                    "--streams",
                    streams,
                ]
                self.measure(
                    number, server, f"loadgen range {shape}", lambda: self.loadgen(server, *options)
                )
            self.crash(number, server)
        finally:
            server.kill()
            shutil.rmtree(server.directory, ignore_errors=True)

    def crash(self, number, server):
        """kill -9 in the middle of puts, restart, read back what was acknowledged in the last
        second."""
        acked = self.work / f"acked-{server.kind}-{number}"
        killer = threading.Timer(2.0, server.kill)
        killer.start()
        before = self.loadgen(
            server,
            "--op",
            "put",
            "--duration",
            30,
            "--allow-disconnect",
            "--record-acked",
            acked,
            "--record-last",
            1,
        )
        killer.join()
        begin = time.monotonic()
        server.start()
        recovery = time.monotonic() - begin
        verified = self.loadgen(server, "--verify", acked)
        acked.unlink(missing_ok=True)
        row = {
            "round": number,
            "server": server.kind,
            "load": "kill -9 and read back",
            "recovery_s": round(recovery, 2),
            "acknowledged": before.get("acknowledged"),
            **verified,
        }
        self.rows.append(row)
        if verified.get("faults", 1) or not verified.get("verified_keys"):
            self.problem(f"{server.kind}: after kill -9: {verified}")
        print(
            f"  {server.kind:9} killed with -9: {verified.get('acknowledged_writes')} writes of "
            f"the last second, "
            f"{verified.get('verified_keys')} keys read back, {verified.get('faults')} faults; "
            f"restart took "
            f"{recovery:.2f} s",
            flush=True,
        )

    def raw_disk(self, number):
        command = [
            str(self.bin / "rawdisk"),
            "--file",
            str(self.work / "rawdisk.tmp"),
            "--sizes",
            "4096",
            "--seconds",
            str(min(2, self.arguments.seconds)),
        ]
        if self.arguments.pin:
            command += ["--cpu", "0", "--peer-cpu", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        report = json.loads(done.stdout.splitlines()[-1])
        write, trip = report["write"]["4096"], report["round_trip"]
        self.rows.append(
            {
                "round": number,
                "server": "machine",
                "load": "rawdisk",
                "write_p50_us": write["p50_us"],
                "write_p99_us": write["p99_us"],
                "round_trip_p50_us": trip["p50_us"],
                "lone_p50_us": write["p50_us"] + trip["p50_us"],
            }
        )
        print(
            f"  machine   durable 4 KiB write p50 {write['p50_us']} us, loopback round trip p50 "
            f"{trip['p50_us']} us",
            flush=True,
        )

    def run(self):
        for number in range(1, self.arguments.rounds + 1):
            print(f"round {number} of {self.arguments.rounds}", flush=True)
            self.raw_disk(number)
            kinds = list(self.binaries)
            for kind in kinds if number % 2 else reversed(kinds):
                self.run_round(number, kind)

    # Report

    def median(self, server, load, figure):
        values = [
            row[figure]
            for row in self.rows
            if row["server"] == server and row["load"] == load and row.get(figure) is not None
        ]
        return statistics.median(values) if values else None

    def spread(self, server, load, figure):
        """(largest - smallest) / median over the rounds."""
        values = [
            row[figure]
            for row in self.rows
            if row["server"] == server and row["load"] == load and row.get(figure) is not None
        ]
        return (
            (max(values) - min(values)) / statistics.median(values)
            if values and statistics.median(values)
            else 0
        )

    def report(self):
        loads = list(dict.fromkeys(row["load"] for row in self.rows if "rate" in row))
        lines = [
            "",
            f"Medians of {self.arguments.rounds} rounds. ms: metastore. Ratio: metastore to etcd.",
            "",
            f"{'load':20} {'ms /s':>9} {'etcd /s':>9} {'ratio':>6}  {'ms p50':>8} {'etcd p50':>8} "
            f" {'ms p99':>8} "
            f"{'etcd p99':>8}  {'ms cpu':>7} {'etcd cpu':>8} {'ratio':>6}  {'spread':>6}",
        ]
        summary = {}
        for load in loads:
            cells = {
                (server, figure): self.median(server, load, figure)
                for server in ("metastore", "etcd")
                for figure in ("rate", "p50_us", "p99_us", "cpu_us")
            }
            ratio = {
                figure: cells["metastore", figure] / cells["etcd", figure]
                if cells["metastore", figure] is not None and cells["etcd", figure]
                else None
                for figure in ("rate", "cpu_us")
            }
            summary[load] = {
                f"{server}_{figure}": value for (server, figure), value in cells.items()
            }
            summary[load].update({f"{figure}_ratio": value for figure, value in ratio.items()})

            def cell(server, figure, width, digits=0):
                value = cells[server, figure]
                return f"{value:>{width}.{digits}f}" if value is not None else "-".rjust(width)

            def ratio_cell(figure):
                return f"{ratio[figure]:>6.2f}" if ratio[figure] is not None else "     -"

            spread = max(self.spread(server, load, "rate") for server in self.binaries)
            lines.append(
                f"{load:20} {cell('metastore', 'rate', 9)} {cell('etcd', 'rate', 9)} "
                f"{ratio_cell('rate')}  "
                f"{cell('metastore', 'p50_us', 8)} {cell('etcd', 'p50_us', 8)}  "
                f"{cell('metastore', 'p99_us', 8)} {cell('etcd', 'p99_us', 8)}  "
                f"{cell('metastore', 'cpu_us', 7, 2)} {cell('etcd', 'cpu_us', 8, 2)} "
                f"{ratio_cell('cpu_us')}  "
                f"{spread:>6.0%}"
            )
        lines += ["", *self.notes, ""]
        lines += self.goals(summary)
        return lines, summary

    def goals(self, summary):
        lines = []
        for (figure, load), (floor, aim) in GOALS.items():
            ratio = summary.get(load, {}).get(f"{figure}_ratio")
            if ratio is None:
                continue
            good = ratio <= floor if figure == "cpu_us" else ratio >= floor
            lines.append(
                f"{'holds' if good else 'BELOW'}: {load}, {figure} ratio {ratio:.3f} (floor "
                f"{floor:.3g}, "
                f"aim {aim:.3g})"
            )
        lone, reference = self.median("metastore", "loadgen put 1x1", "p50_us"), self.median(
            "machine", "rawdisk", "lone_p50_us"
        )
        if lone and reference:
            lines.append(
                f"{'holds' if lone <= 1.3 * reference else 'BELOW'}: lone client p50 {lone:.0f} "
                f"us, {lone / reference:.2f} "
                f"times write plus round trip ({reference:.0f} us; floor 1.3 times)"
            )
        return lines


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=int, default=3, help="of each load (h2load takes whole seconds)"
    )
    parser.add_argument("--pin", action="store_true", help="server on core 0, load on core 1")
    parser.add_argument("--only", choices=("metastore", "etcd"))
    parser.add_argument(
        "--bin", type=Path, default=ROOT / "build/release/bin", help="where loadgen and rawdisk are"
    )
    parser.add_argument("--metastore", type=Path)
    parser.add_argument("--etcd", type=Path)
    parser.add_argument(
        "--server-flag",
        action="append",
        default=[],
        help="for metastore only, e.g. --server-flag=--x=y",
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build/bench/e2e")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench/e2e.json")
    parser.add_argument(
        "--strace",
        action="store_true",
        help="instead: system calls of metastore under load, by thread",
    )
    parser.add_argument(
        "--perf", action="store_true", help="instead: where metastore's time goes under load"
    )
    return parser.parse_args()


def main():
    arguments = parse()
    bench = Bench(arguments)
    shutil.rmtree(bench.work, ignore_errors=True)
    bench.work.mkdir(parents=True)
    if arguments.strace or arguments.perf:
        kind = arguments.only or "metastore"
        for wanted, run in ((arguments.strace, run_strace), (arguments.perf, run_perf)):
            if wanted:
                run(
                    bench,
                    servers.Server(
                        kind,
                        bench.binaries[kind],
                        bench.work / run.__name__,
                        bench.server_cpu,
                        arguments.server_flag,
                    ),
                )
        return 1 if bench.problems else 0
    facts = servers.machine(bench.work)
    facts["pinned"] = arguments.pin
    for kind, binary in bench.binaries.items():
        facts[kind] = servers.Server(kind, binary, bench.work / f"version-{kind}").version()
    for name, value in facts.items():
        print(f"{name:20} {value}")
    if facts["load_average_before"] > DISTURBED_LOAD:
        print(
            "WARNING: the machine is not idle; ratios of this run mean less than usual", flush=True
        )
    bench.run()
    lines, summary = bench.report()
    print("\n".join(lines))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(
        json.dumps(
            {
                "machine": facts,
                "seconds": arguments.seconds,
                "rounds": arguments.rounds,
                "summary": summary,
                "problems": bench.problems,
                "rows": bench.rows,
            },
            indent=1,
        )
    )
    print(f"\nevery figure: {arguments.json}")
    for problem in bench.problems:
        print(f"PROBLEM: {problem}")
    shutil.rmtree(bench.work, ignore_errors=True)
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
