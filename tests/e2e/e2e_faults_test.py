#!/usr/bin/env python3
"""Aim: members lose nothing and answer nothing wrong whatever befalls a minority of them. Method:
three and five real members on hosts of their own (netns.py), each on a small disk; clients write
and read on all while members at random are killed, stopped, cut off, in one direction too, given
long, lossy, jumbled and narrow links, slow, stalled and full disks, as many at a time as a minority
has, and now and then all are killed; then the recorded history must have an order that explains it.
Full disks also alone: of a follower, and of the leader, which hands over.

Prints its seed; MS_E2E_SEED=N repeats the choices (not the timing). MS_E2E_FAULTS_S sets how long
each size runs, in seconds; the longest faults last a fifth of it. Faults that this machine cannot
have are left out, and one test is skipped so as to say which and why."""
import collections
import os
import random
import signal
import time
import unittest

import harness
import netns
import slow_disk
from cluster import SMALL_LOG, Cluster, Load, metric, tell
from small_disk import SmallDisk

SECONDS = float(os.environ.get("MS_E2E_FAULTS_S", "10"))
RECOVERY_MAX_S = 30
HAND_OVER_MAX_S = 10
UNAVAILABLE = 14
ALL_KILLED = 0.04  # of the steps
DISK_MIB = 128 + int(12 * SECONDS)  # several times what is written
SLOW_WRITES_PER_S = 30


class AfflictedMember(netns.HostMember):
    """Its disk and the limit of its writes, where there are any, outlive its process."""

    disk = limit = None

    def spawn(self, arguments=None):
        super().spawn(arguments)
        if self.limit is not None:
            self.limit.add(self.process.pid)
        return self


def kill(member, _):
    member.kill()
    return member.spawn


def stop(member, _):
    member.process.send_signal(signal.SIGSTOP)
    return lambda: member.process.send_signal(signal.SIGCONT)


def cut(member, _):
    member.host.cut()
    return member.host.heal


def narrow(member, _):
    member.host.shape(*netns.NARROW)
    return member.host.unshape


def cut_one_way(member, chance):
    chance.choice((netns.Host.mute, netns.Host.deafen))(member.host)
    return member.host.unshape


def worsen(member, chance):
    qualities = (None, netns.LONG, netns.LOSSY, netns.JUMBLED)
    out, into = chance.choice(qualities), chance.choice(qualities[1:])
    member.host.worsen(out, into)
    return member.host.unshape


def slow_down(member, _):
    member.limit.slow(SLOW_WRITES_PER_S)
    return member.limit.release


def stall(member, _):
    member.limit.stall()
    return member.limit.release


def fill(member, chance):
    member.disk.fill(chance.choice((0, 1 << 20)))
    return member.disk.make_room


# Each afflicts a member and gives what ends that.
FAULTS = {
    "killed": kill,
    "stopped": stop,
    "cut off": cut,
    "cut off in one direction": cut_one_way,
    "on a narrow link": narrow,
}
BAD_LINKS = {"on a bad link": worsen}
BAD_DISKS = {"on a slow disk": slow_down, "on a stalled disk": stall}
FULL_DISKS = {"on a full disk": fill}


class FaultsTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        self.skip_for_etcd("its flags differ")
        why = netns.missing()
        if why is not None:
            self.skipTest(why)
        seed = int(os.environ.get("MS_E2E_SEED", "0")) or random.SystemRandom().randrange(1 << 31)
        tell(f"seed {seed}")
        self.random = random.Random(seed)
        self.faults = dict(FAULTS)
        self.afflicted = {}  # member: (when it ends, what ends it)
        self.counts = collections.Counter()

    def start(self, size):
        self.afflicted_max = (size - 1) // 2
        network = netns.Network("faults", size)
        self.addCleanup(network.close)
        self.cluster = Cluster(
            self, size=size, extra=SMALL_LOG, member_type=AfflictedMember, network=network
        )
        if netns.no_delay() is None:
            self.faults.update(BAD_LINKS)
        self.give_disks()
        self.cluster.start()

    def give_disks(self):
        try:
            for member in self.cluster.members:
                member.disk = SmallDisk(self, DISK_MIB, member.name)
                member.data = member.disk.path / "data"
            self.faults.update(FULL_DISKS)
        except unittest.SkipTest:  # no right to mount
            pass
        if slow_disk.missing(self.cluster.members[0].data.parent) is not None:
            return
        self.addCleanup(self.lift_limits)
        for member in self.cluster.members:
            member.limit = slow_disk.DiskLimit(member.name, member.data.parent)
        self.faults.update(BAD_DISKS)

    def lift_limits(self):
        for member in self.cluster.members:
            if member.limit is not None:
                member.limit.release()
                member.kill()
                member.limit.close()

    def test_no_fault_of_one_of_three_loses_or_invents_anything(self):
        self.start(3)
        self.survive()

    def test_no_fault_of_two_of_five_loses_or_invents_anything(self):
        self.start(5)
        self.survive()

    def test_that_all_faults_can_be_had_here(self):
        missing = [netns.no_delay(), slow_disk.missing(self.directory)]
        try:
            SmallDisk(self, 16)
        except unittest.SkipTest as why:
            missing.append(str(why))
        missing = [why for why in missing if why is not None]
        if missing:
            self.skipTest("left out: " + "; ".join(missing))

    def survive(self):
        with Load(self.cluster.members, clients=5, value_bytes=4000) as load:
            load.wait_written(100)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                self.step()
            self.end_faults(everything=True)
            healed = time.monotonic()
            took = load.wait_written_after(healed, RECOVERY_MAX_S)
            for member in self.cluster.members:
                harness.wait_until(member.healthy, RECOVERY_MAX_S, f"{member.name} serves again")
            load.wait_written(50)
        self.cluster.check(load.history)
        writes, reads = load.history.acknowledged(), load.history.acknowledged("get")
        installed = sum(
            member.log_text().count("installed the leader's snapshot")
            for member in self.cluster.members
        )
        tell(
            f"{dict(self.counts)}; {installed} snapshots installed; {len(writes)} writes, "
            f"{len(reads)} reads, refused {load.refusals()}; a write {took:.2f} s after the last "
            "fault had ended"
        )
        self.assertGreater(len(writes), SECONDS * 5, "hardly anything was written")

    def step(self):
        self.end_faults()
        if self.random.random() < ALL_KILLED:
            self.kill_all()
        elif len(self.afflicted) < self.afflicted_max:
            self.afflict()
        time.sleep(self.random.uniform(0.1, 0.6))

    def afflict(self):
        well = [member for member in self.cluster.members if member not in self.afflicted]
        member = self.random.choice(well)
        if self.random.random() < 0.4:  # the leader is where it hurts
            leading = [one for one in well if leads(one)]
            member = leading[0] if leading else member
        name = self.random.choice(sorted(self.faults))
        lasts = self.random.choice((0.05, 0.5, 1.5, SECONDS / 5))
        self.counts[name] += 1
        undo = self.faults[name](member, self.random)
        self.afflicted[member] = (time.monotonic() + lasts, undo)

    def end_faults(self, everything=False):
        now = time.monotonic()
        for member, (when, undo) in list(self.afflicted.items()):
            if everything or when <= now:
                del self.afflicted[member]
                undo()

    def kill_all(self):
        self.end_faults(everything=True)
        self.counts["all killed"] += 1
        for member in self.cluster.members:
            member.process.kill()
        for member in self.cluster.members:
            member.kill()
        for member in self.cluster.members:
            member.spawn()


