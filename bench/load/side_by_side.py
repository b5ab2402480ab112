"""What the watch and lease benchmarks share: MetaStore and etcd in turn, in interleaved rounds,
each scenario on a fresh server; medians, ratios, and what has to hold."""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
import threading
from pathlib import Path

import servers

ROOT = Path(__file__).resolve().parent.parent.parent
GENERATOR_MAX_S = 600
SAMPLE_EVERY_S = 0.1
DISTURBED_LOAD = 0.5


def resident_bytes(server):
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class Peak:
    """The largest resident memory of a server until the with block ends."""

    def __init__(self, server):
        self.server, self.bytes = server, resident_bytes(server)
        self.stop = threading.Event()
        self.sampler = threading.Thread(target=self.sample, daemon=True)

    def sample(self):
        while not self.stop.wait(SAMPLE_EVERY_S):
            self.bytes = max(self.bytes, resident_bytes(self.server))

    def __enter__(self):
        self.sampler.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.sampler.join()


class SideBySide:
    """A benchmark has goals and scenarios(): methods that take a server and give figures. Goals:
    figure -> (">=" or "<=", bound, True: of the figure itself, False: of its ratio to etcd)."""

    goals = {}
    own_only = ()  # names of scenarios that etcd is spared

    def __init__(self, arguments):
        self.arguments = arguments
        self.rows = []  # dicts: round, server, and one figure each
        self.problems = []
        self.binaries = {
            "metastore": arguments.metastore or arguments.bin / "metastore",
            "etcd": arguments.etcd or shutil.which("etcd"),
        }
        if arguments.only:
            self.binaries = {arguments.only: self.binaries[arguments.only]}
        for kind, binary in self.binaries.items():
            if not binary or not Path(binary).exists():
                sys.exit(f"no {kind} binary ({binary}): build it, or install etcd-server")

    def scenarios(self):
        raise NotImplementedError

    def generate(self, server, program, *options, at_ready=None):
        """Runs a generator, gives its report. `at_ready` is called when it says that it is ready;
        it waits meanwhile. Wrong answers are noted as problems."""
        command = [str(self.arguments.bin / program), "--port", str(server.port)]
        command += [*map(str, options), *(["--hold"] if at_ready else [])]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            guard = threading.Timer(GENERATOR_MAX_S, process.kill)
            guard.start()
            try:
                line = process.stdout.readline()
                if line.strip() == "ready":
                    at_ready()
                    process.stdin.write("go\n")
                    process.stdin.flush()
                    line = process.stdout.readline()
                errors = process.stderr.read()
                process.wait()
            finally:
                guard.cancel()
        if process.returncode != 0:
            self.problem(f"{server.kind}: {' '.join(command[1:])}: {errors.strip() or line}")
        return json.loads(line) if line.startswith("{") else {}

    def problem(self, text):
        self.problems.append(text)
        print(f"PROBLEM: {text}", file=sys.stderr, flush=True)

    def run(self):
        for number in range(1, self.arguments.rounds + 1):
            print(f"round {number} of {self.arguments.rounds}", flush=True)
            kinds = list(self.binaries)
            for scenario in self.scenarios():
                for kind in kinds if number % 2 else reversed(kinds):
                    if kind == "metastore" or scenario.__name__ not in self.own_only:
                        self.run_one(number, kind, scenario)

    def run_one(self, number, kind, scenario):
        directory = self.arguments.work / f"{kind}-{number}-{scenario.__name__}"
        flags = self.arguments.server_flag if kind == "metastore" else ()
        server = servers.Server(kind, self.binaries[kind], directory, extra=flags)
        try:
            server.start()
            figures = scenario(server)
        finally:
            server.kill()
            shutil.rmtree(directory, ignore_errors=True)
        for figure, value in figures.items():
            if value is not None:
                self.rows.append(
                    {"round": number, "server": kind, "figure": figure, "value": value}
                )
        told = ", ".join(f"{f} {v:,.1f}" for f, v in figures.items() if v is not None)
        print(f"  {kind:9} {told}", flush=True)

    # Report

    def median(self, kind, figure):
        values = [r["value"] for r in self.rows if (r["server"], r["figure"]) == (kind, figure)]
        return statistics.median(values) if values else None

    def report(self):
        print(f"\nMedians of {self.arguments.rounds} rounds. Ratio: metastore to etcd.\n")
        print(f"{'figure':44} {'metastore':>14} {'etcd':>14} {'ratio':>8}")
        summary = {}
        for figure in dict.fromkeys(row["figure"] for row in self.rows):
            own, other = self.median("metastore", figure), self.median("etcd", figure)
            ratio = own / other if own is not None and other else None
            summary[figure] = {"metastore": own, "etcd": other, "ratio": ratio}
            cells = (f"{v:>14,.1f}" if v is not None else f"{'-':>14}" for v in (own, other))
            shown = f"{ratio:>8.3f}" if ratio is not None else f"{'-':>8}"
            print(f"{figure:44} {' '.join(cells)} {shown}{self.verdict(figure, own, ratio)}")
        return summary

    def verdict(self, figure, own, ratio):
        if figure not in self.goals:
            return ""
        relation, bound, itself = self.goals[figure]
        value = own if itself else ratio
        if value is None:
            return ""
        holds = value >= bound if relation == ">=" else value <= bound
        return f"  {'holds' if holds else 'BELOW'} ({relation} {bound:.3g})"


def arguments_of(description, name, seconds, rounds=2):
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=seconds, help="of each load")
    parser.add_argument("--scale", type=float, default=1.0, help="of watchers, leases, revisions")
    parser.add_argument("--scenario", action="append", help="only these, by name")
    parser.add_argument("--only", choices=("metastore", "etcd"))
    parser.add_argument(
        "--bin", type=Path, default=ROOT / "build/release/bin", help="where the generators are"
    )
    parser.add_argument("--metastore", type=Path)
    parser.add_argument("--etcd", type=Path)
    parser.add_argument(
        "--server-flag", action="append", default=[], help="for metastore only, --server-flag=--x=y"
    )
    parser.add_argument("--work", type=Path, default=ROOT / f"build/bench/{name}")
    parser.add_argument("--json", type=Path, default=ROOT / f"build/bench/{name}.json")
    arguments = parser.parse_args()
    arguments.bin, arguments.work = arguments.bin.absolute(), arguments.work.absolute()
    return arguments


def run_bench(bench):
    arguments = bench.arguments
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    facts = servers.machine(arguments.work)
    for name, value in facts.items():
        print(f"{name:20} {value}")
    if facts["load_average_before"] > DISTURBED_LOAD:
        print("WARNING: the machine is not idle; ratios of this run mean less than usual")
    bench.run()
    summary = bench.report()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(
        json.dumps({"machine": facts, "rows": bench.rows, "summary": summary}, indent=1)
    )
    return 1 if bench.problems else 0
