#!/usr/bin/env python3
"""Aim: starting, stopping, wrong configuration, two processes on one directory, durable writes per
put and a full disk go as an operator expects. Method: one real server on the real disk; the full
disk is a small loop-mounted ext4, and that test is skipped where mounting is not permitted."""
import os
import re
import subprocess
import threading
import time

import h2client
import harness
from small_disk import SmallDisk

PROMISE_AFTER_S = 0.05  # idleness that ends a burst
PROMISE_WAIT_S = 0.5  # the log goes quiet after this much idleness at the latest


class StopAndStartTest(harness.NodeTest):
    def test_restart_keeps_data_and_revision(self):
        node = self.node().start()
        for i in range(20):
            self.assertEqual(node.etcdctl("put", f"k{i}", f"v{i}").output, "OK\n")
        node.stop()
        node.start()
        self.assertEqual(node.etcdctl("get", "k7").output, "k7\nv7\n")
        self.assertIn('"revision":21', node.etcdctl("get", "k7", "-w", "json").output)
        node.kill()
        node.start()
        self.assertIn('"count":20', node.etcdctl("get", "--prefix", "k", "-w", "json").output)

    def test_sigterm_drains_and_exits_zero(self):
        node = self.node().start()
        acknowledged, problems = [], []

        def write(number):
            try:
                with h2client.Connection(node.client_port) as connection:
                    for i in range(1_000_000):
                        reply = connection.put(b"t/%d/%d" % (number, i), b"x")
                        if reply.status != 0:
                            return
                        acknowledged.append(b"t/%d/%d" % (number, i))
            except (h2client.Closed, OSError):
                return
            except Exception as error:
                problems.append(repr(error))

        threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        begin = time.monotonic()
        status = node.stop()
        took = time.monotonic() - begin
        for thread in threads:
            thread.join(30)
        self.assertEqual(problems, [])
        if not harness.Config.is_etcd():  # etcd ends by the signal itself
            self.assertEqual(status, 0, node.log_tail())
        self.assertLess(took, 20)
        node.start()
        with h2client.Connection(node.client_port) as connection:
            there = {pair[0] for pair in h2client.pairs_of(connection.range(b"t/", b"t0").response)}
        self.assertGreater(len(acknowledged), 10)
        self.assertEqual(set(acknowledged) - there, set())

    def test_second_process_on_the_directory_is_refused(self):
        self.skip_for_etcd("3.4 waits for the lock for ever")
        node = self.node().start()
        second = self.node("second")
        second.data = node.data
        second.spawn()
        status = second.process.wait(20)
        self.assertNotEqual(status, 0)
        self.assertIn(str(node.data), second.log_text())
        self.assertRegex(second.log_text().lower(), "lock|in use|another|used by")
        self.assertEqual(node.etcdctl("put", "a", "1").output, "OK\n")

    def test_occupied_port_is_named(self):
        node = self.node().start()
        second = self.node("second", ports=(node.client_port, harness.free_ports(1)[0])).spawn()
        self.assertNotEqual(second.process.wait(20), 0)
        self.assertIn(str(node.client_port), second.log_text())
        self.assertEqual(node.etcdctl("put", "a", "1").output, "OK\n")


class ConfigurationTest(harness.NodeTest):
    def output_of(self, arguments, environment=None):
        """(status, all output) of a server that is expected to end by itself."""
        node = self.node(environment=environment)
        node.spawn(arguments)
        try:
            return node.process.wait(15), node.log_text()
        except subprocess.TimeoutExpired:
            self.fail(f"it started with {arguments}\n{node.log_tail()}")

    def test_every_problem_is_listed_at_once(self):
        self.skip_for_etcd("it names the first only")
        status, text = self.output_of(
            [
                "--no-such-flag",
                "1",
                "--listen-client-urls",
                "nonsense",
                "--snapshot-count",
                "many",
                "--heartbeat-interval=x",
                "--data-dir",
                str(self.directory / "d"),
            ]
        )
        self.assertNotEqual(status, 0)
        for flag in ("no-such-flag", "listen-client-urls", "snapshot-count", "heartbeat-interval"):
            self.assertIn(flag, text)

    def test_unknown_flag_is_refused(self):
        status, text = self.output_of(["--no-such-flag"])
        self.assertNotEqual(status, 0)
        self.assertIn("no-such-flag", text)

    def test_flag_and_environment_conflict(self):
        status, text = self.output_of(
            ["--name", "a", "--data-dir", str(self.directory / "d")], {"ETCD_NAME": "b"}
        )
        self.assertNotEqual(status, 0)
        self.assertIn("ETCD_NAME", text)
        self.assertIn("conflicting environment variable", text)

    def test_environment_configures(self):
        node = self.node()
        flags = node.flags()
        node.environment = {
            "ETCD_" + name[2:].upper().replace("-", "_"): value
            for name, value in zip(flags[::2], flags[1::2])
        }
        node.flags = lambda: []
        node.start()
        self.assertIn("e2e", node.etcdctl("member", "list").output)

    def test_config_file_configures(self):
        node = self.node()
        flags = node.flags()
        file = self.directory / "config.yaml"
        file.write_text(
            "".join(f"{name[2:]}: {value}\n" for name, value in zip(flags[::2], flags[1::2]))
        )
        node.flags = lambda: ["--config-file", str(file)]
        node.start()
        self.assertIn("e2e", node.etcdctl("member", "list").output)
        self.assertTrue(node.data.exists())

    def test_unwritable_data_directory_is_named(self):
        file = self.directory / "file"
        file.write_text("not a directory")
        node = self.node()
        node.data = file / "data"
        status, text = self.output_of(node.flags())
        self.assertNotEqual(status, 0)
        self.assertIn(str(node.data), text)

    def test_version_and_help(self):
        for flag in ("--version", "--help"):
            done = subprocess.run(
                [str(harness.Config.server), flag], capture_output=True, timeout=15
            )
            self.assertEqual(done.returncode, 0)
            self.assertTrue(done.stdout + done.stderr)


