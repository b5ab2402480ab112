#!/usr/bin/env python3
"""Aim: walinspect live shows the flushes of a real node while it runs, follows it over its end and
its restart, and leaves nothing behind. Method: nodes under a client's load; the tool once, as JSON
lines, on a terminal, and interrupted."""
import json
import os
import pty
import signal
import subprocess
import threading
import time

import h2client
import harness

CLEAN, FAILED = 0, 4
TRACEFS = "/sys/kernel/tracing/instances"


class Load:
    """A client that puts one key after the other until it is stopped."""

    def __init__(self, server):
        self.server = server
        self.ending = threading.Event()
        self.puts = 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with h2client.Connection(self.server.client_port) as connection:
            while not self.ending.is_set():
                assert connection.put(b"key/%06d" % self.puts, b"v" * 200).status == 0
                self.puts += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()


class LiveTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        self.server = self.node().start()
        self.log = self.server.data / "member" / "wal"

    def command(self, *arguments):
        binary = harness.Config.server.parent / "walinspect"
        return [str(binary), "live", *map(str, arguments)]

    def live(self, *arguments):
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=60, check=False
        )

    def documents(self, *arguments):
        result = self.live(*arguments, "--json")
        self.assertEqual(result.returncode, CLEAN, result.stderr)
        documents = [json.loads(line) for line in result.stdout.splitlines()]
        for document in documents:
            self.assertEqual(document["schema"], "walinspect.live/1")
        return documents

    def test_the_ring_has_every_flush(self):
        with h2client.Connection(self.server.client_port) as connection:
            for i in range(200):
                self.assertEqual(connection.put(b"key/%04d" % i, b"v" * 200).status, 0)
        (document,) = self.documents(self.log, "--once", "--interval", "0.5", "--no-trace")
        self.assertTrue(document["running"])
        self.assertEqual(document["process"], self.server.process.pid)
        self.assertEqual(document["boot"], 1)
        self.assertEqual((document["missed"], document["failed"]), (0, 0))
        self.assertGreaterEqual(document["written"], 200)
        self.assertEqual(document["flush"]["count"], document["written"])
        self.assertEqual(document["split_absent"], "not asked for")
        # The log on disk tells the same of those it has a time of.
        fsync = subprocess.run(
            [self.command()[0], "fsync", str(self.log), "--json"],
            capture_output=True, text=True, timeout=60, check=False,
        )
        logged = json.loads(fsync.stdout)["flush"]
        self.assertLessEqual(document["flush"]["count"] - logged["count"], 4)
        self.assertEqual(document["flush"]["max_us"], logged["max_us"])

    def test_time_is_split_or_it_is_said_why_not(self):
        with Load(self.server):
            result = self.live(self.log, "--once", "--interval", "1")
            (document,) = self.documents(self.log, "--once", "--interval", "1")
        self.assertEqual(result.returncode, CLEAN, result.stderr)
        if "split" not in document:
            self.assertIn("no split by the kernel's trace: ", result.stdout)
            self.assertTrue(document["split_absent"])
            self.skipTest(f"no tracepoints here: {document['split_absent']}")
        split = document["split"]
        self.assertGreater(split["flushes"], 0, split)
        parts = sum(stage["mean_us"] for stage in split["stages"].values())
        self.assertAlmostEqual(parts, split["flush"]["mean_us"], delta=parts / 1000)
        self.assertGreater(split["stages"]["device_write"]["p50_us"], 0)
        self.assertIn("device write", result.stdout)
        self.assertIn("wake-up", result.stdout)

    def test_it_refreshes_and_follows_a_restart(self):
        arguments = self.command(self.log, "--json", "--interval", "0.2", "--no-trace")
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as tool:
            try:
                self.follow(tool)
            finally:
                tool.send_signal(signal.SIGINT)
                self.assertEqual(tool.wait(10), CLEAN)

    def follow(self, tool):
        def until(condition, what):
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                document = json.loads(tool.stdout.readline())
                if condition(document):
                    return document
            raise AssertionError(f"never: {what}")

        with Load(self.server) as load:
            first = until(lambda d: d["running"] and d["recent"]["flushes"] > 0, "flushes")
            until(lambda d: d["written"] > first["written"], "more flushes")
        self.assertGreater(load.puts, 0)
        self.server.kill()
        ended = until(lambda d: not d["running"], "the end")
        self.assertGreaterEqual(ended["written"], first["written"])
        self.server.start()
        again = until(lambda d: d["running"] and d["boot"] > 0, "the restart")
        self.assertEqual(again["boot"], first["boot"] + 1)
        self.assertNotEqual(again["process"], first["process"])

    def test_it_ends_with_its_reader(self):
        for ending in ("reader", "terminal"):
            arguments = self.command(self.log, "--json", "--interval", "0.1")
            with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as tool:
                self.assertTrue(json.loads(tool.stdout.readline())["running"])
                if ending == "terminal":
                    tool.send_signal(signal.SIGHUP)
                    tool.stdout.read()
                tool.stdout.close()
                self.assertEqual(tool.wait(10), CLEAN, ending)

    def test_it_waits_for_a_node_but_not_with_once(self):
        self.server.kill()
        once = self.live(self.log, "--once")
        self.assertEqual(once.returncode, FAILED)
        self.assertIn("no node runs on the log in", once.stderr)
        waiting = self.documents(self.log, "--count", "2", "--interval", "0.1")
        self.assertEqual([d["running"] for d in waiting], [False, False])
        self.assertIn("no node runs on the log in", waiting[0]["reason"])
        missing = self.live(self.log / "none")
        self.assertEqual(missing.returncode, FAILED)
        self.assertIn("No such file", missing.stderr)
        self.assertEqual(self.live(self.log, "--interval", "0").returncode, FAILED)

    def test_a_terminal_is_redrawn_and_given_back(self):
        controller, terminal = pty.openpty()
        with Load(self.server), subprocess.Popen(
            self.command(self.log, "--interval", "0.3"), stdout=terminal, stdin=subprocess.DEVNULL
        ) as tool:
            os.close(terminal)
            shown = b""
            while shown.count(b"\033[H") < 3:
                shown += os.read(controller, 65536)
            tool.send_signal(signal.SIGINT)
            try:
                while part := os.read(controller, 65536):
                    shown += part
            except OSError:  # the other side is closed
                pass
            self.assertEqual(tool.wait(10), CLEAN)
        os.close(controller)
        self.assertTrue(shown.startswith(b"\033[?1049h"))
        after = shown.split(b"\033[?1049l")
        self.assertEqual(len(after), 2)
        self.assertIn(b"flush (submission to durable)", after[1])
        if os.path.isdir(TRACEFS):
            left = [name for name in os.listdir(TRACEFS) if name.endswith(f"-{tool.pid}")]
            self.assertEqual(left, [])


if __name__ == "__main__":
    harness.main()
