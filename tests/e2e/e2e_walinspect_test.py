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
        for command in ("ls", "dump", "verify", "stats", "fsync", "export", "repair"):
            self.walinspect(command, self.log)
        self.walinspect("diff", self.log, copy)
        for name in os.listdir(copy):
            self.assertEqual((copy / name).read_bytes(), (self.log / name).read_bytes(), name)
        self.server.start()
        self.put(1)

    def document(self, *arguments, code=CLEAN):
        result = self.walinspect(*arguments)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return json.loads(result.stdout)

    def test_a_running_node_is_profiled(self):
        self.put(300)
        stats = self.document("stats", self.log, "--json")
        self.assertEqual(stats["schema"], "walinspect.stats/1")
        parts = ("payload_bytes", "record_field_bytes", "header_bytes", "padding_bytes")
        self.assertEqual(stats["frame_bytes"], sum(stats[part] for part in parts))
        entries = stats["groups"][0]["kinds"]["entry"]["records"]
        self.assertGreaterEqual(entries, 300)
        self.assertEqual(stats["segments"][-1]["live"], [{"group": 1, "entries": entries}])
        svg = self.server.directory / "heat.svg"
        profile = self.document("fsync", self.log, "--json", "--svg", svg, "--what-if", "depth=2")
        self.assertIn(profile["verdict"], ("good", "slow", "too-quick"))
        self.assertGreaterEqual(profile["flush"]["count"], 300)
        self.assertGreaterEqual(profile["what_if"]["changed"]["latency"]["count"], 300)
        self.assertIn("</svg>", svg.read_text())
        text = self.walinspect("fsync", self.log).stdout
        self.assertRegex(text, "^(GOOD|SLOW|TOO QUICK): ")
        self.assertEqual(self.walinspect("fsync", self.log, "--what-if", "x=1").returncode, FAILED)

    def test_a_chrome_trace_has_every_flush(self):
        self.put(50)
        self.server.kill()
        trace = self.document("export", self.log, "--format", "chrome-trace")
        flushes = [e for e in trace["traceEvents"] if e["name"] == "flush"]
        lines = self.walinspect("export", self.log).stdout.splitlines()
        self.assertEqual(
            [e["args"]["lsn"] for e in flushes], [json.loads(line)["lsn"] for line in lines]
        )
        self.assertGreaterEqual(len(flushes), 50)
        for event in flushes:
            self.assertGreater(event["dur"], 0)
        text = self.walinspect("export", self.log, "--format", "prometheus").stdout
        self.assertIn(f"walinspect_flush_seconds_count {len(flushes)}\n", text)

    def test_diff_of_a_log_and_an_older_copy(self):
        self.put(20)
        self.server.kill()
        copy = self.server.directory / "copy"
        shutil.copytree(self.log, copy)
        self.assertEqual(self.walinspect("diff", self.log, copy).returncode, 0)
        self.server.start()
        self.put(5)
        self.server.kill()
        groups = self.document("diff", copy, self.log, "--json", code=1)["groups"]
        self.assertEqual(groups[0]["verdict"], "shorter")
        self.assertGreaterEqual(groups[0]["b"]["last"], groups[0]["a"]["last"] + 5)

    def test_repair_cuts_only_what_it_was_allowed_to(self):
        self.put(20)
        backup = self.server.directory / "backup"
        apply = ("repair", self.log, "--apply", "--backup", backup)
        live = self.walinspect(*apply)
        self.assertEqual(live.returncode, FAILED, live.stdout)
        self.assertIn("a node seems to run", live.stderr)
        self.server.kill()
        keys = [r for r in self.records() if "key=key/" in r["meaning"]]
        self.flip(keys[4])
        damaged = {path.name: path.read_bytes() for path in self.log.iterdir()}
        plan = self.document("repair", self.log, "--json", code=CORRUPT)
        self.assertTrue(plan["below_promise"])
        self.assertEqual(plan["lost"][0]["last_index"], keys[-1]["index"])
        self.assertEqual(self.walinspect(*apply).returncode, FAILED)
        self.assertEqual({p.name: p.read_bytes() for p in self.log.iterdir()}, damaged)
        repaired = self.walinspect(*apply, "--accept-loss")
        self.assertEqual(repaired.returncode, CLEAN, repaired.stdout + repaired.stderr)
        for path in backup.iterdir():
            self.assertEqual(path.read_bytes(), damaged[path.name])
        self.assertEqual([r["index"] for r in self.records() if "key=key/" in r["meaning"]],
                         [r["index"] for r in keys[:4]])
        self.server.start()
        self.put(1)


if __name__ == "__main__":
    harness.main()
