#!/usr/bin/env python3
"""Aim: `etcdctl lock` and `elect` behave as against etcd, so do the Lock and Election services, and
nobody holds what another one holds. Method: the same scripts for Debian's etcd and for the server,
on one node and on three with the leader killed in between (differ.py); for mutual exclusion,
contenders that count while leaders die."""
import threading
import time

import h2client
import harness
from cluster import Cluster, tell
from differ import DifferentialTest, Run, Tail
from h2client import field, fields, first

LOCK = "/v3lockpb.Lock/"
ELECTION = "/v3electionpb.Election/"
GRANT = "/etcdserverpb.Lease/LeaseGrant"
REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
QUIET_S = 0.5
CANCEL = 8  # RST_STREAM


# Scripts of etcdctl ------------------------------------------------------------------------------


def wait_keys(run, prefix, count):
    """Until so many contend."""
    harness.wait_until(
        lambda: len(run.quiet("get", prefix, "--prefix", "--keys-only").output.split()) == count,
        20,
        f"{count} keys below {prefix}",
    )


def stays_silent(run, tail, lines=0):
    time.sleep(QUIET_S)
    run.test.assertEqual(len(tail.lines), lines, tail.lines)


def count_only(text):
    """Of `lease list`: those that were left all end at about the same time, in any order."""
    return text.split("\n")[0]


def lock_script(run):
    """Two contenders, in the order they came."""
    holder = run.tail("lock", "mutex")
    holder.wait_lines(1)
    waiter = run.tail("lock", "mutex")
    wait_keys(run, "mutex/", 2)
    stays_silent(run, waiter)
    run.disturb()
    stays_silent(run, waiter)
    run.test.assertIsNone(holder.process.poll(), holder.errors)
    holder.interrupt()
    waiter.wait_lines(1)
    run.note_tail("holder", holder)
    wait_keys(run, "mutex/", 1)
    third = run.tail("lock", "mutex")
    wait_keys(run, "mutex/", 2)
    run.disturb()
    waiter.interrupt()
    third.wait_lines(1)
    third.interrupt()
    run.note_tail("waiter", waiter)
    run.note_tail("third", third)
    run.step("get", "", "--prefix")
    run.step("lease", "list", blot=count_only)


def killed_holder_script(run):
    """Who dies holds on until its lease ends."""
    holder = run.tail("lock", "mutex", "--ttl=3")
    holder.wait_lines(1)
    waiter = run.tail("lock", "mutex", "--ttl=3")
    wait_keys(run, "mutex/", 2)
    holder.close()
    begin = time.monotonic()
    run.disturb()
    waiter.wait_lines(1, timeout=60)
    # Kept alive each third of it: at least two thirds of its time were left.
    run.test.assertGreater(time.monotonic() - begin, 1.5)
    waiter.interrupt()
    run.note_tail("killed", holder)
    run.note_tail("waiter", waiter)
    run.step("get", "", "--prefix")


def lock_command_script(run):
    """A command under the lock."""
    run.step("lock", "c", "--", "sh", "-c", "echo key $ETCD_LOCK_KEY at $ETCD_LOCK_REV")
    run.step("get", "", "--prefix")
    run.step("lock", "c", "sh", "-c", "exit 3")
    run.step("lock", "c", "--ttl=2", "--", "sh", "-c", "sleep 4; echo kept alive")
    run.disturb()
    run.step("lock", "c", "--", "nonsense-that-does-not-exist")
    run.step("get", "", "--prefix")
    run.step("lock")
    run.step("lock", "c", "--ttl=x")
    run.step("lease", "list", blot=count_only)


def lost_lock_script(run):
    """The lease of a holder is revoked."""
    holder = run.tail("lock", "mutex")
    holder.wait_lines(1)
    waiter = run.tail("lock", "mutex")
    wait_keys(run, "mutex/", 2)
    run.quiet("lease", "revoke", holder.lines[0].split("/")[1])
    waiter.wait_lines(1)
    harness.wait_until(lambda: holder.process.poll() is not None, 30, "the holder notices")
    run.note_tail("holder", holder)
    run.disturb()
    waiter.interrupt()
    run.note_tail("waiter", waiter)


