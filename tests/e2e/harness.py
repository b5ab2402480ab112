"""What the real-process tests share: servers on free ports with data below the build directory,
etcdctl, and a runner that prints what was skipped. Clusters of them: cluster.py.

Every process started here is ended by its own id. `--server-binary` takes MetaStore or etcd: both
know the same flags.
"""
import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30


class Config:
    """Set by main() before the tests run."""

    server = Path(os.environ.get("MS_BIN", ROOT / "build/release/bin")) / "metastore"
    data = ROOT / "build/e2e"

    @classmethod
    def is_etcd(cls):
        return cls.server.name == "etcd"


def etcd_binary():
    """The installed etcd, or the one that tools/dev unpacked; None: there is none."""
    return shutil.which("etcd") or shutil.which(ROOT / "build/etcd/usr/bin/etcd")


def free_ports(count):
    """Ports nobody listens on now. Another process may take one before it is used; a start that
    fails so is retried."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def raise_open_files():
    """The soft limit of open files to the hard one; gives it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def wait_until(condition, timeout, what):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout} s: {what}")


class Node:
    """One server process. Started again after kill() or stop() it has the same ports and data.
    `peer_host` is where other members reach it, `initial_cluster` what it is told of them (nothing:
    it is alone). What reaches it or starts it happens inside(), for members on hosts of their own.
    """

    name = "e2e"
    peer_host = "127.0.0.1"
    initial_cluster = None

    def __init__(self, directory, binary=None, ports=None, extra=(), environment=None):
        self.binary = Path(binary or Config.server)
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.log_path = self.directory / "server.log"
        self.client_port, self.peer_port = ports or free_ports(2)
        self.extra = list(extra)
        self.environment = environment or {}
        self.process = None
        self.directory.mkdir(parents=True, exist_ok=True)

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self):
        return f"http://{self.peer_host}:{self.peer_port}"

    def inside(self):
        return contextlib.nullcontext()

    def flags(self):
        client, peer = f"http://127.0.0.1:{self.client_port}", self.peer_url
        return [
            "--name",
            self.name,
            "--data-dir",
            str(self.data),
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
            *self.extra,
        ]

    def spawn(self, arguments=None):
        """Starts the process without waiting for it to serve."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("ETCD")
        }
        environment.update(self.environment)
        with open(self.log_path, "ab") as log, self.inside():
            self.process = subprocess.Popen(
                [str(self.binary), *(self.flags() if arguments is None else arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.directory,
            )
        return self

    def start(self):
        return self.spawn().wait_serving()

    def wait_serving(self):
        try:
            wait_until(
                self._serves, START_TIMEOUT_S, f"{self.binary.name} serves on {self.endpoint}"
            )
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.log_tail()}") from None
        return self

    def _serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.binary.name} ended with status {self.process.returncode}")
        return self.healthy()

    def healthy(self):
        try:
            status, body = self.http_get("/health", timeout=2)
        except OSError:
            return False
        return status == 200 and str(json.loads(body).get("health")) == "true"

    def http_get(self, path, timeout=10):
        """(status, body) of an HTTP/1.1 GET on the client port."""
        with self.inside():
            opened = socket.create_connection(("127.0.0.1", self.client_port), timeout=timeout)
        with opened as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            got = b""
            while piece := connection.recv(65536):
                got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 "):
            raise OSError(f"no HTTP answer: {head[:80]!r}")
        if b"transfer-encoding: chunked" in head.lower():
            body = unchunk(body)
        return int(head.split()[1]), body

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, as a crash."""
        if self.alive():
            self.process.kill()
        if self.process is not None:
            self.process.wait(STOP_TIMEOUT_S)

    def stop(self):
        """SIGTERM; gives the exit status."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)

    def memory_kib(self):
        """Resident memory now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def written_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
        return 0

    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines=25):
        return f"--- {self.log_path}:\n" + "\n".join(self.log_text().splitlines()[-lines:])

    def etcdctl(self, *arguments, stdin=None, timeout=60):
        with self.inside():
            return etcdctl(self.endpoint, *arguments, stdin=stdin, timeout=timeout)


def unchunk(body):
    out = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        size = int(size, 16)
        if size == 0:
            break
        out += rest[:size]
        body = rest[size + 2 :]
    return out


class Result:
    def __init__(self, completed):
        self.status = completed.returncode
        self.output = completed.stdout.decode("utf-8", "backslashreplace")
        self.errors = completed.stderr.decode("utf-8", "backslashreplace")

    def lines(self):
        return self.output.splitlines()


def etcdctl(endpoint, *arguments, stdin=None, timeout=60):
    """Runs etcdctl of API 3."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
    environment["ETCDCTL_API"] = "3"
    data = stdin.encode() if isinstance(stdin, str) else stdin
    return Result(
        subprocess.run(
            ["etcdctl", "--endpoints", endpoint, *arguments],
            input=data or b"",
            capture_output=True,
            env=environment,
            timeout=timeout,
        )
    )


class NodeTest(unittest.TestCase):
    """A test case with its own directory; nodes of node() and adopt() are killed at the end, their
    logs shown on failure."""

    def setUp(self):
        self.nodes = []
        self.directory = (
            Config.data / f"{self.id().rsplit('.', 2)[-2]}.{self._testMethodName}-{os.getpid()}"
        )
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.addCleanup(self.clean)  # runs after a skip in setUp too

    def node(self, name="node", **options):
        return self.adopt(Node(self.directory / name, **options))

    def adopt(self, node):
        self.nodes.append(node)
        return node

    def clean(self):
        for node in self.nodes:
            if self._failed() and node.process is not None:
                print(node.log_tail(), file=sys.stderr)
            node.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _failed(self):
        outcome = self._outcome
        result = getattr(outcome, "result", None)
        lists = list(getattr(result, "failures", [])) + list(getattr(result, "errors", []))
        return any(test is self for test, _ in lists) or any(
            error for _, error in getattr(outcome, "errors", [])
        )

    def skip_for_etcd(self, reason):
        if Config.is_etcd():
            self.skipTest(f"not for etcd: {reason}")


def main():
    """Runs the calling script's tests; a line per skip, as tools/run_tests.py reads them."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--server-binary", type=Path, default=Config.server)
    parser.add_argument("--data", type=Path, default=Config.data)
    arguments, rest = parser.parse_known_args()
    Config.server = Path(
        shutil.which(str(arguments.server_binary)) or arguments.server_binary
    ).absolute()
    Config.data = arguments.data.absolute()
    if not Config.server.exists():
        sys.exit(f"no server binary {Config.server}: build it, or name one by --server-binary")
    if shutil.which("etcdctl") is None:
        print("SKIP: etcdctl is not installed (package etcd-client)")
        sys.exit(77)
    program = unittest.main(module="__main__", argv=[sys.argv[0], *rest], exit=False, verbosity=2)
    skipped = program.result.skipped
    if skipped:
        print(f"[  SKIPPED ] {len(skipped)} of {program.result.testsRun} tests")
        print(
            "SKIP: "
            + "; ".join(f"{test.id().split('.', 1)[-1]}: {reason}" for test, reason in skipped)
        )
    sys.exit(0 if program.result.wasSuccessful() else 1)
