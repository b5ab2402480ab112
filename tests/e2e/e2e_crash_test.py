#!/usr/bin/env python3
"""Aim: nothing acknowledged is lost by kill -9, transactions stay whole, and revisions neither
repeat nor go back. Method: writers on several connections put, delete and run two-key transactions
on the real disk while the server is killed at a random moment, at least ten times; after each
restart everything is read and held against what was acknowledged. Prints its seed; MS_E2E_SEED=N
repeats the choices (not the timing)."""
import os
import random
import threading
import time

import h2client
import harness
from h2client import field

LOOPS = int(os.environ.get("MS_E2E_CRASH_LOOPS", "12"))
WRITERS = 6
IN_FLIGHT = 8  # calls a writer has open at once
KEYS_PER_WRITER = 40


class Intent:
    """One write that was sent: what it sets each key to (None: deletes it), and its revision once
    acknowledged."""

    def __init__(self, changes):
        self.changes = changes
        self.revision = None


class Writer(threading.Thread):
    """Writes keys nobody else writes until the connection dies."""

    def __init__(self, number, loop, port, seed):
        super().__init__(daemon=True)
        self.prefix = b"w%d/" % number
        self.loop = loop
        self.random = random.Random(f"{seed}/{loop}/{number}")
        self.port = port
        self.intents = []
        self.problems = []
        self.count = 0

    def run(self):
        try:
            with h2client.Connection(self.port, timeout=30) as connection:
                self.write(connection)
        except (h2client.Closed, OSError):
            pass  # killed, as planned
        except Exception as error:  # anything else is a finding, shown by the test
            self.problems.append(f"writer {self.prefix}: {type(error).__name__}: {error}")

    def write(self, connection):
        waiting = []
        while True:
            while len(waiting) < IN_FLIGHT:
                waiting.append(self.send(connection))
            stream, intent = waiting.pop(0)
            reply = connection.finish(stream)
            if reply.status != 0:
                # A server that is dying may refuse; what is refused is not acknowledged.
                self.problems.append(f"{reply!r}")
                return
            intent.revision = h2client.revision_of(reply.response)

    def send(self, connection):
        self.count += 1
        value = b"%d.%d" % (self.loop, self.count)
        key = self.prefix + b"%02d" % self.random.randrange(KEYS_PER_WRITER)
        choice = self.random.random()
        if choice < 0.1:
            intent = Intent({key: None})
            call = ("/etcdserverpb.KV/DeleteRange", field(1, key))
        elif choice < 0.25:
            first, second = self.prefix + b"pair/a", self.prefix + b"pair/b"
            intent = Intent({first: value, second: value})
            puts = [field(2, field(2, h2client.put_request(one, value))) for one in (first, second)]
            call = ("/etcdserverpb.KV/Txn", b"".join(puts))
        else:
            intent = Intent({key: value + b"." * self.random.choice((0, 10, 200, 5000))})
            call = ("/etcdserverpb.KV/Put", h2client.put_request(key, intent.changes[key]))
        self.intents.append(intent)
        return connection.start(*call), intent


class Model:
    """What is known: per key the newest acknowledged change and every change that may have
    happened."""

    def __init__(self):
        self.newest = {}  # key: (revision, value or None)
        self.possible = {}  # key: {values that may be there: the last one read, and all sent since}
        self.maybe_deleted = (
            set()
        )  # keys whose delete was sent since the last check and not answered
        self.seen = {}  # revision: {key: value}, acknowledged or read; must never change
        self.revision_max = 1
        self.acknowledged = 0

    def learn(self, intents):
        """Takes the intents of one writer. A delete that found nothing has the revision of somebody
        else's write."""
        for intent in intents:
            for key, value in intent.changes.items():
                self.possible.setdefault(key, set()).add(value)
                if intent.revision is None:
                    if value is None:
                        self.maybe_deleted.add(key)
                    continue
                self.acknowledged += 1
                self.revision_max = max(self.revision_max, intent.revision)
                if value is None:
                    if intent.revision > self.newest.get(key, (0, None))[0]:
                        self.newest[key] = (intent.revision, None)
                    continue
                self.see(intent.revision, key, value, len(intent.changes) > 1)
                if intent.revision >= self.newest.get(key, (0, None))[0]:
                    self.newest[key] = (intent.revision, value)

    def see(self, revision, key, value, pair):
        known = self.seen.setdefault(revision, {})
        if known.get(key, value) != value:
            raise AssertionError(f"revision {revision} of {key} was {known[key]}, is {value}")
        if not pair and (set(known) - {key}):
            raise AssertionError(f"revision {revision} was given twice: {known} and {key}")
        known[key] = value

    def check(self, pairs, header_revision):
        """Raises AssertionError with the first thing that is wrong in the state read after a
        restart."""
        if header_revision < self.revision_max:
            raise AssertionError(
                f"the store went back to revision {header_revision}, acknowledged "
                f"{self.revision_max}"
            )
        state = {key: (revision, value) for key, value, revision in pairs}
        for key, (revision, value) in self.newest.items():
            if key not in state:
                if value is not None and key not in self.maybe_deleted:
                    raise AssertionError(
                        f"LOST: {key} = {value[:40]} of revision {revision} is gone, not deleted "
                        f"since"
                    )
                continue
            found_revision, found = state[key]
            if value is None and found_revision <= revision:
                raise AssertionError(f"{key}: deleted at {revision}, is there at {found_revision}")
            if found_revision < revision:
                raise AssertionError(
                    f"LOST: {key} acknowledged at {revision}, is at {found_revision}"
                )
            if found_revision == revision and found != value:
                raise AssertionError(
                    f"{key} at {revision}: acknowledged {value[:40]}, is {found[:40]}"
                )
        for key, (revision, value) in state.items():
            if value not in self.possible.get(key, ()):
                raise AssertionError(f"{key} holds {value[:40]}, which nobody wrote")
            self.see(revision, key, value, b"pair/" in key)
            if key.endswith(b"pair/a") and state.get(key[:-1] + b"b", (None, None)) != (
                revision,
                value,
            ):
                raise AssertionError(f"half a transaction: {key} at {revision} without its pair")
        # From here on only this state and what is sent next may be seen: what was in flight has
        # happened or never will.
        self.revision_max = max(self.revision_max, header_revision)
        self.newest = {
            key: state.get(key, (header_revision, None)) for key in set(self.newest) | set(state)
        }
        self.possible = {key: {value} for key, (_, value) in state.items()}
        self.maybe_deleted.clear()


