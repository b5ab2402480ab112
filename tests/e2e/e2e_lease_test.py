#!/usr/bin/env python3
"""Aim: `etcdctl lease` and `put --lease` print what they print against etcd, the Lease service
answers as etcd's does, and a lease lives exactly as long as it is kept alive, whichever leader
dies. Method: the same scripts for Debian's etcd and for the server, on one node and on three with
the leader killed in between (differ.py); for times, bounds that hold on a busy machine."""
import re
import time

import h2client
import harness
from cluster import Cluster, metric, tell
from differ import DifferentialTest, Run, Tail
from h2client import field, fields, first

LEASE = "/etcdserverpb.Lease/Lease"
TXN = "/etcdserverpb.KV/Txn"
# A lease may live on for so long after its time: the leader looks for expired ones twice a
# second, revokes through the log, and on this machine others run too.
LATE_S = 5
# After a change of leader etcd gives every lease its full time and an election timeout again.
ELECTION_S = 1


# Scripts of etcdctl ------------------------------------------------------------------------------


def near(text):
    """Remaining seconds that are about the granted ones, as such; keys sorted, which etcd's are
    not."""

    def about(found):
        granted, remaining = int(found[2]), int(found[4])
        return found[1] + found[2] + found[3] + (
            "ABOUT IT" if granted - 20 <= remaining <= granted + 2 else found[4]
        )

    text = re.sub(r"(?<=attached keys\(\[).*(?=\])", lambda t: " ".join(sorted(t[0].split())), text)
    text = re.sub(r'(?<="keys":\[).*(?=\])', lambda t: ",".join(sorted(t[0].split(","))), text)
    text = "\n".join(sorted(text.splitlines())) if '"Key" : ' in text else text
    text = re.sub(r"(granted with TTL\()(\d+)(s\), remaining\()(\d+)", about, text)

    def swapped(found):
        remaining, granted = int(found[2]), int(found[4])
        kept = "ABOUT IT" if granted - 20 <= remaining <= granted + 2 else found[2]
        return found[1] + kept + found[3] + found[4]

    text = re.sub(r'("ttl":)(\d+)(,"granted-ttl":)(\d+)', swapped, text)
    return re.sub(r'("TTL" : )(\d+)(\n"GrantedTTL" : )(\d+)', swapped, text)


def by_name(text):
    """`lease list` of a follower is in no order."""
    lines = text.splitlines()
    return "\n".join(lines[:1] + sorted(lines[1:]))


def grant(run, seconds, *options):
    return run.step("lease", "grant", str(seconds), *options).output.split()[1]


def basics_script(run):
    first_lease, second = grant(run, 100), grant(run, 200)
    run.step("lease", "list", blot=by_name)
    for key in ("l/b", "l/a", "l/c"):
        run.step("put", key, "1", f"--lease={first_lease}")
    run.step("put", "l/d", "1", f"--lease={second}")
    run.step("get", "l/a", "-w", "json")
    run.disturb()
    for options in ((), ("--keys",), ("-w", "json"), ("--keys", "-w", "json"), ("-w", "fields")):
        run.step("lease", "timetolive", first_lease, *options, blot=near)
    run.step("lease", "keep-alive", first_lease, "--once")
    run.step("lease", "keep-alive", first_lease, "--once", "-w", "json")
    run.step("put", "l/b", "2")  # no longer with the lease
    run.step("put", "l/c", "2", f"--lease={second}")  # with another one
    run.step("put", "l/a", "2", "--ignore-lease")  # still with it
    run.step("del", "l/d")
    run.step("lease", "timetolive", first_lease, "--keys", blot=near)
    run.step("lease", "timetolive", second, "--keys", blot=near)
    run.disturb()
    run.step("lease", "revoke", first_lease)
    run.step("get", "l/", "--prefix", "-w", "json")
    run.step("lease", "timetolive", first_lease)
    run.step("lease", "timetolive", first_lease, "--keys", "-w", "json")
    run.step("lease", "keep-alive", first_lease, "--once")
    run.step("lease", "revoke", first_lease)
    run.step("lease", "list", blot=by_name)
    run.step("lease", "revoke", second)
    run.step("get", "l/", "--prefix", "-w", "json")
    run.step("lease", "list")


