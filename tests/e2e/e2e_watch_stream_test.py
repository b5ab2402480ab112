#!/usr/bin/env python3
"""Aim: a watch stream answers message by message as etcd's does: ids, starts, ranges, filters,
order, progress, fragments. Method: the bare protocol, the same scripts for Debian's etcd and for
the server (differ.py); what etcd 3.4 does otherwise than later ones is expected as written down."""
import time

import h2client
import harness
from cluster import Cluster, tell
from differ import DifferentialTest, Run
from h2client import field, fields

WATCH = "/etcdserverpb.Watch/Watch"
TXN = "/etcdserverpb.KV/Txn"
QUIET_S = 0.5
NOPUT, NODELETE = 0, 1
PROGRESS_INTERVAL_MS = 300


def create(key, end=b"", **options):
    """A WatchRequest. Options: start, progress, filters, previous, id, fragment."""
    body = field(1, key) + (field(2, end) if end else b"")
    body += field(3, options.get("start", 0))
    body += field(4, options.get("progress", 0))
    filters = options.get("filters", ())
    body += b"".join(h2client.varint(5 << 3) + h2client.varint(one) for one in filters)
    body += field(6, options.get("previous", 0))
    body += field(7, options.get("id", 0))
    body += field(8, options.get("fragment", 0))
    return field(1, body)


def cancel(watch_id):
    return field(2, field(1, watch_id))


PROGRESS = field(3, b"")


def signed(number):
    return number - (1 << 64) if number >= 1 << 63 else number


def pair_of(message):
    pair = dict(fields(message))
    return tuple(pair.get(n, b"" if n in (1, 5) else 0) for n in (1, 2, 3, 4, 5, 6))


def response_of(message):
    """A WatchResponse as a dict of what is set, ids of members and terms left out."""
    names = {2: "id", 3: "created", 4: "canceled", 5: "compacted", 6: "reason", 7: "fragment"}
    out = {"revision": signed(h2client.revision_of(message)), "id": 0}
    for number, value in fields(message):
        if number == 11:
            event = dict(fields(value))
            one = ("DELETE" if event.get(1) else "PUT", pair_of(event[2]))
            out.setdefault("events", []).append(one + ((pair_of(event[3]),) if 3 in event else ()))
        elif number in names:
            out[names[number]] = signed(value) if isinstance(value, int) else value.decode()
    return out


class Script:
    """A watch stream and what came over it, step by step. Puts go over another connection."""

    def __init__(self, run):
        self.run = run
        self.connection = run.connect(run.members[0])
        self.writer = run.connect(run.members[0])
        self.stream = h2client.Stream(self.connection, WATCH)

    def ask(self, what, *requests, answers=1):
        self.stream.send(*requests)
        return self.expect(what, answers)

    def expect(self, what, answers):
        """Notes so many responses, and that no other comes."""
        got = [self.stream.receive() for _ in range(answers)]
        got = [response_of(message) if message is not None else {"nothing": 1} for message in got]
        # Which watcher hears of a revision first is open.
        shown = sorted(got, key=lambda o: o["id"]) if all("events" in one for one in got) else got
        self.run.note(what, *shown)
        return got

    def silence(self, what):
        message = self.stream.receive(QUIET_S)
        self.run.note(what, "silence" if message is None else response_of(message))

    def put(self, key, value=b"v"):
        reply = self.writer.put(key, value)
        self.run.test.assertEqual(reply.status, 0, repr(reply))

    def delete(self, key, end=b""):
        body = field(1, key) + (field(2, end) if end else b"")
        self.run.test.assertEqual(
            self.writer.call("/etcdserverpb.KV/DeleteRange", body).status, 0
        )

    def put_many(self, pairs):
        """In one revision."""
        operations = [field(2, h2client.put_request(*pair)) for pair in pairs]
        reply = self.writer.call(TXN, b"".join(field(2, one) for one in operations))
        self.run.test.assertEqual(reply.status, 0, repr(reply))

    def compact(self, revision):
        reply = self.writer.call("/etcdserverpb.KV/Compact", field(1, revision))
        self.run.test.assertEqual(reply.status, 0, repr(reply))


def ids_script(run):
    script = Script(run)
    script.ask("the first has id 0", create(b"a"))
    script.ask("then 1", create(b"a"))
    script.ask("one of the client's choice", create(b"a", id=3))
    script.ask("a choice that is taken", create(b"a", id=3))
    script.ask("2 and then 4 come next", create(b"b"), create(b"c"), answers=2)
    script.ask("a large one", create(b"d", id=1 << 40))
    script.put(b"a")
    got = script.expect("three of them see it", 3)
    run.test.assertEqual({one["id"] for one in got}, {0, 1, 3})
    script.ask("cancel", cancel(3))
    script.put(b"b")
    script.expect("the others go on", 1)
    script.stream.send(cancel(3), cancel(77))
    script.silence("of unknown ids nothing is said")
    script.ask("a freed one may be chosen again", create(b"a", id=3))


