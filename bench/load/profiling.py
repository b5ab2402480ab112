"""Short separate runs that look into a server under load: system calls by strace, time by perf.
Both slow it down, so no figure of such a run is compared with anything."""
import collections
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

LOAD = ("--op", "put", "--duration", 4)


def under_load(bench, server, look):
    """Runs look() in the middle of durable puts with 1,024 in flight."""
    try:
        server.start()
        bench.loadgen(server, "--op", "fill")
        load = threading.Thread(target=bench.loadgen, args=(server, *LOAD))
        load.start()
        time.sleep(1)
        look()
        load.join()
    finally:
        server.kill()
        shutil.rmtree(server.directory, ignore_errors=True)


def thread_names(pid):
    names = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        names[task.name] = (task / "comm").read_text().strip()
    return names


def attach(command, seconds):
    """Runs strace for a while, ends it by SIGINT, gives its error output."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)[1]


def run_strace(bench, server):
    if shutil.which("strace") is None:
        sys.exit("strace is not installed")

    def look():
        pid = str(server.process.pid)
        print(f"strace -f -c of {server.kind} under load, 1 s:", flush=True)
        print(attach(["strace", "-f", "-c", "-p", pid], 1.0))
        names = thread_names(pid)
        trace = server.directory / "strace"
        attach(["strace", "-f", "-o", str(trace), "-s", "0", "-p", pid], 0.5)
        calls = collections.defaultdict(collections.Counter)
        for line in trace.read_text(errors="replace").splitlines():
            found = re.match(r"(\d+) +([a-z_0-9]+)\(", line)
            if found:
                calls[f"{names.get(found[1], 'came later')} ({found[1]})"][found[2]] += 1
        print("by thread, 0.5 s:")
        for thread, counter in sorted(calls.items()):
            print(
                f"  {thread}: "
                + ", ".join(f"{name} {count}" for name, count in counter.most_common())
            )

    under_load(bench, server, look)


def run_perf(bench, server):
    if shutil.which("perf") is None:
        sys.exit("perf is not installed (package linux-perf)")

    def look():
        data = str(server.directory / "perf.data")
        subprocess.run(
            [
                "perf",
                "record",
                "-q",
                "-e",
                "cpu-clock",
                "-F",
                "1999",
                "-g",
                "-p",
                str(server.process.pid),
                "-o",
                data,
                "--",
                "sleep",
                "2",
            ],
            capture_output=True,
            timeout=60,
        )
        for what, sort in (("by object", "dso"), ("by symbol", "dso,symbol")):
            done = subprocess.run(
                [
                    "perf",
                    "report",
                    "-i",
                    data,
                    "--stdio",
                    "--no-children",
                    "-g",
                    "none",
                    "--sort",
                    sort,
                    "--percent-limit",
                    "0.7",
                ],
                capture_output=True,
                text=True,
                timeout=300,
            )
            rows = [
                line
                for line in done.stdout.splitlines()
                if line.strip() and not line.startswith("#")
            ]
            print(f"perf of {server.kind} under load, {what}:")
            print("\n".join(rows[:40]), flush=True)

    under_load(bench, server, look)
