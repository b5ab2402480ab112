#!/usr/bin/env python3
"""Aim: an unmodified etcdctl can put, get, page, delete, compact and run transactions against the
server, and prints what it prints against etcd. Method: one real server, real etcdctl; the
differential test gives the same commands to Debian's etcd and to the server, on the same ports one
after the other, so that even cluster and member ids must be equal."""
import json

import h2client
import harness
import kv_script


class EtcdctlTest(harness.NodeTest):
    """What users do, with the expected output written down: needs no etcd."""

    def setUp(self):
        super().setUp()
        self.server = self.node().start()

    def run_ok(self, *arguments, stdin=None):
        result = self.server.etcdctl(*arguments, stdin=stdin)
        self.assertEqual(result.status, 0, f"etcdctl {arguments}: {result.errors}")
        return result.output

    def run_error(self, *arguments, stdin=None):
        result = self.server.etcdctl(*arguments, stdin=stdin)
        self.assertNotEqual(result.status, 0, f"etcdctl {arguments} succeeded: {result.output}")
        return result.errors

    def test_put_get_delete(self):
        self.assertEqual(self.run_ok("put", "a", "1"), "OK\n")
        self.assertEqual(self.run_ok("get", "a"), "a\n1\n")
        self.assertEqual(self.run_ok("put", "a", "2", "--prev-kv"), "OK\na\n1\n")
        self.assertEqual(self.run_ok("del", "a"), "1\n")
        self.assertEqual(self.run_ok("del", "a"), "0\n")
        self.assertEqual(self.run_ok("get", "a"), "")

    def test_first_revision_is_two_and_versions_count(self):
        self.assertEqual(json.loads(self.run_ok("get", "a", "-w", "json"))["header"]["revision"], 1)
        self.run_ok("put", "a", "1")
        self.run_ok("put", "a", "2")
        pair = json.loads(self.run_ok("get", "a", "-w", "json"))["kvs"][0]
        self.assertEqual(
            (pair["create_revision"], pair["mod_revision"], pair["version"]), (2, 3, 2)
        )

    def test_paging_sees_every_key_once(self):
        with h2client.Connection(self.server.client_port) as connection:
            for i in range(250):
                self.assertEqual(connection.put(f"page/{i:04}".encode(), b"x").status, 0)
        seen, start = [], "page/"
        while True:
            page = json.loads(self.run_ok("get", start, "page0", "--limit=100", "-w", "json"))
            keys = [harness_key(pair) for pair in page["kvs"]]
            seen += keys
            if not page.get("more"):
                break
            start = keys[-1] + "\x01"
        self.assertEqual(seen, [f"page/{i:04}" for i in range(250)])

    def test_old_revisions_stay_readable_until_compacted(self):
        for value in "123":
            self.run_ok("put", "a", value)
        self.assertEqual(self.run_ok("get", "a", "--rev=3"), "a\n2\n")
        self.assertEqual(self.run_ok("compaction", "4"), "compacted revision 4\n")
        self.assertIn("required revision has been compacted", self.run_error("get", "a", "--rev=3"))
        self.assertEqual(self.run_ok("get", "a", "--rev=4"), "a\n3\n")
        self.assertIn(
            "required revision is a future revision", self.run_error("get", "a", "--rev=5")
        )

    def test_transaction_takes_the_right_branch(self):
        text = 'version("a") = "0"\n\nput a created\n\nput a changed\n\n'
        self.assertEqual(self.run_ok("txn", stdin=text), "SUCCESS\n\nOK\n")
        self.assertEqual(self.run_ok("txn", stdin=text), "FAILURE\n\nOK\n")
        self.assertEqual(self.run_ok("get", "a", "--print-value-only"), "changed\n")

    def test_interactive_transaction(self):
        output = self.run_ok("txn", "-i", stdin='version("a") = "0"\n\nput a 1\n\n\n')
        self.assertIn("SUCCESS", output)

    def test_status_health_and_members(self):
        status = json.loads(self.run_ok("endpoint", "status", "-w", "json"))[0]["Status"]
        members = json.loads(self.run_ok("member", "list", "-w", "json"))
        self.assertEqual(status["leader"], status["header"]["member_id"])
        self.assertEqual([member["ID"] for member in members["members"]], [status["leader"]])
        self.assertEqual(members["members"][0]["name"], "e2e")
        self.assertRegex(status["version"], r"^3\.\d+\.\d+")
        health = self.server.etcdctl("endpoint", "health")
        self.assertIn("is healthy", health.output + health.errors)

    def test_http_on_the_same_port(self):
        status, body = self.server.http_get("/health")
        self.assertEqual((status, json.loads(body)["health"]), (200, "true"))
        status, body = self.server.http_get("/version")
        self.assertEqual(status, 200)
        self.assertIn("etcdserver", json.loads(body))
        status, body = self.server.http_get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn(b"etcd_server_has_leader 1", body)
        self.assertEqual(self.server.http_get("/nothing-here")[0], 404)

    def test_a_large_answer_comes_whole(self):
        value = b"z" * 1_000_000
        with h2client.Connection(self.server.client_port) as connection:
            for i in range(12):
                self.assertEqual(connection.put(b"large/%d" % i, value).status, 0)
            reply = connection.range(b"large/", b"large0")
            self.assertEqual(reply.status, 0)
            self.assertEqual([pair[1] for pair in h2client.pairs_of(reply.response)], [value] * 12)
        with h2client.Connection(self.server.client_port, window=65535) as connection:
            self.assertEqual(
                len(h2client.pairs_of(connection.range(b"large/", b"large0").response)), 12
            )

    def test_etcdctl_gets_values_above_its_first_window(self):
        for size in (60_000, 70_000, 1_000_000):
            self.assertEqual(self.run_ok("put", "long", stdin="v" * size), "OK\n")
            self.assertEqual(self.run_ok("get", "long", "--print-value-only"), "v" * size + "\n")

    def test_binary_keys_sort_bytewise(self):
        keys = [b"\x00", b"\x00\x00", b"a", b"a\x00", b"\x7f", b"\x80", b"\xff", b"\xff\xff"]
        with h2client.Connection(self.server.client_port) as connection:
            for key in reversed(keys):
                self.assertEqual(connection.put(key, key).status, 0)
            reply = connection.range(b"\x00", b"\x00")
            self.assertEqual([pair[0] for pair in h2client.pairs_of(reply.response)], sorted(keys))