class FullDiskTest(harness.NodeTest):
    DISK_MIB = 96
    LEFT_BYTES = 1 << 20
    PUTS = 300  # of VALUE: more than what is left
    LOST_MAX = 5

    def setUp(self):
        super().setUp()
        self.skip_for_etcd("it ends when its disk is full")
        disk = SmallDisk(self, self.DISK_MIB)
        self.cluster = Cluster(self, extra=SMALL_LOG)
        self.full = self.cluster.members[2]
        self.full.data = disk.path / "data"
        self.disk = disk
        self.cluster.start()

    def test_a_follower_whose_disk_is_full_stops_nobody(self):
        self.let_lead(self.cluster.members[0])
        self.write_while_full()

    def test_a_leader_whose_disk_is_full_stops_nobody(self):
        self.let_lead(self.full)
        self.write_while_full()

    def test_a_leader_whose_disk_is_full_hands_over(self):
        self.let_lead(self.full)
        rest = self.cluster.members[:2]
        self.disk.fill(self.LEFT_BYTES)
        with Load(rest) as load:
            self.put_more_than_is_left(rest[0])
            harness.wait_until(lambda: any(map(leads, rest)), HAND_OVER_MAX_S, "another leads")
            took = load.wait_written_after(time.monotonic(), HAND_OVER_MAX_S)
            refused = leads_after_move(self.cluster.leader(), self.full)
            self.disk.make_room()
            harness.wait_until(self.full.healthy, RECOVERY_MAX_S, "it serves again")
            load.wait_written(50)
        offers = metric(self.full, "metastore_full_disk_hand_overs_total")
        tell(f"{offers:.0f} offers; a write {took:.2f} s after another led")
        self.assertGreaterEqual(offers, 1)
        self.assertFalse(refused, "a member whose disk is full took leadership")
        self.cluster.check(load.history)

    def let_lead(self, member):
        leader = self.cluster.leader()
        if leader is not member:
            moved = leader.etcdctl("move-leader", member.hex_id())
            self.assertEqual(moved.status, 0, moved.errors)

    def put_more_than_is_left(self, member):
        """A put may be lost with the leader that hands over; its client tries again."""
        lost = 0
        with member.connect(timeout=20) as connection:
            for number in range(self.PUTS):
                while True:
                    reply = connection.put(b"big/%04d" % number, b"v" * 15_000)
                    if reply.status == 0:
                        break
                    self.assertEqual(reply.status, UNAVAILABLE, repr(reply))
                    lost += 1
                    self.assertLess(lost, self.LOST_MAX, repr(reply))
        self.assertEqual(metric(self.full, "metastore_wal_accepting"), 0)

    def write_while_full(self):
        rest = self.cluster.members[:2]
        self.disk.fill(self.LEFT_BYTES)
        with Load(rest) as load:
            self.put_more_than_is_left(rest[0])
            with self.full.connect() as connection:
                reply = connection.put(b"refused", b"1")
            self.assertNotEqual(reply.status, 0, repr(reply))
            self.disk.make_room()
            harness.wait_until(self.full.healthy, RECOVERY_MAX_S, "it serves again")
            load.wait_written(50)
        self.cluster.check(load.history)


def leads_after_move(leader, member):
    """Whether `member` leads after it was asked to."""
    leader.etcdctl("--command-timeout=3s", "move-leader", member.hex_id())
    return leads(member)


def leads(member):
    status = member.status()
    return status is not None and status["leader"] == status["id"]


if __name__ == "__main__":
    harness.main()
