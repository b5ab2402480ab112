"""The servers a benchmark compares, started alike, and what the kernel and their metrics say they
used."""
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
QUOTA_BYTES = 8 << 30
SNAPSHOT_COUNT = 100_000
START_TIMEOUT_S = 60


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def pinner(cpu):
    """What a child runs before exec; None leaves it free."""
    return None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})


class Server:
    """One server process on fresh data. Both kinds get the same flags."""

    def __init__(self, kind, binary, directory, cpu=None, extra=(), name="bench"):
        self.kind = kind
        self.name = name
        self.initial_cluster = None  # nothing: alone
        self.binary = Path(binary)
        self.directory = Path(directory)
        self.cpu = cpu
        self.extra = list(extra)
        self.port, self.peer_port = free_ports(2)
        self.process = None
        self.directory.mkdir(parents=True)

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    def flags(self):
        client, peer = f"http://127.0.0.1:{self.port}", self.peer_url
        return [
            "--name",
            self.name,
            "--data-dir",
            str(self.directory / "data"),
            "--listen-client-urls",
            client,
            "--advertise-client-urls",
            client,
            "--listen-peer-urls",
            peer,
            "--initial-advertise-peer-urls",
            peer,
            "--initial-cluster",
            self.initial_cluster or f"{self.name}={peer}",
            "--quota-backend-bytes",
            str(QUOTA_BYTES),
            "--snapshot-count",
            str(SNAPSHOT_COUNT),
            *self.extra,
        ]

    def start(self):
        return self.spawn().wait_healthy()

    def spawn(self):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [str(self.binary), *self.flags()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=pinner(self.cpu),
                cwd=self.directory,
            )
        return self

    def wait_healthy(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                log = (self.directory / "log").read_text(errors="replace")
                raise RuntimeError(f"{self.kind} does not start:\n{log[-2000:]}")
            time.sleep(0.05)
        return self

    def healthy(self):
        try:
            return '"health":"true"' in self.http_get("/health").replace(" ", "")
        except OSError:
            return False

    def http_get(self, path):
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            got = b""
            while piece := connection.recv(65536):
                got += piece
        return got.partition(b"\r\n\r\n")[2].decode(errors="replace")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait(30)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def cpu_seconds(self):
        """User and system time of the whole process, threads of the kernel that work for it
        included."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def written_bytes(self):
        text = Path(f"/proc/{self.process.pid}/io").read_text()
        return int(re.search(r"^write_bytes: (\d+)", text, flags=re.M)[1])

    def memory_mib(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+)", text, flags=re.M)[1]) // 1024

    def durable_writes(self):
        """Flushes completed since the start: of the log, and for etcd those of its backend too."""
        text = self.http_get("/metrics")

        def value(name):
            found = re.search(rf"^{name} ([0-9.e+]+)$", text, flags=re.M)
            return int(float(found[1])) if found else 0

        if self.kind == "etcd":
            return value("etcd_disk_wal_fsync_duration_seconds_count") + value(
                "etcd_disk_backend_commit_duration_seconds_count"
            )
        return value("metastore_wal_durable_writes_total")

    def wake_ups(self):
        """Times that any of its threads gave up its core to wait."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/status")
        lines = "".join(task.read_text() for task in tasks)
        return sum(map(int, re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", lines, flags=re.M)))

    def etcdctl(self, *arguments):
        """etcdctl's answer, from JSON."""
        done = subprocess.run(
            ["etcdctl", "--endpoints", f"127.0.0.1:{self.port}", *arguments, "-w", "json"],
            capture_output=True,
            text=True,
            env={**os.environ, "ETCDCTL_API": "3"},
            timeout=60,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.kind}: etcdctl: {done.stderr}")
        return json.loads(done.stdout)

    def revision(self):
        """The store's revision: tells how many puts really happened."""
        return self.etcdctl("get", "none")["header"]["revision"]

    def version(self):
        done = subprocess.run(
            [str(self.binary), "--version"], capture_output=True, text=True, timeout=30
        )
        return (done.stdout + done.stderr).strip().splitlines()[0]


class Cluster:
    """Three members of one kind on this machine, with the figures of all together. `port` is the
    list that loadgen takes."""

    SIZE = 3

    def __init__(self, kind, binary, directory, extra=()):
        self.kind = kind
        self.directory = Path(directory)
        self.members = [
            Server(kind, binary, self.directory / f"m{number}", None, extra, f"m{number}")
            for number in range(1, self.SIZE + 1)
        ]
        for member in self.members:
            member.initial_cluster = ",".join(f"{one.name}={one.peer_url}" for one in self.members)

    @property
    def port(self):
        return ",".join(str(member.port) for member in self.members)

    def start(self):
        for member in self.members:
            member.spawn()
        for member in self.members:
            member.wait_healthy()
        return self

    def kill(self):
        for member in self.members:
            member.kill()

    def stop(self):
        for member in self.members:
            member.stop()

    def leader(self):
        """The member that says it leads; waits for one."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            for member in self.members:
                status = member.etcdctl("endpoint", "status")[0]["Status"]
                if status["leader"] == status["header"]["member_id"]:
                    return member
            time.sleep(0.1)
        raise RuntimeError(f"{self.kind}: nobody leads")

    def peer_packets(self):
        """TCP segments sent so far over the open connections between the members; None without
        ss of iproute2."""
        ports = [f"sport = :{m.peer_port} or dport = :{m.peer_port}" for m in self.members]
        try:
            done = subprocess.run(
                ["ss", "-tinH", "( " + " or ".join(ports) + " )"],
                capture_output=True,
                text=True,
                timeout=20,
            )
        except FileNotFoundError:
            return None
        return sum(int(count) for count in re.findall(r"\bsegs_out:(\d+)", done.stdout))

    def cpu_seconds(self):
        return sum(member.cpu_seconds() for member in self.members)

    def written_bytes(self):
        return sum(member.written_bytes() for member in self.members)

    def durable_writes(self):
        return sum(member.durable_writes() for member in self.members)

    def memory_mib(self):
        return sum(member.memory_mib() for member in self.members)

    def wake_ups(self):
        return sum(member.wake_ups() for member in self.members)

    def revision(self):
        return self.members[0].revision()


class Usage:
    """What a server used between two moments."""

    def __init__(self, server):
        self.server = server
        self.time = time.monotonic()
        self.cpu = server.cpu_seconds()
        self.bytes = server.written_bytes()
        self.flushes = server.durable_writes()
        self.revision = server.revision()

    def since(self):
        cpu, seconds = self.server.cpu_seconds() - self.cpu, time.monotonic() - self.time
        return {
            "server_cpu_s": round(cpu, 3),
            "server_cores": round(cpu / seconds, 3),
            "bytes_written": self.server.written_bytes() - self.bytes,
            "durable_writes": self.server.durable_writes() - self.flushes,
            "revisions": self.server.revision() - self.revision,
            "server_mib": self.server.memory_mib(),
        }


def machine(directory):
    """What the figures depend on."""
    info = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            info["cpu"] = line.split(":", 1)[1].strip()
    info["cores"] = os.cpu_count()
    info["kernel"] = os.uname().release
    info["memory_gib"] = round(
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1
    )
    mount = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", "-T", str(directory)],
        capture_output=True,
        text=True,
    )
    info["file_system"] = mount.stdout.strip() or "unknown"
    device = mount.stdout.split()[1].removeprefix("/dev/") if mount.stdout else ""
    cache = Path(f"/sys/block/{device}/queue/write_cache")
    info["write_cache"] = cache.read_text().strip() if cache.exists() else "unknown"
    info["congestion_control"] = (
        Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    )
    info["load_average_before"] = os.getloadavg()[0]
    return info
