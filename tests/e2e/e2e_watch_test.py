#!/usr/bin/env python3
"""Aim: `etcdctl watch` with all its options prints what it prints against etcd; no event is lost or
repeated when the leader dies. Method: the same scripts for Debian's etcd and for the server, on one
node and on three with the leader killed in between (differ.py); for the whole history, watchers
that were there all the time beside one that reads it afterwards."""
import re
import threading
import time

import h2client
import harness
from cluster import Cluster, tell
from differ import DifferentialTest, Run, Tail

QUIET_S = 0.5
ENVIRONMENT = "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"
TXN_OPS = "\nput txn/a 1\nput txn/b 2\ndel txn/old\n\n\n"


def options_script(run):
    """Every option, on events as they happen."""
    watches = {
        "key": run.tail("watch", "a"),
        "prefix": run.tail("watch", "a", "--prefix"),
        "range": run.tail("watch", "a", "b"),
        "previous": run.tail("watch", "a", "--prefix", "--prev-kv"),
        "hex": run.tail("watch", "a", "--hex"),
        "json": run.tail("watch", "a", "-w", "json"),
        "fields": run.tail("watch", "a", "--prev-kv", "-w", "fields"),
        "everything": run.tail("watch", "", "--prefix"),
        "environment": run.tail("watch", environment={"ETCDCTL_WATCH_KEY": "a"}),
        "environment range": run.tail(
            "watch", environment={"ETCDCTL_WATCH_KEY": "a", "ETCDCTL_WATCH_RANGE_END": "a2"}
        ),
        "other": run.tail("watch", "c"),
    }
    run.wait_watchers(len(watches))
    run.step("put", "a", "1")
    run.step("put", "a1", "2")
    run.disturb()
    run.step("put", "a", "3")
    run.step("put", "b", "4")
    run.step("del", "a")
    run.step("del", "none")
    run.disturb()
    run.step("put", "a", "5")
    run.step("del", "a", "--prefix")
    run.step("put", "a", "end")
    run.step("put", "c", "end")
    for name, watch in watches.items():
        last = "\\x65\\x6e\\x64" if name == "hex" else "ZW5k" if name == "json" else "end"
        watch.wait_text(last)
    run.wait_watchers(len(watches))
    for name, watch in watches.items():
        run.note_tail(name, watch)


def history_script(run):
    """From old revisions on, and into what follows."""
    for value in "123":
        run.step("put", "h/a", value)
    run.step("put", "h/b", "x")
    run.step("del", "h/a")
    run.step("put", "txn/old", "1")
    run.step("txn", stdin=TXN_OPS)
    run.disturb()
    commands = [
        ("watch", "h/a", "--rev=1"),
        ("watch", "h/", "--prefix", "--rev=3"),
        ("watch", "h/", "--prefix", "--rev=2", "--prev-kv"),
        ("watch", "h/a", "--rev=6", "--prev-kv"),
        ("watch", "txn/", "--prefix", "--rev=1", "-w", "json"),
        ("watch", "h/", "h0", "--rev=4", "-w", "fields"),
        ("watch", "h/", "--prefix", "--rev=9"),
        ("watch", "h/", "--prefix", "--rev=11"),  # in the future: not those before it
    ]
    watches = [run.tail(*command) for command in commands]
    run.wait_watchers(len(watches))
    time.sleep(QUIET_S)
    for value in "456":
        run.step("put", "h/a", value)
        if value == "5":
            run.disturb()
    run.step("put", "txn/c", "end")
    run.step("put", "h/a", "end")
    for watch in watches:
        watch.wait_text("ZW5k" if "json" in watch.arguments else "end")
    for watch in watches:
        # Where one answer ends and the next begins is a matter of time, once history is read.
        run.note_tail("history", watch, blot=events_only)


def events_only(text):
    """JSON answers as one list of events; headers of the fields format off."""
    text = re.sub(
        r'\{"Header":\{.*?\},"Events":\[(.*?)\],"CompactRevision":0,'
        r'"Canceled":false,"Created":false\}(\n|$)',
        r"\1,",
        text,
    )
    return re.sub(r'"(?:ClusterID|MemberID|Revision|RaftTerm)" : \d+\n', "", text)