def starts_script(run):
    script = Script(run)
    for number in range(4):
        script.put(b"s", b"%d" % number)  # revisions 2 to 5
    script.ask("from the beginning", create(b"s", start=1), answers=2)
    script.ask("from now", create(b"s", id=10))
    script.ask("from the current revision", create(b"s", start=5, id=11), answers=2)
    script.ask("from the next", create(b"s", start=6, id=12))
    script.ask("from the future", create(b"s", start=8, id=13))
    script.put(b"s", b"six")
    for_all = script.expect("six", 4)
    run.test.assertNotIn(13, [one["id"] for one in for_all])
    script.put(b"s", b"seven")
    script.expect("seven", 4)
    script.put(b"s", b"eight")
    script.expect("eight", 5)
    script.compact(6)
    script.ask("compacted away", create(b"s", start=5, id=14), answers=2)
    script.ask("just kept", create(b"s", start=6, id=15), answers=2)
    script.silence("nothing more")


def ranges_script(run):
    script = Script(run)
    script.put(b"r/a")
    script.ask("an empty range", create(b"b", b"a"))
    script.ask("as empty", create(b"a", b"a"))
    script.ask("everything", create(b"\0", b"\0", start=2, id=5), answers=2)
    script.ask("everything, key left out", create(b"", b"\0", start=2, id=6), answers=2)
    script.ask("from a key on", create(b"r/b", b"\0", id=7))
    script.ask("a prefix", create(b"r/", b"r0", id=8))
    script.put(b"r/a")
    script.expect("three see it", 3)
    script.put(b"s")
    script.expect("three see it", 3)
    script.put(b"\xff\xff")
    script.expect("the open ones", 3)
    script.put(b"\0")
    script.expect("only those of everything", 2)
    script.delete(b"r/", b"r0")
    script.expect("a deletion", 3)
    script.silence("nothing more")


def filters_script(run):
    script = Script(run)
    script.ask("no puts", create(b"f", filters=[NOPUT]))
    script.ask("no deletions", create(b"f", filters=[NODELETE]))
    script.ask("neither", create(b"f", filters=[NOPUT, NODELETE]))
    script.ask("all, with what was before", create(b"f", previous=1))
    script.put(b"f", b"1")
    script.expect("a put", 2)
    script.put(b"f", b"2")
    script.expect("another", 2)
    script.delete(b"f")
    script.expect("a deletion", 2)
    script.put(b"f", b"3")
    script.expect("created anew: nothing was before", 2)
    script.ask("history, filtered", create(b"f", start=2, filters=[NOPUT], id=8), answers=2)
    script.ask("history, with before", create(b"f", start=2, previous=1, id=9), answers=2)
    script.silence("nothing more")


def order_script(run):
    """Many requests in one frame: answers in their order, one revision in one answer."""
    script = Script(run)
    script.put(b"o", b"old")
    script.stream.send(*(create(b"o", start=2 if n % 2 else 0) for n in range(20)))
    got = [response_of(script.stream.receive()) for _ in range(30)]
    created = [one["id"] for one in got if one.get("created")]
    run.test.assertEqual(created, list(range(20)))
    seen = set()
    for one in got:
        seen.add(one["id"]) if one.get("created") else run.test.assertIn(one["id"], seen)
    run.note("history of the odd ones", sorted(o["id"] for o in got if "events" in o))
    script.put_many([(b"o", b"1"), (b"p", b"2"), (b"q", b"3")])
    for _ in range(20):
        one = response_of(script.stream.receive())
        run.test.assertEqual(len(one["events"]), 1)
    script.ask("a range of it", create(b"o", b"r", start=3, id=50), answers=2)
    script.put_many([(b"q", b"6"), (b"o2", b"5"), (b"p", b"4")])
    script.expect("in the order of the operations", 1)


def progress_script(run):
    script = Script(run)
    script.put(b"p")
    script.ask("idle, notified", create(b"p", progress=1))
    script.ask("idle, not notified", create(b"p"))
    # The first interval may have begun before the watcher: what counts is what is said.
    noted = [script.stream.receive(5 * PROGRESS_INTERVAL_MS / 1000) for _ in range(2)]
    run.note("progress by time", [response_of(message) for message in noted])
    script.put(b"other")
    script.stream.send(cancel(0))
    message = response_of(script.stream.receive())
    while not message.get("canceled"):
        message = response_of(script.stream.receive())
    run.note("cancelled", message)
    script.ask("asked for", PROGRESS)
    script.put(b"p")
    script.expect("the event", 1)
    script.ask("asked for again", PROGRESS)


