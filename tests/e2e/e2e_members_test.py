#!/usr/bin/env python3
"""Aim: the membership of a running cluster changes as etcd's users know it: add, learners, promote,
update, remove, move-leader, with etcd's words where it refuses; a member that must not come back
says why and what to do. Method: real members, real etcdctl; the differential test gives one script
of refusals to three members of Debian's etcd and to three of the server, on the same ports one
after the other."""
import re
import shutil
import time

import h2client
import harness
from cluster import HEALTHY_S, MAINTENANCE, Cluster, Load, move_leader_request, tell

STOPS_S = 20


class MembersTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        self.cluster = Cluster(self).start()

    def run_ok(self, member, *arguments):
        """Runs it; again while the links of members just started do not count as stable."""
        deadline = time.monotonic() + 2 * HEALTHY_S
        result = member.etcdctl(*arguments)
        while "unhealthy cluster" in result.errors and time.monotonic() < deadline:
            time.sleep(0.2)
            result = member.etcdctl(*arguments)
        self.assertEqual(result.status, 0, f"etcdctl {arguments}: {result.errors}")
        return result.output

    def run_error(self, member, *arguments, text):
        result = member.etcdctl(*arguments)
        self.assertNotEqual(result.status, 0, f"etcdctl {arguments} succeeded: {result.output}")
        self.assertIn(text, result.errors, f"etcdctl {arguments}")

    def add(self, through, name, *options):
        """`member add` and a process for it, not started yet; gives it and its id in hex."""
        joining = self.cluster.joining(name)
        output = self.run_ok(
            through, "member", "add", name, f"--peer-urls={joining.peer_url}", *options
        )
        return joining, re.match(r"Member\s+([0-9a-f]+) added to cluster", output)[1]

    def fill(self, member, prefix, count=50):
        with member.connect() as connection:
            for number in range(count):
                reply = connection.put(f"{prefix}/{number}".encode(), prefix.encode())
                self.assertEqual(reply.status, 0, repr(reply))

    # Learners

    def test_a_learner_joins_serves_no_writes_and_is_promoted(self):
        m1 = self.cluster.members[0]
        self.fill(m1, "before")
        learner, learner_id = self.add(m1, "m4", "--learner")
        self.run_error(
            m1,
            "member",
            "promote",
            learner_id,
            text="etcdserver: can only promote a learner member which is in sync with leader",
        )
        port = harness.free_ports(1)[0]
        self.run_error(
            m1,
            "member",
            "add",
            "m5",
            "--learner",
            f"--peer-urls=http://127.0.0.1:{port}",
            text="etcdserver: too many learner members in cluster",
        )
        learner.spawn()
        harness.wait_until(
            lambda: learner.status() and len(learner.everything()[0]) == 50, 20, "it catches up"
        )
        refused = "etcdserver: rpc not supported for learner"
        self.run_error(learner, "put", "a", "1", text=refused)
        self.run_error(learner, "get", "before/1", text=refused)
        self.assertIn("before/1", self.run_ok(learner, "get", "before/1", "--consistency=s"))
        self.assertIn("true", self.run_ok(learner, "endpoint", "status").split(", ")[5])
        # Not in the leader's judgement at once: it counts what the learner has answered.
        harness.wait_until(
            lambda: m1.etcdctl("member", "promote", learner_id).status == 0, 20, "promoted"
        )
        self.run_error(
            m1,
            "member",
            "promote",
            learner_id,
            text="etcdserver: can only promote a learner member",
        )
        harness.wait_until(
            lambda: learner.etcdctl("put", "a", "1").status == 0, 20, "the new voter writes"
        )
        # It votes: three of the four go on without any one of the others.
        m1.kill()
        self.cluster.leader()
        self.fill(learner, "after")
        m1.start()
        self.cluster.wait_equal()

    # Voters in and out

    def test_a_voter_joins_under_load(self):
        m1, m2, _ = self.cluster.members
        with Load(self.cluster.members) as load:
            load.wait_written(100)
            joining, _ = self.add(m2, "m4")
            joining.start()
            load.wait_written(100)
        self.cluster.check(load.history)
        self.assertEqual(self.run_ok(m1, "member", "list").count("started"), 4)
        self.fill(joining, "through the new one")

    def test_a_removed_member_stops_and_says_so(self):
        self.skip_for_etcd("its words are others")
        follower = self.cluster.followers()[0]
        leader = self.cluster.leader()
        self.run_ok(leader, "member", "remove", follower.hex_id())
        self.assertIn("removed from the cluster", follower.last_words(STOPS_S))
        self.assertNotEqual(follower.process.returncode, 0)
        self.fill(leader, "without it")
        follower.spawn()  # and again, when its old flags start it once more
        self.assertIn("removed from the cluster", follower.last_words(STOPS_S))
        self.assertEqual(self.run_ok(leader, "member", "list").count("\n"), 2)

    def test_a_member_answers_its_own_removal(self):
        self.skip_for_etcd("it answers that it has stopped")
        follower = self.cluster.followers()[0]
        output = self.run_ok(follower, "member", "remove", follower.hex_id())
        self.assertIn("removed from cluster", output)
        self.assertIn("removed from the cluster", follower.last_words(STOPS_S))

    def test_the_leader_itself_is_removed(self):
        self.skip_for_etcd("its words are others")
        leader = self.cluster.leader()
        rest = self.cluster.followers()
        with Load(rest) as load:
            load.wait_written(100)
            begin = time.monotonic()
            self.run_ok(rest[0], "member", "remove", leader.hex_id())
            load.wait_written_after(begin)
            load.wait_written(50)
            gap = load.history.longest_gap(begin, time.monotonic())
            tell(f"leader removed: {gap:.2f} s without an acknowledged write")
        self.assertIn("removed from the cluster", leader.last_words(STOPS_S))
        self.cluster.check(load.history, rest)

    def test_a_wiped_member_is_refused_and_the_way_out_works(self):
        self.skip_for_etcd("it takes the member back")
        m1, wiped = self.cluster.leader(), self.cluster.followers()[0]
        self.fill(m1, "before")
        self.cluster.wait_equal()
        old_id = wiped.hex_id()
        wiped.kill()
        shutil.rmtree(wiped.data)
        self.fill(m1, "meanwhile")
        wiped.spawn()
        words = wiped.last_words(STOPS_S)
        self.assertIn("another data directory", words)
        self.assertIn(f"member remove {old_id}", words)
        # As told: out, and in again under a new identity.
        self.run_ok(m1, "member", "remove", old_id)
        output = self.run_ok(m1, "member", "add", wiped.name, f"--peer-urls={wiped.peer_url}")
        self.assertNotIn(old_id, output)
        shutil.rmtree(wiped.data)
        wiped.extra = [*self.cluster.extra, "--initial-cluster-state", "existing"]
        wiped.start()
        pairs, _ = self.cluster.wait_equal()
        self.assertEqual(len(pairs), 100)
        self.assertEqual(self.run_ok(wiped, "member", "list").count("started"), 3)

    def test_a_member_that_was_not_added_is_told_so(self):
        self.skip_for_etcd("its words are others")
        joining = self.cluster.joining("m4")
        joining.spawn()
        words = joining.last_words(STOPS_S)
        self.assertIn("member add", words)
        self.assertEqual(self.run_ok(self.cluster.members[0], "member", "list").count("\n"), 3)

    # Addresses and leadership

    def test_a_member_moves_to_another_peer_address(self):
        moving = self.cluster.followers()[0]
        leader = self.cluster.leader()
        moving_id = moving.hex_id()
        taken = leader.peer_url
        self.run_error(
            leader,
            "member",
            "update",
            moving_id,
            f"--peer-urls={taken}",
            text="etcdserver: Peer URLs already exists",
        )
        moving.stop()
        moving.peer_port = harness.free_ports(1)[0]
        self.run_ok(leader, "member", "update", moving_id, f"--peer-urls={moving.peer_url}")
        moving.initial_cluster = self.cluster.initial_cluster()
        moving.start()
        self.fill(moving, "from the new address")
        self.cluster.wait_equal()
        self.assertIn(moving.peer_url, self.run_ok(leader, "member", "list"))
        self.assertEqual(moving.hex_id(), moving_id)

    def test_the_leader_moves_where_it_is_told(self):
        with Load(self.cluster.members) as load:
            load.wait_written(100)
            for _ in range(3):
                leader, target = self.cluster.leader(), self.cluster.followers()[0]
                begin = time.monotonic()
                self.run_ok(leader, "move-leader", target.hex_id())
                harness.wait_until(lambda: self.cluster.leader() is target, 10, "it leads")
                load.wait_written(50)
                gap = load.history.longest_gap(begin, time.monotonic())
                tell(f"leader moved: {gap:.3f} s without an acknowledged write")
        self.cluster.check(load.history)

    # Words

    def test_moving_the_leader_is_refused_in_etcds_words(self):
        leader, followers = self.cluster.leader(), self.cluster.followers()
        request = move_leader_request(followers[1].id())
        reply = followers[0].call(MAINTENANCE + "MoveLeader", request)
        self.assertEqual((reply.status, reply.message), (9, "etcdserver: not leader"))
        reply = leader.call(MAINTENANCE + "MoveLeader", move_leader_request(12345))
        self.assertEqual((reply.status, reply.message), (9, "etcdserver: bad leader transferee"))
        self.run_error(
            followers[0], "move-leader", followers[1].hex_id(), text="no leader endpoint given"
        )

    def test_a_voter_is_not_added_while_a_member_is_down(self):
        time.sleep(HEALTHY_S)
        down = self.cluster.followers()[0]
        leader = self.cluster.leader()
        down.kill()
        port = harness.free_ports(1)[0]
        self.run_error(
            leader,
            "member",
            "add",
            "m4",
            f"--peer-urls=http://127.0.0.1:{port}",
            text="etcdserver: unhealthy cluster",
        )