def transaction_script(run):
    """The events of one revision come in one answer, in the order of the operations."""
    run.step("put", "txn/old", "1")
    watch = run.tail("watch", "txn/", "--prefix", "-w", "json")
    run.wait_watchers(1)
    run.step("txn", stdin=TXN_OPS)
    run.step("txn", stdin="\nput txn/z 1\nput other 2\nput txn/a 3\n\n\n")
    run.step("del", "txn/", "--prefix")
    run.disturb()
    run.step("put", "txn/end", "1")
    watch.wait_lines(4)
    run.note_tail("transaction", watch)


def commands_script(run):
    """A command a watch, told of the event by its environment."""
    run.step("put", "e/a", "old")
    watches = [
        run.tail("watch", "e/", "--prefix", "--", "sh", "-c", ENVIRONMENT),
        run.tail("watch", "e/a", "--rev=2", "--", "sh", "-c", ENVIRONMENT),
        run.tail("watch", "e/", "e0", "--", "echo", "called"),
        run.tail("watch", "e/b", "--", "sh", "-c", "exit 3"),
        run.tail(
            "watch", "--", "sh", "-c", ENVIRONMENT, environment={"ETCDCTL_WATCH_KEY": "e/b"}
        ),
    ]
    run.wait_watchers(5)
    watches[1].wait_lines(4)
    # etcdctl sets the environment of an event while the command of the one before may still start.
    run.step("put", "e/a", "one")
    for number, lines in ((0, 4), (1, 8), (2, 4)):
        watches[number].wait_lines(lines)
    run.disturb()
    run.step("put", "e/b", "two")
    for number, lines in ((0, 8), (2, 8), (4, 4)):
        watches[number].wait_lines(lines)
    run.step("del", "e/a")
    for number, lines in ((0, 12), (1, 12), (2, 12)):
        watches[number].wait_lines(lines)
    harness.wait_until(lambda: watches[3].process.poll() is not None, 10, "the command failed")
    for watch in watches:
        run.note_tail("command", watch)


def interactive_script(run):
    """Several watches of one client, and progress."""
    for _ in range(3):
        run.step("put", "i/old", "1")
    watch = run.tail("watch", "-i")
    lines = (
        "watch i/a",
        "watch i/b --prefix --prev-kv",
        "watch i/c i/e",
        "watch i/old --rev=3",
        'watch "i/quoted key"',
        "watch i/f -- echo called",
    )
    for count, line in enumerate(lines, 1):
        watch.write(line)
        run.wait_watchers(count)
    watch.wait_lines(6)
    for number, (key, value) in enumerate(
        (("i/a", "1"), ("i/b1", "2"), ("i/b1", "3"), ("i/d", "4"), ("i/quoted key", "5"))
    ):
        seen = len(watch.lines)
        run.step("put", key, value)
        watch.wait_lines(seen + 3)
        if number == 2:
            run.disturb()
    seen = len(watch.lines)
    run.step("put", "i/f", "6")
    watch.wait_lines(seen + 4)
    watch.wait_text("called")
    seen = len(watch.lines)
    watch.write("progress")
    watch.wait_lines(seen + 1)
    run.note("progress", *set(watch.lines[seen:]))
    run.note_tail("interactive", watch, blot=lambda text: text.split("progress notify")[0])


def refusals_script(run):
    for _ in range(5):
        run.step("put", "r/a", "1")
    run.step("compaction", "4")
    run.disturb()
    for command in (
        ("watch", "r/a", "--rev=1"),
        ("watch", "r/a", "--rev=3"),
        ("watch", "r/", "--prefix", "--rev=2", "-w", "json"),
        ("watch", "b", "a"),
        ("watch", "a", "a"),
        ("watch",),
        ("watch", "a", "b", "--prefix"),
        ("watch", "a", "--rev=x"),
        ("watch", "r/a", "--rev=4", "-w", "table"),
        ("watch", "a", "-w", "nonsense"),
    ):
        watch = run.tail(*command)
        harness.wait_until(lambda: watch.process.poll() is not None, 10, f"{command} ends")
        run.note_tail("refused", watch)
    kept = run.tail("watch", "r/a", "--rev=4")
    kept.wait_lines(9)
    run.note_tail("at the compacted revision", kept)
    interactive = run.tail("watch", "-i")
    for line in ("nonsense", "watch"):
        interactive.write(line)
        interactive.wait_text(f"Invalid command {line}")
    run.note_tail("interactive", interactive)