class StreamTest(DifferentialTest):
    """Message by message."""

    def test_ids(self):
        self.compare(ids_script, 1)

    def test_starts(self):
        self.compare(starts_script, 1)

    def test_ranges(self):
        self.compare(ranges_script, 1)

    def test_filters_and_previous_pairs(self):
        self.compare(filters_script, 1)

    def test_order(self):
        self.compare(order_script, 1)

    def test_progress(self):
        interval = f"--experimental-watch-progress-notify-interval={PROGRESS_INTERVAL_MS}ms"
        self.compare(progress_script, 1, extra=[interval])


class BareStreamTest(harness.NodeTest):
    """What cannot be compared as text."""

    def setUp(self):
        super().setUp()
        cluster = Cluster(self, size=1).start()
        self.member = cluster.members[0]
        self.run_on = Run(self, cluster.members)
        self.addCleanup(self.run_on.close)
        self.run_on.wait_ready()

    def test_fragments_hold_all_events_of_a_large_revision(self):
        script = Script(self.run_on)
        value = b"v" * 400_000
        keys = [b"f/%d" % number for number in range(8)]
        for key in keys:
            script.put(key, value)
        revision = self.run_on.revision()
        script.ask("whole", create(b"f/", b"f0", previous=1))
        script.ask("in fragments", create(b"f/", b"f0", previous=1, fragment=1))
        script.delete(b"f/", b"f0")
        got = {0: [], 1: []}
        deadline = time.monotonic() + 20
        while not (got[0] and got[1] and not got[1][-1].get("fragment")):
            self.assertLess(time.monotonic(), deadline, "the events come")
            one = response_of(script.stream.receive())
            got[one["id"]].append(one)
        self.assertEqual(len(got[0]), 1)
        self.assertGreater(len(got[1]), 1)
        self.assertTrue(all(one.get("fragment") for one in got[1][:-1]))
        for pieces in got.values():
            events = [event for one in pieces for event in one["events"]]
            self.assertEqual([event[1][0] for event in events], keys)
            self.assertTrue(all(event[2][4] == value for event in events))
            self.assertEqual({one["revision"] for one in pieces}, {revision + 1})

    def test_a_half_closed_stream_ends_well(self):
        self.skip_for_etcd("3.4 keeps it open")
        script = Script(self.run_on)
        script.ask("one", create(b"a"))
        script.put(b"a")
        script.expect("its event", 1)
        script.stream.half_close()
        reply = script.stream.end()
        self.assertEqual((reply.status, reply.body), (0, b""), repr(reply))

    def test_without_watchers_there_is_no_progress(self):
        self.skip_for_etcd("3.4 answers all the same")
        script = Script(self.run_on)
        script.stream.send(PROGRESS)
        self.assertIsNone(script.stream.receive(QUIET_S))
        script.ask("one", create(b"a"))
        self.assertEqual(script.ask("progress", PROGRESS)[0]["id"], -1)

    def test_a_negative_start_is_answered_as_compacted(self):
        self.skip_for_etcd("3.4 delivers from the beginning")
        script = Script(self.run_on)
        script.put(b"a")
        got = script.ask("negative", create(b"a", start=(1 << 64) - 5))[0]
        self.assertTrue(got["created"] and got["canceled"])
        self.assertEqual(got["id"], -1)
        self.assertIn("required revision has been compacted", got["reason"])

    def test_a_watcher_that_does_not_read_goes_on_where_it_was(self):
        """20 MB of events for a client that reads nothing, then everything."""
        script = Script(self.run_on)
        value = b"v" * 10_000
        with h2client.Connection(
            self.member.client_port, window=65535, auto_window=False, timeout=20
        ) as slow:
            stream = h2client.Stream(slow, WATCH)
            stream.send(create(b"slow"))
            self.assertTrue(response_of(stream.receive())["created"])
            for number in range(2000):
                script.put(b"slow", b"%d " % number + value)
            memory = self.member.memory_kib() // 1024
            slow.auto_window = True
            grant = 1 << 30
            for target in (0, stream.id):
                slow.send(
                    h2client.frame(
                        h2client.WINDOW_UPDATE, 0, target, (grant - (1 << 20)).to_bytes(4, "big")
                    )
                )
            expected = 0
            while expected < 2000:
                message = stream.receive(20)
                self.assertIsNotNone(message, f"after {expected} events")
                for event in response_of(message)["events"]:
                    self.assertEqual(int(event[1][4].split(b" ", 1)[0]), expected)
                    expected += 1
        tell(f"2,000 events of 10 kB that nobody read: server at {memory} MiB")


if __name__ == "__main__":
    harness.main()
