#!/usr/bin/env python3
"""Aim: walinspect shows what is in the log of a real node, also of a running one, and its verdicts
and exit codes are true. Method: a node takes puts; its log is inspected live, after kill -9 and
after known bytes of it were changed."""
import json
import os
import shutil
import subprocess

import h2client
import harness

CLEAN, TORN_TAIL, CORRUPT, FOREIGN, FAILED = range(5)


class WalinspectTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        self.server = self.node().start()
        self.log = self.server.data / "member" / "wal"

    def walinspect(self, *arguments):
        return subprocess.run(
            [str(harness.Config.server.parent / "walinspect"), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def put(self, count):
        with h2client.Connection(self.server.client_port) as connection:
            for i in range(count):
                self.assertEqual(connection.put(b"key/%04d" % i, b"v" * 200).status, 0)

    def records(self, *filters):
        result = self.walinspect("dump", self.log, "--format", "json", *filters)
        self.assertIn(result.returncode, (CLEAN, TORN_TAIL), result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def flip(self, record):
        """One bit in the body of the frame that holds `record`."""
        with open(self.log / record["file"], "r+b") as file:
            file.seek(record["offset"] + 200)
            byte = file.read(1)[0]
            file.seek(record["offset"] + 200)
            file.write(bytes([byte ^ 1]))
            file.flush()
            os.fsync(file.fileno())

    def expect(self, code, verdict):
        result = self.walinspect("verify", self.log)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertTrue(result.stdout.startswith(verdict), result.stdout)
        return result.stdout

    def test_a_live_log_is_never_damaged_and_shows_the_commands(self):
        with h2client.Connection(self.server.client_port) as connection:
            for i in range(300):
                self.assertEqual(connection.put(b"key/%04d" % i, b"v" * 200).status, 0)
                if i % 50 == 0:
                    self.assertIn(self.walinspect("verify", self.log).returncode, (0, 1))
        puts = [r for r in self.records("--group", 1) if r["meaning"].startswith("put key=key/")]
        self.assertEqual(
            [r["meaning"].split()[1] for r in puts], [f"key=key/{i:04}" for i in range(300)]
        )
        indexes = [r["index"] for r in puts]
        self.assertEqual(indexes, sorted(indexes))
        some = self.records("--index", f"{indexes[10]}..{indexes[12]}")
        self.assertEqual(len([r for r in some if r["kind"] == "entry"]), 3)
        lsn = puts[5]["lsn"]
        self.assertEqual({r["lsn"] for r in self.records("--lsn", lsn)}, {lsn})
        self.assertEqual(self.records("--until", "2001-01-01T00:00:00Z"), [])
        self.assertEqual(len(self.records("--since", "2001-01-01T00:00:00Z")), len(self.records()))

    def test_ls_names_every_file(self):
        self.put(10)
        self.server.kill()
        result = self.walinspect("ls", self.log, "--format", "json")
        self.assertEqual(result.returncode, CLEAN, result.stderr)
        files = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([f["file"] for f in files], sorted(os.listdir(self.log)))
        live = [f for f in files if f["state"] == "live"]
        self.assertEqual(len(live), 1)
        self.assertGreater(live[0]["frames"], 10)
        self.assertEqual(live[0]["groups"], "1")

    def test_hex_shows_the_bytes(self):
        self.put(1)
        result = self.walinspect("dump", self.log, "--format", "hex")
        self.assertIn("6b 65 79 2f 30 30 30", result.stdout)

    def test_verdicts_and_exit_codes(self):
        self.put(20)
        self.server.kill()
        keys = [r for r in self.records() if "key=key/" in r["meaning"]]
        self.assertIn(self.walinspect("verify", self.log).returncode, (CLEAN, TORN_TAIL))
        self.flip(keys[-1])
        self.expect(TORN_TAIL, "TORN-TAIL")
        self.flip(keys[-1])
        self.flip(keys[4])
        text = self.expect(CORRUPT, "CORRUPT")
        self.assertIn(f"{keys[4]['file']} offset {keys[4]['offset']} ", text)
        self.flip(keys[4])
        other = self.walinspect("verify", self.log, "--cluster", "5", "--member", "6")
        self.assertEqual(other.returncode, FOREIGN, other.stdout)
        self.assertEqual(self.walinspect("verify", self.log / "none").returncode, FAILED)
        self.assertEqual(self.walinspect("verify").returncode, FAILED)
        self.assertEqual(self.walinspect("dump", self.log, "--lsn", "9..1").returncode, FAILED)
        self.assertEqual(self.walinspect("dump", self.log, "--since", "soon").returncode, FAILED)

    def test_nothing_is_written(self):
        self.put(5)
        self.server.kill()
        copy = self.server.directory / "copy"
        shutil.copytree(self.log, copy)
        for command in ("ls", "dump", "verify"):
            self.walinspect(command, self.log)
        for name in os.listdir(copy):
            self.assertEqual((copy / name).read_bytes(), (self.log / name).read_bytes(), name)
        self.server.start()
        self.put(1)


if __name__ == "__main__":
    harness.main()
