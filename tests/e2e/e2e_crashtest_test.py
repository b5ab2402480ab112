#!/usr/bin/env python3
"""Aim: `walinspect crashtest` as a user runs it: a recording of this node, a few dozen crashes
of it, reports as text and JSON, exit codes. Method: the release programs; tests/tools has the
parts."""
import json
import subprocess

import harness

PASSED, FOUND, FAILED = 0, 2, 4


class CrashtestTest(harness.NodeTest):
    def crashtest(self, *arguments):
        return subprocess.run(
            [
                str(harness.Config.server.parent / "walinspect"),
                "crashtest",
                *map(str, arguments),
                "--node",
                str(harness.Config.server),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def setUp(self):
        super().setUp()
        self.skip_for_etcd("it traces no disk operations")
        self.trace = self.directory / "node.rec"
        self.work = ("--work", self.directory / "work")

    def record(self, *arguments):
        result = self.crashtest(
            "record", "--trace", self.trace, "--json", "--writes", 400, *self.work, *arguments
        )
        self.assertEqual(result.returncode, PASSED, result.stdout + result.stderr)
        return json.loads(result.stdout)

    def test_a_recording_and_some_of_its_crashes(self):
        recorded = self.record()
        self.assertEqual(recorded["schema"], "walinspect.crashtest-record/1")
        self.assertEqual(recorded["lives"], 4)
        self.assertGreater(recorded["durable_writes"], 100)
        result = self.crashtest(
            "run", self.trace, "--json", "--points", 40, "--images", 40, "--double-every", 20,
            "--double-points", 3, *self.work,
        )
        self.assertEqual(result.returncode, PASSED, result.stdout + result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual(report["schema"], "walinspect.crashtest/1")
        self.assertEqual((report["failed"], report["failures"]), (0, []))
        self.assertGreater(report["images"], 30)
        self.assertGreater(report["doubles"], 0)
        self.assertEqual(sum(report["verdicts"].values()), report["images"])

    def test_with_flushes_behind_the_writes(self):
        self.record("--wal-durable-method", "linked", "--wal-depth", 2)
        text = self.crashtest(
            "run", self.trace, "--points", 6, "--images", 20, "--wal-durable-method", "linked",
            "--wal-depth", 2, *self.work,
        )
        self.assertEqual(text.returncode, PASSED, text.stdout + text.stderr)
        self.assertRegex(text.stdout.splitlines()[-1], r"^\d+ images, 0 failed$")

    def test_what_cannot_be_run_is_refused(self):
        broken = self.directory / "broken.rec"
        broken.write_bytes(b"no recording")
        result = self.crashtest("run", broken, *self.work)
        self.assertEqual(result.returncode, FAILED)
        self.assertIn("not a trace of disk operations", result.stderr)
        self.assertEqual(self.crashtest("run", broken).returncode, FAILED)
        self.assertEqual(self.crashtest("record", *self.work).returncode, FAILED)


if __name__ == "__main__":
    harness.main()
