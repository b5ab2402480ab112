#!/usr/bin/env python3
"""Aim: three real members serve as one store, and what they acknowledged survives the kill, stall
or loss of any minority, and of all at once. Method: clients write and read over all members while
processes are killed with -9, stopped, or left behind; then their recorded history must have an
order that explains it (history.py), and every member must hold all of it. How long writes stood
still is printed, not asserted: this machine may be busy."""
import signal
import time

import h2client
import harness
from cluster import SMALL_LOG, Cluster, Load, metric, tell

# Far above what a quiet machine needs; a cluster that does not come back is what it finds.
RECOVERY_MAX_S = 20


class ServingTest(harness.NodeTest):
    def test_each_member_reads_what_any_member_wrote(self):
        cluster = Cluster(self).start()
        for writer in cluster.members:
            for number in range(20):
                key, value = f"{writer.name}/{number}".encode(), b"%d" % number
                with writer.connect() as connection:
                    reply = connection.put(key, value)
                self.assertEqual(reply.status, 0, repr(reply))
                revision = h2client.revision_of(reply.response)
                for reader in cluster.members:
                    with reader.connect() as connection:
                        pairs = h2client.pairs_of(connection.range(key).response)
                    self.assertEqual(pairs, [(key, value, revision)], reader.name)

    def test_members_agree_about_the_cluster(self):
        cluster = Cluster(self).start()
        leader = cluster.leader()
        statuses = [member.status() for member in cluster.members]
        self.assertEqual({status["leader"] for status in statuses}, {leader.id()})
        self.assertEqual(len({status["term"] for status in statuses}), 1)
        self.assertEqual(len({status["id"] for status in statuses}), 3)
        lists = {member.etcdctl("member", "list").output for member in cluster.members}
        self.assertEqual(len(lists), 1, lists)
        lines = sorted(lists.pop().splitlines())
        expected = sorted(
            f"{member.hex_id()}, started, {member.name}, {member.peer_url}, "
            f"http://{member.endpoint}, false"
            for member in cluster.members
        )
        self.assertEqual(lines, expected)
        health = harness.etcdctl(cluster.endpoints(), "endpoint", "health")
        self.assertEqual((health.output + health.errors).count("is healthy"), 3, health.errors)


class FailureTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self).start()

    def tell_gap(self, what, load, moment, until):
        gap = load.history.longest_gap(moment, until)
        tell(
            f"{what}: {gap:.2f} s without an acknowledged write; "
            f"{len(load.history.acknowledged())} writes and "
            f"{len(load.history.acknowledged('get'))} reads, refused {load.refusals()}"
        )

    def test_kill_of_the_leader_loses_nothing(self):
        leader = self.cluster.leader()
        with Load(self.cluster.members) as load:
            load.wait_written(200)
            killed = time.monotonic()
            leader.kill()
            load.wait_written_after(killed, RECOVERY_MAX_S)
            load.wait_written(200)
            rest = [member for member in self.cluster.members if member is not leader]
            self.assertIsNot(self.cluster.leader(among=rest), leader)
            self.tell_gap("leader killed", load, killed, time.monotonic())
            leader.start()
            load.wait_written(100)
        self.cluster.check(load.history)

    def test_kill_of_a_follower_is_hardly_seen(self):
        follower = self.cluster.followers()[0]
        with Load(self.cluster.members) as load:
            load.wait_written(100)
            killed = time.monotonic()
            follower.kill()
            load.wait_written(200)
            self.tell_gap("follower killed", load, killed, time.monotonic())
            follower.start()
        self.cluster.check(load.history)

    def test_kill_of_all_at_once_loses_nothing(self):
        with Load(self.cluster.members) as load:
            for number in range(3):
                load.wait_written(100)
                for member in self.cluster.members:
                    member.process.kill()
                for member in self.cluster.members:
                    member.kill()
                killed = time.monotonic()
                self.cluster.start()
                load.wait_written_after(killed, RECOVERY_MAX_S)
                self.tell_gap(f"all killed, time {number}", load, killed, time.monotonic())
        self.cluster.check(load.history)

    def test_two_of_three_down_answers_nothing_and_comes_back(self):
        followers = self.cluster.followers()
        leader = self.cluster.leader()
        with leader.connect() as connection:
            self.assertEqual(connection.put(b"before", b"1").status, 0)
        for member in followers:
            member.kill()
        with leader.connect() as connection:
            put = connection.start(
                "/etcdserverpb.KV/Put", h2client.put_request(b"during", b"1"), ()
            )
            get = connection.start("/etcdserverpb.KV/Range", h2client.range_request(b"before"), ())
            for stream in (put, get):
                reply = connection.finish(stream, timeout=20)
                self.assertNotEqual(reply.status, 0, repr(reply))
            local = connection.range(b"before", serializable=True)
            self.assertEqual(h2client.pairs_of(local.response)[0][1], b"1")
        followers[0].spawn()
        harness.wait_until(
            lambda: leader.etcdctl("put", "after", "1").status == 0, RECOVERY_MAX_S, "a write"
        )
        followers[1].start()
        self.cluster.wait_equal()

    def test_a_stopped_leader_loses_nothing_and_reads_nothing_old(self):
        leader = self.cluster.leader()
        rest = [member for member in self.cluster.members if member is not leader]
        with leader.connect(timeout=20) as connection:
            self.assertEqual(connection.put(b"mark", b"before").status, 0)
            with Load(self.cluster.members) as load:
                load.wait_written(200)
                stopped = time.monotonic()
                leader.process.send_signal(signal.SIGSTOP)
                load.wait_written_after(stopped, RECOVERY_MAX_S)
                with rest[0].connect() as other:
                    self.assertEqual(other.put(b"mark", b"after").status, 0)
                # Waits in the stopped leader's socket until it goes on, leader by its own belief.
                read = connection.start(
                    "/etcdserverpb.KV/Range", h2client.range_request(b"mark"), ()
                )
                write = connection.start(
                    "/etcdserverpb.KV/Put", h2client.put_request(b"late", b"1"), ()
                )
                time.sleep(max(0.0, stopped + 3 - time.monotonic()))
                self.tell_gap("leader stopped", load, stopped, time.monotonic())
                leader.process.send_signal(signal.SIGCONT)
                reply = connection.finish(read, timeout=20)
                if reply.status == 0:
                    self.assertEqual(h2client.pairs_of(reply.response)[0][1], b"after")
                answered = connection.finish(write, timeout=20)
                tell(f"after it went on: read {reply!r}, write {answered!r}")
                load.wait_written(100)
            pairs, _ = self.cluster.wait_equal()
            if answered.status == 0:
                self.assertIn(b"late", [key for key, _, _ in pairs])
        self.cluster.check(load.history)


class LaggingTest(harness.NodeTest):
    def test_a_follower_behind_the_log_gets_a_snapshot(self):
        self.skip_for_etcd("its flags differ")
        cluster = Cluster(self, extra=SMALL_LOG).start()
        follower = cluster.followers()[0]
        rest = [member for member in cluster.members if member is not follower]
        follower.kill()
        with Load(rest) as load, rest[0].connect() as connection:
            for number in range(1200):  # well beyond what the log keeps
                reply = connection.put(b"fill/%04d" % number, b"x" * 2000)
                self.assertEqual(reply.status, 0, repr(reply))
            load.wait_written(200)
        follower.start()
        cluster.check(load.history)
        self.assertGreaterEqual(metric(follower, "metastore_snapshots_received_total"), 1)
        pairs, _ = follower.everything()
        self.assertEqual(len([key for key, _, _ in pairs if key.startswith(b"fill/")]), 1200)
        follower.stop()  # and what it was sent is its own from now on
        follower.start()
        cluster.check(load.history)


if __name__ == "__main__":
    harness.main()