def elect_script(run):
    one = run.tail("elect", "seat", "first")
    one.wait_lines(2)
    listener = run.tail("elect", "-l", "seat")
    listener.wait_lines(2)
    two = run.tail("elect", "seat", "second")
    wait_keys(run, "seat/", 2)
    stays_silent(run, two)
    run.disturb()
    stays_silent(run, two)
    one.interrupt()
    two.wait_lines(2)
    listener.wait_lines(4)
    run.note_tail("first", one)
    three = run.tail("elect", "seat", "third")
    wait_keys(run, "seat/", 2)
    run.quiet("lease", "revoke", two.lines[0].split("/")[1])
    three.wait_lines(2)
    listener.wait_lines(6)
    harness.wait_until(lambda: two.process.poll() is not None, 60, "the second notices")
    run.note_tail("second", two)
    run.disturb()
    late = run.tail("elect", "-l", "seat")
    late.wait_lines(2)
    three.interrupt()
    run.note_tail("third", three)
    run.note_tail("late listener", late)
    run.note_tail("listener", listener)
    run.step("get", "", "--prefix")
    for arguments in (("elect",), ("elect", "-l"), ("elect", "a", "b", "c"), ("elect", "a")):
        run.step(*arguments)
    run.step("lease", "list", blot=count_only)



class EtcdctlTest(DifferentialTest):
    def test_lock(self):
        self.compare(lock_script, 1)

    def test_a_killed_holder(self):
        self.compare(killed_holder_script, 1)

    def test_lock_with_a_command(self):
        self.compare(lock_command_script, 1)

    def test_a_lost_lock(self):
        self.compare(lost_lock_script, 1)

    def test_elect(self):
        self.compare(elect_script, 1)


class LeaderKilledTest(DifferentialTest):
    def test_lock(self):
        self.compare(lock_script, 3)

    def test_a_killed_holder(self):
        self.compare(killed_holder_script, 3)

    def test_lock_with_a_command(self):
        self.compare(lock_command_script, 3)

    def test_a_lost_lock(self):
        self.compare(lost_lock_script, 3)

    def test_elect(self):
        self.compare(elect_script, 3)


# The services themselves -------------------------------------------------------------------------


def said(message):
    """Fields of an answer, the ids and terms of headers left out."""
    out = []
    for number, value in fields(message):
        if number == 1:
            out.append(("revision", first(value, 3, 0)))
        elif number == 2 and isinstance(value, bytes) and value[:1] == b"\x0a":
            out.append((number, fields(value)))  # LeaderKey, KeyValue
        else:
            out.append((number, value))
    return out


