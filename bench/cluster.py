#!/usr/bin/env python3
"""Three members of MetaStore against three of etcd, on this machine, in interleaved rounds.

  tools/dev bench cluster [--rounds 2] [--seconds 3] [--kills 20] [--stalls 20]
                          [--no-in-process] [--only metastore|etcd]

Each round starts three members of each kind on fresh directories, one kind after the other, with
the same flags, and gives them: every key once; 256-byte durable puts and linearizable reads spread
over the members, 1,024 in flight; one lone client on the leader, and one on a follower. At the end
everything acknowledged in the last second of the puts is read back.

Failover (load/failover.py): the leader is lost under a light load on the other two, by kill -9 or
by a disk that lets no write end any more (slow_disk.py of tests/e2e; SKIPPED without the right),
and the first write that began after that and succeeds tells the time. Bounds are on the longest
pause between successes, which is never shorter. Idle: three members without clients, by what the
kernel counts of them. In process: cluster_bench, what three members commit without clients'
connections.

Results: tables, and build/bench/cluster.json with every figure. Status 1: an answer was wrong or a
write was lost. About 15 minutes.
"""
import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import e2e

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import servers  # noqa: E402  (of bench/load, by e2e)
import slow_disk  # noqa: E402
from failover import Kill, Stall, WrongAnswer, lose_leader  # noqa: E402

ELECTION_TIMEOUT_S = 1.0  # the default of both
IDLE_SETTLE_S = 5
SPREAD, LONE = ("64", "16"), ("1", "1")
# (figure, load) -> (floor, aim), as ratios to etcd.
GOALS = {
    ("rate", "loadgen put 64x16"): (4, 6),
    ("p50_us", "lone put, leader"): (1, 1),
    ("p99_us", "lone put, leader"): (1, 1),
    ("p50_us", "lone put, follower"): (1, 1),
    ("p99_us", "lone put, follower"): (1, 1),
}
PUTS_ASKED = 100_000
# What a published raft library has reached with three replicas and 16-byte payloads.
CORE_COMMITS_PUBLISHED = 139_000