def refusals_script(run):
    commands = [
        ("lease", "grant", "9000000000"),
        ("lease", "grant", "9000000001"),
        ("lease", "grant", "x"),
        ("lease", "grant"),
        ("lease", "grant", "1", "2"),
        ("lease", "grant", "--", "-1"),
        ("lease", "grant", "0"),
        ("lease", "grant", "1"),
        ("lease", "grant", "100", "-w", "json"),
        ("lease", "grant", "100", "-w", "fields"),
        ("lease", "timetolive", "1234"),
        ("lease", "timetolive", "1234", "-w", "json"),
        ("lease", "timetolive", "nonsense"),
        ("lease", "timetolive"),
        ("lease", "revoke", "1234"),
        ("lease", "revoke", "nonsense"),
        ("lease", "keep-alive", "1234"),
        ("lease", "keep-alive", "1234", "--once"),
        ("lease", "keep-alive"),
        ("put", "a", "1", "--lease=1234"),
        ("put", "a", "1", "--lease=nonsense"),
        ("put", "a", "1", "--ignore-lease"),
        ("put", "a", "1", "--ignore-lease", "--lease=1234"),
        ("lease", "nonsense"),
    ]
    for number, command in enumerate(commands):
        run.step(*command)
        if number == len(commands) // 2:
            run.disturb()
    run.step("txn", stdin="\nput a 1 --lease=1234\n\n\n")
    run.step("txn", stdin="\nput b 1\nput a 1 --lease=1234\n\n\n")
    run.step("get", "", "--prefix", "-w", "json")


def expiry_script(run):
    """What nobody keeps alive goes, with its keys, in one revision."""
    lease = grant(run, 4)
    watch = run.tail("watch", "x/", "--prefix", "--prev-kv", "-w", "json")
    run.wait_watchers(1)
    begin = time.monotonic()
    for key in ("x/3", "x/1", "x/2"):
        run.step("put", key, "1", f"--lease={lease}")
    run.step("lease", "keep-alive", lease, "--once")
    run.disturb()
    watch.wait_lines(4, timeout=60)
    run.test.assertGreater(time.monotonic() - begin, 4)
    run.step("lease", "timetolive", lease)
    run.step("get", "x/", "--prefix")
    run.step("lease", "list")
    run.note_tail("expiry", watch)


def unique(text):
    return "\n".join(sorted(set(text.splitlines())))


def keeping_script(run):
    """A kept lease outlives its time by far; no longer kept, it goes; revoked, its keeper says
    so."""
    lease, other = grant(run, 6), grant(run, 9)
    run.step("put", "k/a", "1", f"--lease={lease}")
    run.step("put", "k/b", "1", f"--lease={other}")
    keeper = run.tail("lease", "keep-alive", lease)
    other_keeper = run.tail("lease", "keep-alive", other)
    keeper.wait_lines(2)
    run.disturb()
    seen = len(keeper.lines)
    keeper.wait_lines(seen + 4, timeout=40)
    run.step("get", "k/", "--prefix")
    keeper.close()
    ended = time.monotonic()
    run.note_tail("kept", keeper, blot=unique)
    while run.quiet("get", "k/a").output:
        run.test.assertLess(time.monotonic() - ended, 6 + ELECTION_S + LATE_S, "it expires")
        time.sleep(0.1)
    run.step("get", "k/", "--prefix")
    run.step("lease", "revoke", other)
    other_keeper.wait_text("expired or revoked")
    harness.wait_until(lambda: other_keeper.process.poll() is not None, 10, "the keeper ends")
    run.note_tail("revoked", other_keeper, blot=unique)
    run.step("get", "k/", "--prefix")


class EtcdctlTest(DifferentialTest):
    def test_basics(self):
        self.compare(basics_script, 1)

    def test_refusals(self):
        self.compare(refusals_script, 1)

    def test_expiry(self):
        self.compare(expiry_script, 1)

    def test_keeping_alive(self):
        self.compare(keeping_script, 1)


class LeaderKilledTest(DifferentialTest):
    def test_basics(self):
        self.compare(basics_script, 3)

    def test_refusals(self):
        self.compare(refusals_script, 3)

    def test_expiry(self):
        self.compare(expiry_script, 3)

    def test_keeping_alive(self):
        self.compare(keeping_script, 3)


# The service itself ------------------------------------------------------------------------------


def put(key, lease, **options):
    return field(1, key) + field(2, b"v") + field(3, lease) + field(6, options.get("keep", 0))


def signed(number):
    return number - (1 << 64) if number >= 1 << 63 else number


def answer_of(message):
    """A response of the service: (revision, [(field, value)])."""
    rest = [(n, signed(v) if isinstance(v, int) else v) for n, v in fields(message) if n != 1]
    return h2client.revision_of(message), rest