class TokenTest(harness.NodeTest):
    def test_a_member_of_another_token_is_refused_and_named(self):
        self.skip_for_etcd("its words are others")
        cluster = Cluster(self)
        stranger = cluster.members[2]
        stranger.extra = ["--initial-cluster-token", "another"]
        for member in cluster.members:
            member.spawn()
        for member in cluster.members[:2]:
            member.wait_serving()
        harness.wait_until(
            lambda: "cluster" in stranger.log_text() and stranger_named(cluster), 20, "it is named"
        )
        self.assertFalse(stranger.healthy())
        pairs, _ = cluster.wait_equal(cluster.members[:2])
        self.assertEqual(pairs, [])


def stranger_named(cluster):
    return any("belongs to cluster" in member.log_text() for member in cluster.members)


class DifferentialTest(harness.NodeTest):
    """One script of changes and refusals for etcd and for the server."""

    maxDiff = 4000

    def test_refuses_in_the_words_of_etcd(self):
        etcd = harness.etcd_binary()
        if etcd is None:
            self.skipTest("etcd is not installed (package etcd-server)")
        ports = harness.free_ports(8)
        expected = self.transcript("etcd", etcd, ports)
        got = self.transcript("server", harness.Config.server, ports)
        for want, have in zip(expected, got):
            with self.subTest(step=want[0]):
                self.assertEqual(want, have)
        self.assertEqual(len(expected), len(got))
        tell(f"compared {len(expected)} steps")

    def transcript(self, folder, binary, ports):
        cluster = Cluster(self, binary=binary)
        for number, member in enumerate(cluster.members):
            member.directory = self.directory / folder / member.name
            member.directory.mkdir(parents=True)
            member.data, member.log_path = member.directory / "data", member.directory / "log"
            member.client_port, member.peer_port = ports[2 * number], ports[2 * number + 1]
        for member in cluster.members:
            member.initial_cluster = cluster.initial_cluster()
        cluster.start()
        time.sleep(HEALTHY_S)
        script = Script(cluster, ports[6:])
        script.run()
        for member in cluster.members:
            member.kill()
        return script.steps


