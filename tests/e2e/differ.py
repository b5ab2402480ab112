"""The same script for etcd and for the server, on one node and on three of which the leader is
killed in between: what etcdctl printed must be equal, after Blot took out what may differ.

A script is a function of a Run. It disturbs the run where it says so: nothing happens then on one
node; of three, the leader is killed, the others elect, and the killed one comes back.
"""
import contextlib
import os
import re
import signal
import subprocess
import threading
import time

import h2client
import harness
from cluster import Cluster, metric, tell

WATCHERS = "etcd_debugging_mvcc_watcher_total"
READY_S = 30


class Tail:
    """etcdctl in the background, with what it printed so far."""

    def __init__(self, endpoints, *arguments, environment=None):
        settings = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        self.arguments = arguments
        self.process = subprocess.Popen(
            ["etcdctl", "--endpoints", endpoints, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**settings, "ETCDCTL_API": "3", **(environment or {})},
        )
        self.lines, self.errors = [], []
        self.readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))

    def write(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def wait_lines(self, count, timeout=20):
        """The lines, once there are so many."""
        harness.wait_until(
            lambda: len(self.lines) >= count or self.process.poll() is not None,
            timeout,
            f"{count} lines of etcdctl {self.arguments}, got {self.lines} {self.errors}",
        )
        return list(self.lines)

    def wait_text(self, text, timeout=20):
        """Until standard output or standard error has the text."""
        harness.wait_until(
            lambda: any(text in line for line in self.lines + self.errors),
            timeout,
            f"{text!r} of etcdctl {self.arguments}, got {self.lines} {self.errors}",
        )

    def ended(self, timeout=20):
        """Its exit status, once it ends by itself."""
        status = self.process.wait(timeout)
        for reader in self.readers:
            reader.join(timeout)
        return status

    def interrupt(self):
        """As Ctrl-C does; gives the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Blot:
    """Gives ids that differ by run names in the order they appear, and takes terms and members
    out."""

    def __init__(self):
        self.names = {}

    def __call__(self, text):
        text = re.sub(r'\{"level":.*\}\n?', "", text)  # etcdctl's word on its retries
        text = re.sub(r"((?:raft_term|RaftTerm)\"\s*:\s*)\d+", r"\1T", text)
        text = re.sub(r"((?:member_id|MemberID)\"\s*:\s*)\d+", r"\1M", text)
        text = re.sub(r"\b(?:[0-9a-f]{10,16}|\d{15,20})\b", self._name, text)
        return text

    def _name(self, found):
        return self.names.setdefault(found[0], f"<id {len(self.names) + 1}>")


class Run:
    """One server or cluster, and what was said to it: steps, in order."""

    def __init__(self, test, members, cluster=None):
        self.test, self.members, self.cluster = test, members, cluster
        self.endpoints = ",".join(member.endpoint for member in members)
        self.blot = Blot()
        self.steps = []
        self.tails = []
        self.connections = []

    def connect(self, member, timeout=20):
        """A connection that close() closes."""
        self.connections.append(member.connect(timeout=timeout))
        return self.connections[-1]

    def note(self, what, *said):
        self.steps.append((self.blot(what), *(self.blot(str(text)) for text in said)))

    def quiet(self, *arguments, stdin=None):
        return harness.etcdctl(self.endpoints, *arguments, stdin=stdin)

    def step(self, *arguments, stdin=None, blot=str):
        """Runs etcdctl and notes what it said; `blot` is applied to that last."""
        result = self.quiet(*arguments, stdin=stdin)
        said = (blot(self.blot(text)) for text in (result.output, result.errors))
        self.note(" ".join(arguments), result.status, *said)
        return result

    def tail(self, *arguments, environment=None):
        one = Tail(self.endpoints, *arguments, environment=environment)
        self.tails.append(one)
        return one

    def note_tail(self, what, tail, blot=str):
        """What it printed in all. Ends it."""
        if tail.process.poll() is None:
            tail.close()
            status = "ended by the test"
        else:
            status = tail.ended()
        lines = ("\n".join(lines) for lines in (tail.lines, tail.errors))
        said = (blot(self.blot(text)) for text in lines)
        self.note(f"{what}: {' '.join(tail.arguments)}", status, *said)

    def wait_watchers(self, count):
        """Until the servers hold so many watchers: what is put from now on, they see."""
        alive = [member for member in self.members if member.alive()]
        harness.wait_until(
            lambda: sum(metric(member, WATCHERS) for member in alive) == count,
            READY_S,
            f"{count} watchers",
        )

    def revision(self):
        """Of the store, by a linearizable read."""
        with self.members[0].connect() as connection:
            reply = connection.range(b"none")
        if reply.status != 0:
            raise AssertionError(repr(reply))
        return h2client.revision_of(reply.response)

    def disturb(self, spare=None):
        """The leader is killed and comes back; never `spare`, which hands leadership on first."""
        if self.cluster is None:
            return
        leader = self.cluster.leader()
        if leader is spare:
            leader.etcdctl("move-leader", self.cluster.followers()[0].hex_id())
            harness.wait_until(lambda: self.cluster.leader() is not spare, READY_S, "moved")
            leader = self.cluster.leader()
        leader.kill()
        self.cluster.leader(among=[member for member in self.members if member is not leader])
        leader.start()
        self.cluster.wait_equal()
        self.wait_ready()

    def wait_ready(self):
        """Until every member answers linearizable reads."""

        def answers(member):
            try:
                with member.connect() as connection:
                    return connection.range(b"none").status == 0
            except (h2client.Closed, OSError):
                return False

        for member in self.members:
            harness.wait_until(lambda: answers(member), READY_S, f"{member.name} reads")

    def close(self):
        for tail in self.tails:
            tail.close()
        for connection in self.connections:
            connection.close()
        for member in self.members:
            member.kill()


class DifferentialTest(harness.NodeTest):
    """Runs scripts on etcd and on the server."""

    maxDiff = 4000

    def compare(self, script, size, extra=()):
        etcd = harness.etcd_binary()
        if etcd is None:
            self.skipTest("etcd is not installed (package etcd-server)")
        ports = harness.free_ports(2 * size)
        begin = time.monotonic()
        expected = self.transcript("etcd", etcd, ports, script, extra)
        middle = time.monotonic()
        got = self.transcript("server", harness.Config.server, ports, script, extra)
        differing = 0
        for want, have in zip(expected, got):
            with self.subTest(step=want[0]):
                differing += want != have
                self.assertEqual(want, have)
        self.assertEqual(len(expected), len(got))
        tell(
            f"compared {len(expected)} steps, {differing} differ; etcd took {middle - begin:.1f} "
            f"s, the server {time.monotonic() - middle:.1f} s"
        )

    def transcript(self, folder, binary, ports, script, extra):
        cluster = Cluster(self, size=len(ports) // 2, binary=binary, extra=extra)
        for number, member in enumerate(cluster.members):
            member.directory = self.directory / folder / member.name
            member.directory.mkdir(parents=True)
            member.data, member.log_path = member.directory / "data", member.directory / "log"
            member.client_port, member.peer_port = ports[2 * number : 2 * number + 2]
        for member in cluster.members:
            member.initial_cluster = cluster.initial_cluster()
        cluster.start()
        run = Run(self, cluster.members, cluster if len(cluster.members) > 1 else None)
        try:
            run.wait_ready()
            script(run)
        finally:
            run.close()
        return run.steps