def remaining_of(message):
    """A LeaseTimeToLiveResponse with its remaining seconds judged."""
    revision, rest = answer_of(message)
    values = dict((n, v) for n, v in rest if n != 5)
    remaining, granted = values.get(3, 0), values.get(4, 0)
    if 0 <= granted - remaining <= 20:
        remaining = "about what was granted"
    keys = [value for number, value in rest if number == 5]
    return revision, values.get(2), remaining, granted, sorted(keys)


class Service:
    """Calls of the Lease service on one member, noted."""

    def __init__(self, run, member):
        self.run = run
        self.connection = run.connect(member)

    def call(self, path, body, show=answer_of):
        reply = self.connection.call(path, body)
        said = show(reply.response) if reply.status == 0 else (reply.status, reply.message)
        self.run.note(f"{path} {body.hex()}", said)
        return reply

    def keep_alive(self, what, *ids):
        """One stream, all ids at once, half-closed afterwards."""
        stream = h2client.Stream(self.connection, LEASE + "KeepAlive")
        stream.send(*(field(1, one) for one in ids))
        answers = [stream.receive() for _ in ids]
        stream.half_close()
        reply = stream.end()
        said = [message and answer_of(message) for message in answers]
        self.run.note(f"keep alive: {what}", said, reply.status, reply.message)


def service_script(run):
    """On every member: the followers answer what the leader says."""
    services = [Service(run, member) for member in run.members]
    for number, service in enumerate(services):
        base = 1000 * (number + 1)
        for seconds, lease in ((100, 1), (300, 2), (200, 3), (100, 1), (1, 5), (9_000_000_001, 6)):
            service.call(LEASE + "Grant", field(1, seconds) + field(2, base + lease))
        for lease, key in ((1, b"s/b"), (1, b"s/a"), (2, b"s/c"), (9, b"s/d")):
            service.call("/etcdserverpb.KV/Put", put(key, base + lease), h2client.revision_of)
        service.call(LEASE + "TimeToLive", field(1, base + 1), remaining_of)
        service.call(LEASE + "TimeToLive", field(1, base + 1) + field(2, 1), remaining_of)
        service.call(LEASE + "TimeToLive", field(1, base + 3) + field(2, 1), remaining_of)
        service.call(LEASE + "TimeToLive", field(1, base + 9) + field(2, 1), answer_of)
        service.call(LEASE + "TimeToLive", b"", answer_of)
        service.keep_alive("known and unknown", base + 1, base + 9, base + 3, 0, base + 1)
        service.keep_alive("nothing")
        # A transaction that names a missing lease changes nothing.
        good, bad = put(b"t", base + 2), put(b"u", base + 9)
        for ops in ((good,), (good, bad)):
            body = b"".join(field(2, field(2, one)) for one in ops)
            service.call(TXN, body, h2client.revision_of)
        leased = field(3, b"t") + field(2, 4) + field(8, base + 2)  # EQUAL, LEASE
        service.call(TXN, field(1, leased), lambda m: (h2client.revision_of(m), first(m, 2, 0)))
        service.call("/etcdserverpb.KV/Put", put(b"t", 0, keep=1), h2client.revision_of)
        service.call(LEASE + "Revoke", field(1, base + 3))  # no keys: no revision
        service.call(LEASE + "Revoke", field(1, base + 1))
        service.call(LEASE + "Revoke", field(1, base + 1))
        service.call(LEASE + "Revoke", field(1, base + 2))
        service.keep_alive("revoked", base + 1)
    leader = run.cluster.leader() if run.cluster else run.members[0]
    for name in ("granted", "revoked"):
        run.note(name, metric(leader, f"etcd_debugging_lease_{name}_total"))


def order_script(run):
    """`LeaseLeases` of the leader goes by the time of expiry."""
    service = Service(run, run.members[0])
    for lease, seconds in ((1, 300), (2, 100), (3, 500), (4, 200)):
        service.call(LEASE + "Grant", field(1, seconds) + field(2, lease))
    service.call(LEASE + "Leases", b"")
    service.call(LEASE + "Revoke", field(1, 4))
    service.call(LEASE + "Leases", b"")


class ServiceTest(DifferentialTest):
    def test_one_node(self):
        self.compare(service_script, 1)

    def test_three_nodes(self):
        self.compare(service_script, 3)

    def test_list_in_order_of_expiry(self):
        self.compare(order_script, 1)


# Times -------------------------------------------------------------------------------------------


