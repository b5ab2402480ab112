#!/usr/bin/env python3
"""Aim: real members compare their states under writes, compactions and restarts without a false
alarm, and one that is fenced serves nobody until an operator acts, while the others serve on.
Method: three processes that compare every second; the fence mark is put there by hand, since no
release can make a wrong state."""
import json
import re

import h2client
import harness
from cluster import SMALL_LOG, Cluster

MARK = b"MetaStore fence mark 1\nrevisions 3 to 9"
BLOCK = 4096
CORRUPT = "etcdserver: corrupt cluster"


class DigestTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        self.skip_for_etcd("its own comparison")
        self.cluster = Cluster(self, extra=[*SMALL_LOG, "--corrupt-check-time", "1s"]).start()

    def metric(self, member, name):
        page = member.http_get("/metrics")[1].decode()
        return float(re.search(rf"^{name} (\S+)$", page, flags=re.M)[1])

    def confirmed(self, member):
        return self.metric(member, "metastore_digest_confirmed_index")

    def fill(self, member, prefix, count):
        with member.connect() as connection:
            for number in range(count):
                reply = connection.put(f"{prefix}/{number % 50}".encode(), b"v" * 100)
                self.assertEqual(reply.status, 0, repr(reply))
        return h2client.revision_of(reply.response)

    def expect_no_alarm(self):
        for member in self.cluster.members:
            self.assertEqual(member.http_get("/health")[0], 200)
            for name in ("fenced", "in_doubt", "differing_members", "differences_total"):
                self.assertEqual(self.metric(member, f"metastore_digest_{name}"), 0, name)

    def all_confirm(self, what):
        """Every member's digest of an index from now on is the majority's."""
        begun = max(self.confirmed(member) for member in self.cluster.members)
        harness.wait_until(
            lambda: all(self.confirmed(member) > begun for member in self.cluster.members), 20, what
        )
        self.expect_no_alarm()

    def test_members_agree_through_compactions_snapshots_and_restarts(self):
        first, second, third = self.cluster.members
        revision = self.fill(first, "a", 600)
        self.all_confirm("they agree")
        self.assertEqual(first.etcdctl("compaction", str(revision - 100)).status, 0)
        self.fill(second, "b", 300)
        self.all_confirm("they agree after a compaction")
        third.kill()  # perhaps the leader
        harness.wait_until(lambda: first.etcdctl("put", "b", "1").status == 0, 30, "it serves on")
        self.fill(first, "c", 600)  # more than it can be sent but as a snapshot
        third.start()
        self.all_confirm("they agree after a restart")

    def test_a_fenced_member_serves_nobody_and_the_others_serve_on(self):
        first, second, third = self.cluster.members
        self.fill(first, "a", 20)
        third.stop()
        mark = third.directory / "data/member/fenced"
        self.assertTrue(mark.parent.is_dir(), mark)
        mark.write_bytes(MARK.ljust(BLOCK, b"\n"))
        third.spawn()
        harness.wait_until(lambda: self.answers(third), 20, "it answers")
        status, body = third.http_get("/health")
        self.assertEqual(status, 503)
        self.assertEqual(json.loads(body)["reason"], "ALARM CORRUPT: revisions 3 to 9")
        for arguments in (
            ("put", "a", "1"),
            ("get", "a/1"),
            ("get", "a/1", "--consistency=s"),
            ("member", "list"),
        ):
            result = third.etcdctl(*arguments)
            self.assertNotEqual(result.status, 0, arguments)
            self.assertIn(CORRUPT, result.errors, arguments)
        told = third.etcdctl("endpoint", "status", "-w", "json")
        self.assertIn("alarm:CORRUPT revisions 3 to 9", told.output)
        # Its log counts: with it and one other there is a majority.
        second.kill()
        harness.wait_until(lambda: first.etcdctl("put", "b", "1").status == 0, 30, "it serves on")
        second.start()

    def answers(self, member):
        try:
            return member.http_get("/version")[0] == 200
        except OSError:
            return False


if __name__ == "__main__":
    harness.main()
