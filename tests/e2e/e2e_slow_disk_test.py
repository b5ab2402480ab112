#!/usr/bin/env python3
"""Aim: a disk that stalls or slows down costs what it must and nothing else: of a minority nothing
stops, of the leader leadership moves, of a majority nothing is acknowledged; and all of it is there
afterwards. Method: three real members, each in a control group that holds back its writes in the
block layer (slow_disk.py), while clients write and read; then the recorded history must have an
order that explains it (history.py). Skipped where the right or the kernel's part is missing."""
import time

import harness
import slow_disk
from cluster import Cluster, Load, metric, tell

RECOVERY_MAX_S = 20
WRITES_PER_S = 40  # of a slow disk
# So that a slow flush on a busy machine is no stall.
PATIENT = ["--election-timeout", "3000", "--heartbeat-interval", "200"]


class SlowDiskTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        why = slow_disk.missing(self.directory)
        if why is not None:
            self.skipTest(why)
        self.limits = {}
        self.addCleanup(self.lift)

    def start(self, extra=()):
        self.cluster = Cluster(self, extra=extra).start()
        for member in self.cluster.members:
            self.limits[member] = slow_disk.DiskLimit(member.name, self.directory)
            self.limits[member].add(member.process.pid)

    def lift(self):
        """A process with a write under way on a stalled disk cannot even be killed."""
        for limit in self.limits.values():
            limit.release()
        for member, limit in self.limits.items():
            member.kill()
            limit.close()

    def rest(self, member):
        return [other for other in self.cluster.members if other is not member]

    def test_a_follower_whose_disk_stalls_stops_nobody(self):
        self.start()
        leader, stalled = self.cluster.leader(), self.cluster.followers()[0]
        term = leader.status()["term"]
        with Load(self.rest(stalled)) as load:
            load.wait_written(100)
            self.limits[stalled].stall()
            load.wait_written(400)
            time.sleep(1.5)  # more than an election timeout
            load.wait_written(100)
            self.limits[stalled].release()
            harness.wait_until(stalled.healthy, RECOVERY_MAX_S, "it serves again")
        self.cluster.check(load.history)
        self.assertEqual(load.refusals(), {})
        self.assertEqual(leader.status()["term"], term, "nobody called an election")

    def test_a_leader_whose_disk_stalls_hands_over(self):
        self.skip_for_etcd("it elects another without being asked, and counts nothing")
        self.start()
        stalled = self.cluster.leader()
        rest = self.rest(stalled)
        with Load(self.cluster.members) as load:
            load.wait_written(100)
            began = time.monotonic()
            self.limits[stalled].stall()
            self.cluster.leader(among=rest, timeout=RECOVERY_MAX_S)
            load.wait_written(100)
            gap = load.history.longest_gap(began, time.monotonic())
            self.assertGreaterEqual(metric(stalled, "metastore_slow_disk_hand_overs_total"), 1)
            self.limits[stalled].release()
            harness.wait_until(stalled.healthy, RECOVERY_MAX_S, "it serves again")
            load.wait_written(100)
        tell(f"the leader's disk stalled: {gap:.2f} s without an acknowledged write")
        self.cluster.check(load.history)

    def test_nothing_is_acknowledged_while_the_disks_of_a_majority_stall(self):
        self.start()
        with Load(self.cluster.members, call_timeout=10) as load:
            load.wait_written(100)
            for member in self.cluster.members[:2]:
                self.limits[member].stall()
            began = time.monotonic()
            time.sleep(4)
            ended = time.monotonic()
            wrong = [op for op in load.history.acknowledged() if op.begin > began]
            for limit in self.limits.values():
                limit.release()
            took = load.wait_written_after(ended, RECOVERY_MAX_S)
            load.wait_written(100)
        tell(f"a majority's disks stalled: a write {took:.2f} s after the end of it")
        self.assertEqual(wrong, [])
        self.cluster.check(load.history)

    def test_slow_disks_only_slow(self):
        self.start(PATIENT)
        leader = self.cluster.leader()
        term = leader.status()["term"]
        for limit in self.limits.values():
            limit.slow(WRITES_PER_S)
        began = time.monotonic()
        with Load(self.cluster.members, call_timeout=10) as load:
            load.wait_written(100)
        took = time.monotonic() - began
        tell(f"slow disks: {len(load.history.acknowledged()) / took:.0f} writes a second")
        for limit in self.limits.values():
            limit.release()
        self.assertEqual(load.refusals(), {})
        self.cluster.check(load.history)
        self.assertEqual(leader.status()["term"], term, "nobody called an election")


if __name__ == "__main__":
    harness.main()