class Script:
    """Runs the steps on a cluster and keeps what etcdctl said, ids that differ by run blotted."""

    def __init__(self, cluster, spare_ports):
        self.cluster = cluster
        self.urls = [f"--peer-urls=http://127.0.0.1:{port}" for port in spare_ports]
        self.fixed_ids = [member.hex_id() for member in cluster.members]
        self.steps = []

    def step(self, *arguments):
        result = self.cluster.leader().etcdctl(*arguments)
        self.steps.append(
            (
                self.blot(" ".join(arguments)),
                result.status,
                self.blot(result.output),
                self.blot(result.errors),
            )
        )
        return result

    def blot(self, text):
        text = re.sub(r'\{"level":.*\}\n', "", text)  # etcdctl's word on its retries
        known = "|".join(self.fixed_ids)
        # etcdctl pads short ids with spaces.
        text = re.sub(rf" *\b(?!(?:{known})\b)[0-9a-f]{{12,16}}\b", " ID", text)
        # Both list by id, and the new one's is anywhere.
        text = re.sub(
            r'(?<=ETCD_INITIAL_CLUSTER=").*(?=")',
            lambda names: ",".join(sorted(names[0].split(","))),
            text,
        )
        return "\n".join(sorted(text.splitlines())) if ", started, " in text else text

    def run(self):
        first, second, third = self.fixed_ids  # leader, one that goes down, one that stays
        if self.cluster.leader().hex_id() != first:
            self.cluster.leader().etcdctl("move-leader", first)
        url, other_url = self.urls
        taken = f"--peer-urls={self.cluster.members[1].peer_url}"
        self.step("member", "list")
        self.step("member", "add", "m4", taken)
        self.step("member", "add", "m4", "--peer-urls=nonsense")
        self.step("member", "add", "m4")
        self.step("member", "promote", first)
        self.step("member", "promote", "abcdef0123456789")
        self.step("member", "remove", "abcdef0123456789")
        self.step("member", "update", "abcdef0123456789", url)
        self.step("member", "update", first, taken)
        self.step("move-leader", "abcdef0123456789")
        added = self.step("member", "add", "m4", "--learner", url)
        learner = re.match(r"Member\s+([0-9a-f]+) added", added.output)[1]
        self.step("member", "promote", learner)
        self.step("member", "add", "m5", "--learner", other_url)
        self.step("move-leader", learner)
        self.step("member", "update", first, f"--peer-urls={self.cluster.members[0].peer_url}")
        self.step("member", "list")
        self.step("member", "remove", learner)
        self.step("member", "remove", learner)
        self.step("member", "promote", learner)
        # With one of three down: no voter in, no other voter out, but the one that is down.
        self.cluster.members[1].kill()
        time.sleep(2)  # etcd tells nobody when the leader knows
        self.step("member", "add", "m4", url)
        self.step("member", "add", "m4", "--learner", url)
        self.step("member", "remove", third)
        self.step("member", "remove", second)
        self.step("member", "list")


if __name__ == "__main__":
    harness.main()
