#!/usr/bin/env python3
"""Three members of MetaStore against three of etcd, on this machine, in interleaved rounds.

  tools/dev bench cluster [--rounds 2] [--seconds 3] [--kills 20] [--only metastore|etcd]

Each round starts three members of each kind on fresh directories, one kind after the other, with
the same flags, and gives them: every key once; 256-byte durable puts and linearizable reads spread
over the members, 1,024 in flight; one lone client on the leader, and one on a follower. At the end
everything acknowledged in the last second of the puts is read back.

Failover: under a light load on the other two, the leader is killed by kill -9; every 10 ms each of
the two gets a write, and the first that began after the kill and succeeds tells the time. A write
that was on its way is no measure: etcd answers those only after seven seconds. Idle: three members
without clients, by what the kernel counts of them.

Results: tables, and build/bench/cluster.json with every figure. Status 1: an answer was wrong or a
write was lost. About six minutes.
"""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import e2e

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import h2client  # noqa: E402
import servers  # noqa: E402  (of bench/load, by e2e)

ELECTION_TIMEOUT_S = 1.0  # the default of both
PROBE_EVERY_S = 0.01
FAILOVER_MAX_S = 30
CAUGHT_UP_S = 1.0
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


class Prober(threading.Thread):
    """Begins a write on one member every PROBE_EVERY_S, whether earlier ones have been answered or
    not, and keeps when those that succeeded began and ended."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.stopping = threading.Event()
        self.done = []  # (began, ended), by their end

    def run(self):
        while not self.stopping.is_set():
            try:
                with h2client.Connection(self.port) as connection:
                    self.probe(connection)
            except (h2client.Closed, OSError):
                self.stopping.wait(PROBE_EVERY_S)

    def probe(self, connection):
        waiting = {}
        due = time.monotonic()
        while not self.stopping.is_set():
            now = time.monotonic()
            if now >= due:
                body = h2client.put_request(b"probe/%d" % self.port, b"x" * 256)
                waiting[connection.start("/etcdserverpb.KV/Put", body)] = now
                due = now + PROBE_EVERY_S
            try:
                connection.poll(max(0.001, due - time.monotonic()))
            except TimeoutError:
                continue
            now = time.monotonic()
            for stream in [one for one in waiting if connection.replies[one].done]:
                began = waiting.pop(stream)
                if connection.replies.pop(stream).status == 0:
                    self.done.append((began, now))

    def first_after(self, moment):
        """Seconds from `moment` to the first success that began after it, or None."""
        ends = [ended for began, ended in list(self.done) if began > moment]
        return ends[0] - moment if ends else None


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

    def failover(self, kind):
        cluster = self.cluster(kind, "failover")
        try:
            cluster.start()
            times = []
            for number in range(self.arguments.kills):
                took = self.kill_leader(cluster)
                if took is None:
                    self.problem(f"{kind}: kill {number}: no write within {FAILOVER_MAX_S} s")
                    break
                times.append(took)
                self.rows.append({"server": kind, "load": "failover", "seconds": round(took, 4)})
            print(f"  {kind:9} failover s: {' '.join(f'{took:.2f}' for took in times)}", flush=True)
        finally:
            cluster.kill()
            shutil.rmtree(cluster.directory, ignore_errors=True)

    def kill_leader(self, cluster):
        """Seconds until writes succeed again; the killed member is back afterwards."""
        leader = cluster.leader()
        rest = [member for member in cluster.members if member is not leader]
        probers = [Prober(member.port) for member in rest]
        load = self.background_load(rest)
        try:
            for prober in probers:
                prober.start()
            time.sleep(0.5)
            killed = time.monotonic()
            leader.kill()
            took = self.wait_success(probers, killed)
            time.sleep(0.2)
        finally:
            for prober in probers:
                prober.stopping.set()
            load.terminate()
            report, _ = load.communicate(timeout=60)
            for prober in probers:
                prober.join(30)
        self.check_background(cluster.kind, report)
        leader.start()
        time.sleep(CAUGHT_UP_S)
        return took

    def background_load(self, members):
        ports = ",".join(str(member.port) for member in members)
        command = [str(self.bin / "loadgen"), "--port", ports, "--op", "put", "--duration", "120"]
        command += ["--connections", "4", "--streams", "4", "--keys", "1000"]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def check_background(self, kind, report):
        """Refusals while nobody leads are as they should be; a wrong answer is not."""
        lines = report.splitlines()
        figures = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        if figures.get("violations", 1):
            self.problem(f"{kind}: under failover: {figures or report}")

    @staticmethod
    def wait_success(probers, killed):
        while time.monotonic() < killed + FAILOVER_MAX_S:
            times = [prober.first_after(killed) for prober in probers]
            times = [one for one in times if one is not None]
            if times:
                return min(times)
            time.sleep(0.005)
        return None

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

    # All of it

    def run(self):
        super().run()
        for kind in self.binaries:
            if self.arguments.kills:
                self.failover(kind)
            if self.arguments.idle_seconds:
                self.idle(kind)

    def values(self, kind, load, figure):
        return [
            row[figure]
            for row in self.rows
            if row["server"] == kind and row["load"] == load and row.get(figure) is not None
        ]

    def report(self):
        lines, summary = super().report()
        return lines + self.failover_lines() + self.idle_lines(), summary

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
        lines = ["", "Failover, in election timeouts of 1 s, from kill -9 of the leader to a write"]
        for kind in self.binaries:
            times = self.values(kind, "failover", "seconds")
            if not times:
                continue
            median, worst = (pick(times) / ELECTION_TIMEOUT_S for pick in (statistics.median, max))
            lines.append(f"  {kind:9} median {median:.2f}, worst {worst:.2f} of {len(times)} runs")
            if kind == "metastore":
                good = median <= 1.5 and worst <= 3
                lines.append(f"{verdict(good)}: failover (median at most 1.5, worst at most 3)")
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


def verdict(good):
    return "holds" if good else "BELOW"


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=3, help="of each load")
    parser.add_argument("--kills", type=int, default=20, help="of a leader, of each kind; 0: none")
    parser.add_argument("--idle-seconds", type=int, default=10, help="watched while idle; 0: none")
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