class TimeTest(harness.NodeTest):
    """Three members; who leads changes."""

    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self).start()
        self.run_on = Run(self, self.cluster.members, self.cluster)
        self.run_on.wait_ready()

    def grant(self, member, lease, seconds, *keys):
        with member.connect() as connection:
            reply = connection.call(LEASE + "Grant", field(1, seconds) + field(2, lease))
            self.assertEqual(reply.status, 0, repr(reply))
            for key in keys:
                reply = connection.call("/etcdserverpb.KV/Put", put(key, lease))
                self.assertEqual(reply.status, 0, repr(reply))

    def holds(self, key):
        """Whether any member still has it."""
        for member in self.cluster.alive():
            with member.connect() as connection:
                if h2client.pairs_of(connection.range(key, serializable=True).response):
                    return True
        return False

    def kill_leader(self):
        leader = self.cluster.leader()
        leader.kill()
        self.cluster.leader()
        return leader

    def test_a_kept_lease_survives_the_leaders(self):
        self.grant(self.cluster.members[0], 7, 5, b"kept")
        keeper = Tail(self.run_on.endpoints, "lease", "keep-alive", "7")
        try:
            for _ in range(3):
                keeper.wait_lines(len(keeper.lines) + 2)
                killed = self.kill_leader()
                for _ in range(20):
                    self.assertTrue(self.holds(b"kept"))
                    time.sleep(0.1)
                killed.start()
                self.assertIsNone(keeper.process.poll(), keeper.lines + keeper.errors)
            keeper.wait_lines(len(keeper.lines) + 2)
        finally:
            keeper.close()
        begin = time.monotonic()
        harness.wait_until(lambda: not self.holds(b"kept"), 5 + LATE_S, "expires unkept")
        self.assertNotIn("expired", "".join(keeper.lines))
        tell(f"5 s lease unkept: gone after {time.monotonic() - begin:.1f} s")

    def test_a_lease_lives_its_time_and_a_bounded_time_longer(self):
        begin = time.monotonic()
        self.grant(self.cluster.members[1], 8, 4, b"short")
        time.sleep(2)
        changed = time.monotonic()
        self.kill_leader()
        bound = 4 + ELECTION_S + LATE_S
        harness.wait_until(lambda: not self.holds(b"short"), bound, "expires under the new leader")
        lived, after = time.monotonic() - begin, time.monotonic() - changed
        self.assertGreater(lived, 4)
        tell(f"4 s lease, leader killed after 2 s: lived {lived:.1f} s, {after:.1f} s since")

    def test_every_member_renews_and_tells(self):
        self.grant(self.cluster.members[0], 9, 60, b"told")
        for member in self.cluster.members:
            with member.connect() as connection:
                stream = h2client.Stream(connection, LEASE + "KeepAlive")
                for _ in range(5):
                    stream.send(field(1, 9))
                    message = stream.receive()
                    self.assertIsNotNone(message, f"{member.name}: {stream.reply!r}")
                    self.assertEqual(first(message, 3), 60)
                stream.half_close()
                self.assertEqual(stream.end().status, 0)
                told = connection.call(LEASE + "TimeToLive", field(1, 9) + field(2, 1))
            self.assertEqual(first(told.response, 5), b"told")
            self.assertIn(first(told.response, 3), (58, 59, 60))

    def test_without_a_majority_no_keepalive_is_answered(self):
        leader = self.cluster.leader()
        self.grant(leader, 10, 60, b"alone")
        for member in self.cluster.followers():
            member.kill()
        time.sleep(3)  # etcd answers from its memory until it knows that it leads nobody
        with leader.connect(timeout=20) as connection:
            stream = h2client.Stream(connection, LEASE + "KeepAlive")
            stream.send(field(1, 10))
            message = stream.receive(15)
        self.assertTrue(message is None or first(message, 3, 0) == 0, message)
        self.assertIsNone(message, "neither renewed nor told that it is gone")
        tell(f"keepalive without a majority: {stream.reply!r}")

    def test_a_restart_of_all_keeps_leases(self):
        self.grant(self.cluster.members[0], 11, 60, b"stays")
        self.grant(self.cluster.members[0], 12, 5, b"goes")
        for member in self.cluster.members:
            member.kill()
        self.cluster.start()
        self.run_on.wait_ready()
        begin = time.monotonic()
        harness.wait_until(lambda: not self.holds(b"goes"), 5 + ELECTION_S + LATE_S, "it expires")
        self.assertTrue(self.holds(b"stays"))
        told = self.run_on.quiet("lease", "timetolive", "b", "--keys")
        self.assertIn("attached keys([stays])", told.output)
        tell(f"5 s lease after a restart of all: gone {time.monotonic() - begin:.1f} s later")


if __name__ == "__main__":
    harness.main()