class ClusterBench(e2e.Bench):
    keys = 20_000
    notes = [
        "Latencies and CPU in microseconds, CPU a request of the three members together. Spread: "
        "(largest -",
        "smallest) / median of the rate.",
    ]

    def cluster(self, kind, what):
        flags = self.arguments.server_flag if kind == "metastore" else ()
        return servers.Cluster(kind, self.binaries[kind], self.work / f"{kind}-{what}", flags)

    # Throughput and latency

    def run_round(self, number, kind):
        cluster = self.cluster(kind, number)
        acked = self.work / f"acked-{kind}-{number}"
        try:
            cluster.start()
            leader = cluster.leader()
            follower = next(member for member in cluster.members if member is not leader)
            self.load(number, cluster, cluster, "loadgen fill 64x16", "fill", SPREAD)
            record = ("--record-acked", acked, "--record-last", 1)
            self.load(number, cluster, cluster, "loadgen put 64x16", "put", SPREAD, *record)
            self.load(number, cluster, leader, "lone put, leader", "put", LONE)
            self.load(number, cluster, follower, "lone put, follower", "put", LONE)
            self.load(number, cluster, cluster, "loadgen range 64x16", "range", SPREAD)
            self.load(number, cluster, leader, "lone range, leader", "range", LONE)
            self.load(number, cluster, follower, "lone range, follower", "range", LONE)
            self.read_back(cluster, acked)
        finally:
            cluster.kill()
            shutil.rmtree(cluster.directory, ignore_errors=True)

    def load(self, number, cluster, target, name, operation, shape, *options):
        """One row of a load on `target`, with what the whole cluster used for it."""
        connections, streams = shape
        options = ["--op", operation, "--connections", connections, "--streams", streams, *options]
        if operation != "fill":
            options += ["--duration", self.arguments.seconds]
        self.measure(number, cluster, name, lambda: self.loadgen(target, *options))

    def read_back(self, cluster, acked):
        verified = self.loadgen(cluster, "--verify", acked)
        acked.unlink(missing_ok=True)
        if verified.get("faults", 1) or not verified.get("verified_keys"):
            self.problem(f"{cluster.kind}: read back from all members: {verified}")

    # Failover

    def failover(self, kind, way_type, runs):
        cluster = self.cluster(kind, way_type.name.replace(" ", "-"))
        way, times = None, []
        try:
            cluster.start()
            way = way_type(cluster)
            for number in range(runs):
                found = lose_leader(cluster, way, self.bin / "loadgen")
                if found is None:
                    self.problem(f"{kind}: {way.name}, run {number}: no write in time")
                    break
                took, pause = (round(seconds, 4) for seconds in found)
                times.append(f"{took:.2f}/{pause:.2f}")
                row = {"server": kind, "load": way.name, "seconds": took, "pause_s": pause}
                self.rows.append(row)
        except WrongAnswer as wrong:
            self.problem(f"{kind}: {wrong}")
        finally:
            (cluster.kill if way is None else way.close)()
            shutil.rmtree(cluster.directory, ignore_errors=True)
        told = " ".join(times)
        print(f"  {kind:9} {way_type.name}, s to a write/longest pause: {told}", flush=True)

    # Idle

    def idle(self, kind):
        cluster = self.cluster(kind, "idle")
        try:
            cluster.start()
            cluster.members[0].etcdctl("put", "a", "1")
            time.sleep(IDLE_SETTLE_S)
            before, began = self.counts(cluster), time.monotonic()
            time.sleep(self.arguments.idle_seconds)
            after, seconds = self.counts(cluster), time.monotonic() - began
        finally:
            cluster.kill()
            shutil.rmtree(cluster.directory, ignore_errors=True)
        row = {"server": kind, "load": "idle", "seconds": round(seconds, 2)}
        for name, value in after.items():
            if value is not None:
                row[name] = round((value - before[name]) / seconds, 4)
        self.rows.append(row)

    @staticmethod
    def counts(cluster):
        """Asking the members for metrics moves none of these but a few wake-ups."""
        return {
            "flushes": cluster.durable_writes(),
            "written_bytes": cluster.written_bytes(),
            "packets": cluster.peer_packets(),
            "wake_ups": cluster.wake_ups(),
            "cpu_s": cluster.cpu_seconds(),
        }

    # In process

    def in_process(self):
        command = [str(self.bin / "cluster_bench"), "--json", "--directory"]
        command += [str(self.work / "in-process"), "--seconds", str(self.arguments.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            self.problem(f"cluster_bench: {done.stderr.strip()}")
        for line in done.stdout.splitlines():
            self.rows.append({"server": "metastore", "load": "in process", **json.loads(line)})

    # All of it

    def run(self):
        super().run()
        ways = [(Kill, self.arguments.kills), (Stall, self.arguments.stalls)]
        why = slow_disk.missing(self.work) if self.arguments.stalls else None
        if why is not None:
            print(f"SKIPPED: stalled disks: {why}", flush=True)
            ways.pop()
        for kind in self.binaries:
            for way, runs in ways:
                if runs:
                    self.failover(kind, way, runs)
            if self.arguments.idle_seconds:
                self.idle(kind)
        if self.arguments.in_process and "metastore" in self.binaries:
            self.in_process()

    def values(self, kind, load, figure):
        return [
            row[figure]
            for row in self.rows
            if row["server"] == kind and row["load"] == load and row.get(figure) is not None
        ]

    def report(self):
        lines, summary = super().report()
        lines += self.failover_lines() + self.idle_lines() + self.in_process_lines()
        return lines, summary

    def goals(self, summary):
        lines = []
        for (figure, load), (floor, aim) in GOALS.items():
            cells = summary.get(load, {})
            ours, theirs = cells.get(f"metastore_{figure}"), cells.get(f"etcd_{figure}")
            if not ours or not theirs:
                continue
            ratio = ours / theirs
            good = ratio >= floor if figure == "rate" else ratio < floor
            asked = f"floor {floor}, aim {aim}" if figure == "rate" else f"below {floor}"
            lines.append(f"{verdict(good)}: {load}, {figure} ratio {ratio:.2f} ({asked})")
        rate = summary.get("loadgen put 64x16", {}).get("metastore_rate")
        if rate:
            lines.append(
                f"{verdict(rate > PUTS_ASKED)}: {rate:,.0f} durable puts a second over three "
                f"members ({PUTS_ASKED:,} asked if the machine allows)"
            )
        return lines

    def failover_lines(self):
        lines = []
        for way in (Kill, Stall):
            lines += ["", f"Failover, in election timeouts of 1 s, after {way.text}"]
            for kind in self.binaries:
                lines += self.failover_cells(kind, way)
        return lines

    def failover_cells(self, kind, way):
        lines = []
        for figure, text in (("seconds", "first write after"), ("pause_s", "longest pause")):
            times = self.values(kind, way.name, figure)
            if not times:
                return [f"  {kind:9} not measured"]
            median, worst = (pick(times) / ELECTION_TIMEOUT_S for pick in (statistics.median, max))
            lines.append(
                f"  {kind:9} {text:18} median {median:.2f}, worst {worst:.2f} of {len(times)} runs"
            )
        if kind == "metastore":  # by the pause, which is never the shorter
            good = median <= 1.5 and worst <= 3
            lines.append(f"{verdict(good)}: {way.name} (median at most 1.5, worst at most 3)")
        return lines

    def idle_lines(self):
        names = ("flushes", "written_bytes", "packets", "wake_ups", "cpu_s")
        lines = ["", "Three idle members, all together, a second", ""]
        lines.append(f"{'':10}" + "".join(f"{name:>15}" for name in names))
        for kind in self.binaries:
            cells = [self.values(kind, "idle", name) for name in names]
            texts = [f"{cell[0]:.3f}" if cell else "-" for cell in cells]
            lines.append(f"{kind:10}" + "".join(f"{text:>15}" for text in texts))
        flushes = self.values("metastore", "idle", "flushes")
        if flushes:
            lines.append(f"{verdict(flushes[0] == 0)}: no flushes while idle")
        return lines

    def in_process_lines(self):
        rows = [row for row in self.rows if row["load"] == "in process"]
        if not rows:
            return []
        names = "in_flight commits core_commits cores flush_commits p50_us p99_us".split()
        lines = ["", "One group of three in one process, durable commits of 16 bytes, a second", ""]
        lines.append("".join(f"{name:>15}" for name in names))
        for row in rows:
            lines.append("".join(f"{row[name]:>15,}" for name in names))
        best = max(row["core_commits"] for row in rows)
        lines.append(
            f"{verdict(best > CORE_COMMITS_PUBLISHED)}: {best:,} commits a core-second (a "
            f"published library: {CORE_COMMITS_PUBLISHED:,})"
        )
        return lines


def verdict(good):
    return "holds" if good else "BELOW"


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=3, help="of each load")
    parser.add_argument("--kills", type=int, default=20, help="of a leader, of each kind; 0: none")
    parser.add_argument(
        "--stalls", type=int, default=20, help="of a leader's disk, of each kind; 0: none"
    )
    parser.add_argument("--idle-seconds", type=int, default=10, help="watched while idle; 0: none")
    parser.add_argument(
        "--in-process", action=argparse.BooleanOptionalAction, default=True, help="cluster_bench"
    )
    parser.add_argument("--only", choices=("metastore", "etcd"))
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin")
    parser.add_argument("--metastore", type=Path)
    parser.add_argument("--etcd", type=Path)
    parser.add_argument(
        "--server-flag", action="append", default=[], help="for metastore, as --server-flag=--x=y"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build/bench/cluster")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench/cluster.json")
    parser.set_defaults(pin=False)  # eight processes share what cores there are
    return parser.parse_args()


def main():
    # Also when it is told to end, no process is left behind on a disk that stalls.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = parse()
    bench = ClusterBench(arguments)
    shutil.rmtree(bench.work, ignore_errors=True)
    bench.work.mkdir(parents=True)
    facts = servers.machine(bench.work)
    for name, value in facts.items():
        print(f"{name:20} {value}")
    if facts["load_average_before"] > e2e.DISTURBED_LOAD:
        print("WARNING: the machine is not idle; these ratios mean less than usual", flush=True)
    bench.run()
    lines, summary = bench.report()
    print("\n".join(lines))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    figures = {"machine": facts, "summary": summary, "problems": bench.problems, "rows": bench.rows}
    arguments.json.write_text(json.dumps(figures, indent=1))
    print(f"\nevery figure: {arguments.json}")
    for problem in bench.problems:
        print(f"PROBLEM: {problem}")
    shutil.rmtree(bench.work, ignore_errors=True)
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