class CrashTest(harness.NodeTest):
    def test_kill_dash_nine_loses_nothing(self):
        seed = int(os.environ.get("MS_E2E_SEED", "0")) or random.SystemRandom().randrange(
            1, 1 << 31
        )
        print(f"seed {seed}", flush=True)
        choices = random.Random(seed)
        model, node = Model(), self.node()
        problems = []
        begin = time.monotonic()
        for loop in range(LOOPS):
            node.start()
            self.check_state(model, node, choices)
            writers = [Writer(i, loop, node.client_port, seed) for i in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(choices.uniform(0.15, 1.2))
            node.kill()
            for writer in writers:
                writer.join(30)
                self.assertFalse(writer.is_alive(), "a writer hangs although its server is dead")
                model.learn(writer.intents)
                problems += writer.problems
            if choices.random() < 0.3:  # and once more while it recovers
                node.spawn()
                time.sleep(choices.uniform(0.0, 0.2))
                node.kill()
        node.start()
        self.check_state(model, node, choices)
        print(
            f"{LOOPS} kills in {time.monotonic() - begin:.0f} s: {model.acknowledged} "
            f"acknowledged changes, revision "
            f"{model.revision_max}",
            flush=True,
        )
        self.assertEqual(problems, [])
        self.assertGreater(
            model.acknowledged, LOOPS * 20, "hardly anything was written: the test shows nothing"
        )

    def check_state(self, model, node, choices):
        """Reads everything, then writes once: its revision must be new."""
        with h2client.Connection(node.client_port, timeout=30) as connection:
            reply = connection.range(b"w", b"x")
            self.assertEqual(reply.status, 0, repr(reply))
            model.check(h2client.pairs_of(reply.response), h2client.revision_of(reply.response))
            reply = connection.put(b"probe", b"%d" % choices.randrange(1000))
            self.assertEqual(reply.status, 0, repr(reply))
            revision = h2client.revision_of(reply.response)
            self.assertGreater(revision, model.revision_max, "a revision came again after a crash")
            model.see(revision, b"probe", b"", False)
            model.revision_max = revision


class PowerOfOrderTest(harness.NodeTest):
    """What a client saw acknowledged in order must be there in order: no hole before the newest
    write."""

    def test_acknowledged_prefix_survives(self):
        node = self.node().start()
        acknowledged = []

        def write():
            try:
                with h2client.Connection(node.client_port, timeout=30) as connection:
                    while True:
                        key = b"log/%08d" % len(acknowledged)
                        if connection.put(key, b"x").status != 0:
                            return
                        acknowledged.append(key)
            except h2client.Closed:
                return

        for _ in range(3):
            thread = threading.Thread(target=write)
            thread.start()
            time.sleep(0.4)
            node.kill()
            thread.join(30)
            node.start()
            with h2client.Connection(node.client_port, timeout=30) as connection:
                keys = [
                    pair[0]
                    for pair in h2client.pairs_of(connection.range(b"log/", b"log0").response)
                ]
            # The one in flight may be there too.
            self.assertEqual(keys[: len(acknowledged)], acknowledged)
            self.assertLessEqual(len(keys), len(acknowledged) + 1)


if __name__ == "__main__":
    harness.main()