def lease_script(run):
    """A lease's keys are deleted in one revision, sorted, and the watchers are told."""
    granted = run.step("lease", "grant", "100").output.split()[1]
    watch = run.tail("watch", "", "--prefix", "--prev-kv", "-w", "json")
    run.wait_watchers(1)
    for key in ("z", "b", "a/1", "m"):
        run.step("put", key, "leased", f"--lease={granted}")
    run.disturb()
    run.step("lease", "revoke", granted)
    run.step("put", "end", "1")
    watch.wait_lines(6)
    run.note_tail("lease", watch)


class EtcdctlTest(DifferentialTest):
    def test_options(self):
        self.compare(options_script, 1)

    def test_history(self):
        self.compare(history_script, 1)

    def test_transactions(self):
        self.compare(transaction_script, 1)

    def test_commands(self):
        self.compare(commands_script, 1)

    def test_interactive(self):
        self.compare(interactive_script, 1)

    def test_refusals(self):
        self.compare(refusals_script, 1)

    def test_a_revoked_lease(self):
        self.compare(lease_script, 1)


class LeaderKilledTest(DifferentialTest):
    def test_options(self):
        self.compare(options_script, 3)

    def test_history(self):
        self.compare(history_script, 3)

    def test_transactions(self):
        self.compare(transaction_script, 3)

    def test_commands(self):
        self.compare(commands_script, 3)

    def test_interactive(self):
        self.compare(interactive_script, 3)

    def test_refusals(self):
        self.compare(refusals_script, 3)

    def test_a_revoked_lease(self):
        self.compare(lease_script, 3)


class FeedTest(harness.NodeTest):
    """Three members, the leader killed again and again under writes: every watcher sees the whole
    history once, in order."""

    KILLS = 3

    def test_no_event_is_lost_or_repeated(self):
        cluster = Cluster(self).start()
        run = Run(self, cluster.members, cluster)
        run.wait_ready()
        tails = [
            Tail(",".join(self.rotated(cluster, turn)), "watch", "feed/", "--prefix")
            for turn in range(3)
        ]
        try:
            run.wait_watchers(len(tails))
            written = self.write_through(cluster)
            run.quiet("put", "feed/end", "end")
            for tail in tails:
                tail.wait_text("feed/end", timeout=60)
            truth = Tail(run.endpoints, "watch", "feed/", "--prefix", "--rev=1")
            tails.append(truth)
            truth.wait_text("feed/end", timeout=60)
            truth.wait_lines(len(truth.lines) // 3 * 3)
            time.sleep(QUIET_S)
            for tail in tails:
                self.assertEqual(tail.lines, truth.lines)
            values = truth.lines[2::3]
            self.assertLessEqual(set(written), set(values))
            tell(f"{len(values)} events, {len(written)} acknowledged, {self.KILLS} leaders killed")
        finally:
            for tail in tails:
                tail.close()

    @staticmethod
    def rotated(cluster, turn):
        endpoints = [member.endpoint for member in cluster.members]
        return endpoints[turn:] + endpoints[:turn]

    def write_through(self, cluster):
        """Puts until the leader was killed KILLS times; gives the acknowledged values."""
        acknowledged, stop = [], threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                for member in cluster.members:
                    try:
                        with member.connect(timeout=3) as connection:
                            while not stop.is_set():
                                number += 1
                                value = str(number)
                                reply = connection.put(
                                    b"feed/%d" % (number % 7), value.encode(), timeout=3
                                )
                                if reply.status != 0:
                                    break
                                acknowledged.append(value)
                                time.sleep(0.002)
                    except (h2client.Closed, OSError):
                        pass
                    if stop.is_set():
                        break

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        for _ in range(self.KILLS):
            target = len(acknowledged) + 100
            harness.wait_until(lambda: len(acknowledged) >= target, 30, "100 more writes")
            leader = cluster.leader()
            leader.kill()
            target = len(acknowledged) + 50
            harness.wait_until(lambda: len(acknowledged) >= target, 30, "writes go on")
            leader.start()
        stop.set()
        writer.join(30)
        return acknowledged


if __name__ == "__main__":
    harness.main()