def harness_key(pair):
    import base64

    return base64.b64decode(pair["key"]).decode()


class DifferentialTest(harness.NodeTest):
    """The same commands for etcd and for the server."""

    maxDiff = 4000

    def test_prints_what_etcd_prints(self):
        etcd = harness.etcd_binary()
        if etcd is None:
            self.skipTest("etcd is not installed (package etcd-server)")
        ports = harness.free_ports(2)
        expected = self.transcript("etcd", etcd, ports)
        got = self.transcript("server", harness.Config.server, ports)
        differing = []
        for (arguments, stdin), want, have in zip(kv_script.commands(), expected, got):
            with self.subTest(command=" ".join(arguments), stdin=(stdin or "")[:200]):
                if want != have:
                    differing.append(arguments)
                self.assertEqual(want, have)
        print(f"compared {len(expected)} commands, {len(differing)} differ", flush=True)

    def transcript(self, name, binary, ports):
        node = self.node(name, binary=binary, ports=ports).start()
        # Until the member has published its client URLs, `member list` shows none.
        harness.wait_until(
            lambda: "http" in node.etcdctl("member", "list").output.rsplit(",", 2)[-2],
            10,
            "published",
        )
        out = []
        for arguments, stdin in kv_script.commands():
            result = node.etcdctl(*arguments, stdin=stdin)
            out.append(
                (
                    result.status,
                    kv_script.normalise(arguments, result.output),
                    kv_script.normalise(arguments, result.errors),
                )
            )
        node.kill()
        return out


if __name__ == "__main__":
    harness.main()