class Calls:
    """Calls that may wait, on one member."""

    def __init__(self, run, member):
        self.run = run
        self.connection = run.connect(member)

    def call(self, what, path, body, blot=str):
        return self.finish(what, self.connection.start(path, body), blot)

    def finish(self, what, stream, blot=str):
        reply = self.connection.finish(stream, timeout=20)
        answer = said(reply.response) if reply.status == 0 else (reply.status, reply.message)
        self.run.note(what, blot(answer))
        return reply

    def waiting(self, path, body):
        """A call that must wait."""
        stream = self.connection.start(path, body)
        self.check_waits(stream)
        return stream

    def check_waits(self, stream):
        deadline = time.monotonic() + QUIET_S
        while (left := deadline - time.monotonic()) > 0:
            try:
                self.connection.poll(left)
            except TimeoutError:
                break
        reply = self.connection.replies[stream]
        self.run.test.assertFalse(reply.done, f"it waits: {reply!r}")

    def cancel(self, stream):
        self.connection.send(
            h2client.frame(h2client.RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big"))
        )
        self.connection.replies.pop(stream)

    def keys(self, prefix):
        reply = self.connection.range(prefix + b"/", prefix + b"0")
        return [key for key, _, _ in h2client.pairs_of(reply.response)]


def grant_leases(calls, *leases):
    for lease in leases:
        calls.call("grant", GRANT, field(1, 100) + field(2, lease))


def two_members(run):
    """Calls on a member that will not be killed next, and on the one that leads."""
    if run.cluster is None:
        return Calls(run, run.members[0]), Calls(run, run.members[0])
    return Calls(run, run.cluster.followers()[0]), Calls(run, run.cluster.leader())


def lock_service_script(run):
    one, two = two_members(run)
    grant_leases(two, 100, 101, 102, 103)
    lock = lambda lease: field(1, b"m") + field(2, lease)  # noqa: E731
    two.call("lock", LOCK + "Lock", lock(100))
    two.call("again by the same lease", LOCK + "Lock", lock(100))
    waiting = one.waiting(LOCK + "Lock", lock(101))
    run.disturb()
    one.check_waits(waiting)
    two = Calls(run, run.members[0])
    two.call("unlock", LOCK + "Unlock", field(1, b"m/64"))
    one.finish("the waiter has it", waiting)
    two.call("unlock once more", LOCK + "Unlock", field(1, b"m/64"))
    two.call("unlock nothing", LOCK + "Unlock", b"")
    # Two wait; the one in front gives up, the one behind it must not run ahead of the holder.
    front = one.waiting(LOCK + "Lock", lock(102))
    behind = two.waiting(LOCK + "Lock", lock(103))
    one.cancel(front)
    harness.wait_until(lambda: len(two.keys(b"m")) == 2, 10, "its key is gone")
    two.check_waits(behind)
    one.call("unlock", LOCK + "Unlock", field(1, b"m/65"))
    two.finish("the last has it", behind)
    two.call("a lease that is not there", LOCK + "Lock", lock(999))
    run.note("held", two.keys(b"m"))
    waiting = one.waiting(LOCK + "Lock", lock(100))
    two.call("the holder's lease is revoked", REVOKE, field(1, 103))
    one.finish("the waiter has it", waiting)
    run.note("held at the end", two.keys(b"m"))
    reply = two.connection.call(LOCK + "Lock", field(1, b"own"))
    run.test.assertEqual(reply.status, 0, repr(reply))
    run.note("a lease of the server's", len(two.keys(b"own")))
    lease = int(first(reply.response, 2).split(b"/")[1], 16)
    told = two.connection.call("/etcdserverpb.Lease/LeaseTimeToLive", field(1, lease))
    run.note("its time", first(told.response, 4))


def election_service_script(run):
    one, two = two_members(run)
    grant_leases(two, 100, 101, 102)
    campaign = lambda lease, value: field(1, b"e") + field(2, lease) + field(3, value)  # noqa: E731
    two.call("nobody leads", ELECTION + "Leader", field(1, b"e"))
    watcher = h2client.Stream(one.connection, ELECTION + "Observe")
    watcher.send(field(1, b"e"))
    watcher.half_close()

    def observed(what):
        message = watcher.receive(20)
        run.note(what, message and said(message)[1:])  # its revision is of when it was read

    def leader_of(reply):
        return first(reply.response, 2)

    first_leader = leader_of(two.call("campaign", ELECTION + "Campaign", campaign(100, b"one")))
    observed("one leads")
    two.call("again", ELECTION + "Campaign", campaign(100, b"one"))
    two.call("again, with another value", ELECTION + "Campaign", campaign(100, b"uno"))
    observed("with another value")
    two.call("who leads", ELECTION + "Leader", field(1, b"e"))
    waiting = one.waiting(ELECTION + "Campaign", campaign(101, b"two"))
    two.call("proclaim", ELECTION + "Proclaim", field(1, first_leader) + field(2, b"eins"))
    observed("proclaimed")
    run.disturb()
    one.check_waits(waiting)
    two = Calls(run, run.members[0])
    two.call("who leads", ELECTION + "Leader", field(1, b"e"))
    two.call("resign", ELECTION + "Resign", field(1, first_leader))
    second_leader = leader_of(one.finish("the second leads", waiting))
    observed("two leads")
    two.call("not leader", ELECTION + "Proclaim", field(1, first_leader) + field(2, b"x"))
    two.call("resign again", ELECTION + "Resign", field(1, first_leader))
    two.call("no leader named", ELECTION + "Proclaim", field(2, b"x"))
    two.call("no leader named", ELECTION + "Resign", b"")
    wrong = b"".join(
        field(number, 1 if number == 3 else value) for number, value in fields(second_leader)
    )
    two.call("of another revision", ELECTION + "Proclaim", field(1, wrong) + field(2, b"x"))
    two.call("resigned by another revision", ELECTION + "Resign", field(1, wrong))
    two.call("who leads", ELECTION + "Leader", field(1, b"e"))
    waiting = two.waiting(ELECTION + "Campaign", campaign(102, b"three"))
    one.call("its lease is revoked", REVOKE, field(1, 101))
    two.finish("the third leads", waiting)
    observed("three leads")
    two.call("a lease that is not there", ELECTION + "Campaign", campaign(999, b"x"))
    run.note("at the end", two.keys(b"e"))


class ServiceTest(DifferentialTest):
    def test_lock_on_one_node(self):
        self.compare(lock_service_script, 1)

    def test_lock_on_three_nodes(self):
        self.compare(lock_service_script, 3)

    def test_election_on_one_node(self):
        self.compare(election_service_script, 1)

    def test_election_on_three_nodes(self):
        self.compare(election_service_script, 3)


class LostWaiterTest(harness.NodeTest):
    def test_a_waiter_whose_lease_is_gone_never_holds(self):
        self.skip_for_etcd("3.4 tells it that it holds")
        cluster = Cluster(self, size=1).start()
        run = Run(self, cluster.members)
        self.addCleanup(run.close)
        run.wait_ready()
        one, two = two_members(run)
        grant_leases(two, 100, 101)
        two.call("held", LOCK + "Lock", field(1, b"m") + field(2, 100))
        waiting = one.waiting(LOCK + "Lock", field(1, b"m") + field(2, 101))
        two.call("its lease is revoked", REVOKE, field(1, 101))
        two.call("unlock", LOCK + "Unlock", field(1, b"m/64"))
        reply = one.connection.finish(waiting, timeout=20)
        self.assertNotEqual(reply.status, 0, "it says that it holds")
        self.assertEqual(two.keys(b"m"), [])
        tell(f"a waiter without a lease: {reply!r}")


# Mutual exclusion --------------------------------------------------------------------------------


class ExclusionTest(harness.NodeTest):
    """Contenders over all members; leaders die. From when etcdctl says that it holds the lock
    until it is told to let go, no other may say so."""

    CONTENDERS = 4
    KILLS = 2

    def test_at_most_one_holds(self):
        cluster = Cluster(self).start()
        run = Run(self, cluster.members, cluster)
        run.wait_ready()
        held, problems, stop = [], [], threading.Event()
        guard = threading.Lock()

        def contend(number):
            while not stop.is_set():
                tail = Tail(run.endpoints, "lock", "only", "--ttl=5")
                try:
                    tail.wait_lines(1, timeout=60)
                    if not tail.lines:
                        continue  # its session ended while it waited
                    if not guard.acquire(blocking=False):
                        problems.append(f"{number} holds beside another: {tail.lines}")
                        return
                    try:
                        held.append(number)
                        time.sleep(0.05)
                    finally:
                        guard.release()
                    tail.interrupt()
                except AssertionError as error:
                    problems.append(str(error))
                finally:
                    tail.close()

        threads = [
            threading.Thread(target=contend, args=(n,), daemon=True) for n in range(self.CONTENDERS)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(self.KILLS):
                self.wait_held(held, 8)
                leader = cluster.leader()
                leader.kill()
                self.wait_held(held, 4)
                leader.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join(90)
        self.assertEqual(problems, [])
        self.assertGreater(len(set(held)), 1)
        tell(f"held {len(held)} times by {len(set(held))} contenders, {self.KILLS} leaders killed")

    @staticmethod
    def wait_held(held, more):
        target = len(held) + more
        harness.wait_until(lambda: len(held) >= target, 60, f"held {more} times more")


if __name__ == "__main__":
    harness.main()
