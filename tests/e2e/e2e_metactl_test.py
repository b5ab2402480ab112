#!/usr/bin/env python3
"""Aim: metactl tells the truth of a real node, its configuration and its data, and says in one line
what is wrong where it cannot. Method: every command against a running node, a killed one, ports
without a server, with another one, and with one that never answers; exit codes and JSON."""
import json
import os
import socket
import subprocess
import threading

import h2client
import harness

OK, BAD, USAGE, FAILED = range(4)


def metactl(*arguments, environment=None, timeout=60):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
    clean.update(environment or {})
    return subprocess.run(
        [str(harness.Config.server.parent / "metactl"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=clean,
    )


class Listener:
    """A port on which each connection gets `answer` and is closed; None: it is left hanging."""

    def __init__(self, answer):
        self.answer = answer
        self.held = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            if self.answer is None:
                self.held.append(connection)
                continue
            with connection:
                connection.recv(65536)
                connection.sendall(self.answer)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)
        for connection in self.held:
            connection.close()


class MetactlTest(harness.NodeTest):
    def expect(self, code, result):
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout

    def expect_line(self, code, part, result):
        """Nothing on stdout, and one line that names what is wrong."""
        self.expect(code, result)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertRegex(result.stderr, r"^metactl: ")
        self.assertIn(part, result.stderr)


class NodesTest(MetactlTest):
    def setUp(self):
        super().setUp()
        self.skip_for_etcd("it has not these pages")
        self.server = self.node().start()
        with h2client.Connection(self.server.client_port) as connection:
            for i in range(30):
                self.assertEqual(connection.put(b"key/%04d" % i, b"v" * 200).status, 0)

    def test_status_agrees_with_etcdctl(self):
        result = metactl("status", "--endpoints", self.server.endpoint, "--json")
        status = json.loads(self.expect(OK, result))
        answer = self.server.etcdctl("endpoint", "status", "-w", "json").output
        etcd = json.loads(answer)[0]["Status"]
        header = etcd["header"]
        self.assertEqual(int(status["member_id"], 16), header["member_id"])
        self.assertEqual(int(status["cluster_id"], 16), header["cluster_id"])
        self.assertEqual(int(status["leader_id"], 16), etcd["leader"])
        self.assertEqual(status["revision"], header["revision"])
        self.assertEqual(status["term"], header["raft_term"])
        self.assertEqual(status["applied"], etcd["raftIndex"])
        self.assertEqual(status["stored_bytes"], etcd["dbSize"])
        self.assertEqual((status["keys"], status["boots"]), (30, 1))
        self.assertTrue(status["healthy"] and status["is_leader"] and not status["no_space"])
        self.assertGreater(status["flush_p50_ms"], 0)
        self.assertGreaterEqual(status["flush_p99_ms"], status["flush_p50_ms"])

    def test_status_for_people(self):
        text = self.expect(OK, metactl("status", "--endpoints", f"http://{self.server.endpoint}/"))
        for part in ("healthy", "(this member)", "30 keys", "p99", "slow turns"):
            self.assertIn(part, text)

    def test_health(self):
        text = self.expect(OK, metactl("health", "--endpoints", self.server.endpoint))
        self.assertIn("healthy", text)
        self.server.kill()
        self.expect_line(
            FAILED, "connection refused", metactl("health", "--endpoints", self.server.endpoint)
        )

    def test_metrics_by_prefix(self):
        text = self.expect(
            OK,
            metactl("metrics", "--endpoints", self.server.endpoint, "--match", "metastore_wal_seg"),
        )
        self.assertIn("metastore_wal_segments_live 1\n", text)
        self.assertTrue(all("metastore_wal_seg" in line for line in text.splitlines()), text)
        self.expect_line(
            BAD,
            "no metric begins with nothing_",
            metactl("metrics", "--endpoints", self.server.endpoint, "--match", "nothing_"),
        )

    def test_one_unreachable_endpoint_does_not_hide_the_others(self):
        other = harness.free_ports(1)[0]
        result = metactl("health", "--endpoints", f"127.0.0.1:{other},{self.server.endpoint}")
        self.assertIn("healthy", self.expect(FAILED, result))
        self.assertIn(f"127.0.0.1:{other}", result.stderr)

    def test_the_proxy_of_the_environment_is_not_asked(self):
        proxy = {"http_proxy": "http://127.0.0.1:1", "all_proxy": "http://127.0.0.1:1"}
        self.expect(OK, metactl("health", "--endpoints", self.server.endpoint, environment=proxy))


class WrongEndpointTest(MetactlTest):
    def against(self, answer, command="status"):
        listener = Listener(answer)
        self.addCleanup(listener.close)
        return metactl(command, "--endpoints", f"127.0.0.1:{listener.port}", "--timeout", "1")

    def test_nobody_listens(self):
        port = harness.free_ports(1)[0]
        for command in ("status", "health", "metrics"):
            self.expect_line(
                FAILED, "connection refused", metactl(command, "--endpoints", f"127.0.0.1:{port}")
            )

    def test_no_answer_in_time(self):
        self.expect_line(FAILED, "no answer within 1000 ms", self.against(None))

    def test_not_http(self):
        for answer in (b"", b"\x00\x01\x02\x03", b"SSH-2.0-OpenSSH_9.2\r\n"):
            self.expect_line(FAILED, "the answer is not HTTP", self.against(answer))

    def test_another_http_server(self):
        body = b"<html>hello</html>"
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        page = head % len(body) + body
        for command in ("status", "health", "metrics"):
            self.expect_line(FAILED, "not a", self.against(page, command))
        gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.expect_line(FAILED, "HTTP 404", self.against(gone))

    def test_wrong_usage(self):
        for arguments in (
            (),
            ("nothing",),
            ("status", "--endpoints", ","),
            ("status", "--timeout", "0"),
            ("data",),
            ("config",),
        ):
            self.expect(USAGE, metactl(*arguments))
        for endpoint, part in (("gopher://a", "not a URL"), ("no.such.invalid:1", "no such host")):
            self.expect_line(FAILED, part, metactl("status", "--endpoints", endpoint))

    def test_every_command_has_help_with_examples(self):
        for command in (("status",), ("health",), ("metrics",), ("config", "check"), ("data",)):
            text = self.expect(OK, metactl(*command, "--help"))
            self.assertIn("Examples:\n  metactl " + " ".join(command), text)
        self.assertIn("Exit code: 0", self.expect(OK, metactl("--help")))


class ConfigCheckTest(MetactlTest):
    def test_every_problem_is_listed_at_once(self):
        flags = ("--snapshot-count", "many", "--no-such-flag", "--listen-client-urls", "x")
        result = metactl("config", "check", *flags)
        self.expect(BAD, result)
        for part in ("--snapshot-count=many", "--no-such-flag", "--listen-client-urls"):
            self.assertIn(part, result.stderr)

    def test_what_is_in_effect_and_what_has_none(self):
        text = self.expect(
            OK,
            metactl(
                "config", "check", "--name", "a", "--max-wals=7",
                environment={"ETCD_SNAPSHOT_COUNT": "5000"},
            ),
        )
        self.assertIn("warning: --max-wals=7: no effect", text)
        self.assertIn("  --data-dir=a.etcd\n", text)
        self.assertRegex(text, r"--snapshot-count=5000 +from ETCD_SNAPSHOT_COUNT=5000\n")
        self.assertIn("  --wal-depth=1\n", text)
        self.assertNotIn("--backend-batch-limit", text)

    def test_a_file_is_checked(self):
        file = self.directory / "config.yml"
        file.write_text("name: b\nheartbeat-interval: 500\nelection-timeout: 1000\n")
        result = metactl("config", "check", "--config-file", file)
        self.expect(BAD, result)
        self.assertIn("election-timeout", result.stderr)
        file.write_text("name: b\n")
        text = self.expect(OK, metactl("config", "check", "--config-file", file))
        self.assertIn("--name=b", text)

    def test_the_files_of_deploy_are_valid(self):
        self.expect(
            OK, metactl("config", "check", "--config-file", harness.ROOT / "deploy/metastore.yml")
        )


class DataTest(MetactlTest):
    def setUp(self):
        super().setUp()
        self.skip_for_etcd("it has other files")
        self.server = self.node(extra=["--snapshot-count", "100"]).start()

    def put(self, count):
        with h2client.Connection(self.server.client_port) as connection:
            for i in range(count):
                self.assertEqual(connection.put(b"key/%05d" % i, b"v" * 100_000).status, 0)

    def look(self, code=OK):
        return json.loads(self.expect(code, metactl("data", self.server.data, "--json")))

    def test_a_live_directory(self):
        self.put(30)
        seen = self.look()
        status = json.loads(
            metactl("status", "--endpoints", self.server.endpoint, "--json").stdout
        )
        self.assertEqual(seen["member_id"], status["member_id"])
        self.assertEqual(seen["cluster_id"], status["cluster_id"])
        self.assertEqual((seen["boots"], seen["snapshots"]), (1, []))
        span = {"group": 1, "first": 1, "last": status["applied"]}
        self.assertEqual(seen["log"]["groups"], [span])
        self.assertIn(seen["log"]["verdict"], ("CLEAN", "TORN-TAIL"))
        self.put(5)  # the node does not notice

    def test_snapshots_starts_and_damage(self):
        self.put(800)  # beyond one segment, so that there is a snapshot
        snapshots = self.server.data / "member" / "snap"
        harness.wait_until(
            lambda: [s for s in self.look()["snapshots"] if s["verdict"] == "intact"],
            60,
            "a snapshot is there",
        )
        self.server.stop()
        self.server.start()
        self.server.stop()
        before = {path: path.read_bytes() for path in snapshots.iterdir()}
        seen = self.look()
        self.assertEqual(seen["boots"], 2)
        newest = seen["snapshots"][0]
        self.assertEqual(newest["verdict"], "intact")
        self.assertEqual(newest["revision"], newest["keys"] + 1)
        self.assertGreater(newest["stream_bytes"], 1000)
        self.assertLessEqual(newest["index"], seen["log"]["groups"][0]["last"])
        self.assertEqual(before, {path: path.read_bytes() for path in snapshots.iterdir()})

        path = snapshots / newest["file"]
        with open(path, "r+b") as file:
            file.seek(500)
            byte = file.read(1)[0]
            file.seek(500)
            file.write(bytes([byte ^ 1]))
            file.flush()
            os.fsync(file.fileno())
        damaged = self.look(BAD)
        self.assertFalse(damaged["sound"])
        self.assertEqual(damaged["snapshots"][0]["verdict"], "DAMAGED")
        self.assertRegex(damaged["snapshots"][0]["detail"], "offset")
        self.assertIn("DAMAGED", metactl("data", self.server.data).stdout)
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size - 4096)
        self.assertEqual(self.look()["snapshots"][0]["verdict"], "unfinished")

    def test_no_node_lives_here(self):
        self.expect_line(FAILED, "none", metactl("data", self.directory / "none"))
        empty = self.directory / "empty"
        (empty / "member" / "wal").mkdir(parents=True)
        self.expect_line(FAILED, "no log segments", metactl("data", empty))


if __name__ == "__main__":
    harness.main()