class DurableWritesTest(harness.NodeTest):
    """What one put costs on the disk; read from the server's own metrics and the kernel's
    accounting."""

    def metric(self, node, name):
        found = re.search(
            rf"^{name} ([0-9.e+]+)$", node.http_get("/metrics")[1].decode(), flags=re.M
        )
        self.assertIsNotNone(found, f"no metric {name}")
        return int(float(found[1]))

    def durable_writes(self, node):
        return self.metric(node, "metastore_wal_durable_writes_total")

    def setUp(self):
        super().setUp()
        self.skip_for_etcd("it has not these metrics")

    def test_lone_puts_cost_one_durable_write_each(self):
        node = self.node().start()
        with h2client.Connection(node.client_port) as connection:
            self.assertEqual(connection.put(b"warm", b"x").status, 0)
            time.sleep(PROMISE_WAIT_S)
            before, pauses, last = self.durable_writes(node), 0, time.monotonic()
            for i in range(201):
                if i < 200:
                    self.assertEqual(connection.put(b"lone/%d" % i, b"x" * 256).status, 0)
                else:
                    extra = self.durable_writes(node) - before - 200
                now = time.monotonic()
                pauses += now - last > PROMISE_AFTER_S / 2
                last = now
            print(f"200 lone puts: {extra} durable writes more, {pauses} pauses", flush=True)
            # A pause of a busy machine may be long enough for the log to end the burst with a
            # write of its own.
            self.assertIn(extra, range(pauses + 1))
            time.sleep(PROMISE_WAIT_S)
            self.assertLessEqual(self.durable_writes(node) - before - 200, 1 + pauses)

    def test_idle_node_writes_nothing(self):
        node = self.node().start()
        node.etcdctl("put", "a", "1")
        time.sleep(3)  # segments are prepared ahead, then silence
        frames, written = (
            self.metric(node, "metastore_wal_durable_writes_total"),
            node.written_bytes(),
        )
        time.sleep(4)
        self.assertEqual(self.metric(node, "metastore_wal_durable_writes_total"), frames)
        self.assertEqual(node.written_bytes(), written)

    def test_reads_write_nothing(self):
        node = self.node().start()
        with h2client.Connection(node.client_port) as connection:
            connection.put(b"a", b"1")
            time.sleep(3)
            frames = self.metric(node, "metastore_wal_durable_writes_total")
            for _ in range(100):
                self.assertEqual(connection.range(b"a").status, 0)
            time.sleep(PROMISE_WAIT_S)
            self.assertEqual(self.metric(node, "metastore_wal_durable_writes_total"), frames)


class FullDiskTest(harness.NodeTest):
    FILE_SYSTEM_MIB = 640
    LEFT_MIB = 24  # what is left to the server once it runs
    VALUE = os.urandom(64 * 1024)

    def setUp(self):
        super().setUp()
        self.skip_for_etcd("it ends when its disk is full")
        self.disk = SmallDisk(self, self.FILE_SYSTEM_MIB)

    def free_mib(self):
        return self.disk.free_bytes() >> 20

    def put_until_refused(self, connection, acknowledged):
        """Puts new keys until one is refused; gives the reply."""
        for _ in range(4 * self.FILE_SYSTEM_MIB * 16):
            key = b"full/%06d" % len(acknowledged)
            reply = connection.put(key, self.VALUE, timeout=60)
            if reply.status != 0:
                return reply
            acknowledged.append(key)
        self.fail(f"the disk has {self.free_mib()} MiB left and takes everything")

    def test_full_disk_refuses_writes_and_recovers(self):
        node = self.node()
        node.data = self.disk.path / "data"
        node.start()
        time.sleep(2)  # spare segments are prepared ahead
        self.disk.fill(self.LEFT_MIB << 20)
        acknowledged = []
        with h2client.Connection(node.client_port, timeout=60) as connection:
            self.assertEqual(connection.put(b"first", b"1").status, 0)
            reply = self.put_until_refused(connection, acknowledged)
            print(
                f"refused after {len(acknowledged)} puts of 64 KiB, {self.free_mib()} MiB free: "
                f"{reply!r}",
                flush=True,
            )
            self.assertIn(reply.status, (8, 14), "ResourceExhausted or Unavailable")
            self.assertRegex(reply.message.lower(), "space|disk|full")

            self.assertTrue(node.alive(), "it ended instead of refusing")
            read = connection.range(b"first")
            self.assertEqual((read.status, h2client.pairs_of(read.response)[0][1]), (0, b"1"))
            self.assertEqual(connection.range(acknowledged[-1], serializable=True).status, 0)
            begin = time.monotonic()
            again = connection.put(b"refused", b"x", timeout=20)
            self.assertLess(time.monotonic() - begin, 10, "a refusal must be quick")
            print(f"a small put on the full disk: {again!r}", flush=True)

            self.disk.make_room()
            harness.wait_until(
                lambda: connection.put(b"recovered", b"1", timeout=20).status == 0,
                30,
                "writes go again by themselves once there is room",
            )
            self.assertEqual(connection.put(b"more", self.VALUE).status, 0)
        node.kill()
        node.start()
        with h2client.Connection(node.client_port, timeout=60) as connection:
            count = h2client.first(
                connection.range(b"full/", b"full0", count_only=True).response, 4, 0
            )
            self.assertGreaterEqual(count, len(acknowledged))
            self.assertEqual(h2client.pairs_of(connection.range(b"recovered").response)[0][1], b"1")


if __name__ == "__main__":
    harness.main()
