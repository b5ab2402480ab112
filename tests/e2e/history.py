"""What clients did to a store, and whether one order of all of it explains what they saw.

Every answer carries the store's revision, so the order is given: a write stands at its own
revision, a read at that of its answer's header. What is left to check is that the order keeps real
time (nothing answered before a call began stands after it, no write gets a revision that was seen
before it began), and that reads and final states hold what the writes before them made.
A call without an answer may have happened or not, and its value may show up from then on.
"""
import bisect
import threading
import time


class Op:
    """One call. `end` is None until it is answered with success."""

    __slots__ = ("kind", "key", "value", "begin", "end", "revision", "mod_revision")

    def __init__(self, kind, key, value):
        self.kind, self.key, self.value = kind, key, value  # of a read: what it found, or None
        self.begin, self.end = time.monotonic(), None
        self.revision = self.mod_revision = 0

    def __repr__(self):
        value = None if self.value is None else self.value[:40]
        return (
            f"<{self.kind} {self.key.decode()} = {value!r} at revision {self.revision} (key's "
            f"{self.mod_revision}), {self.begin:.4f} to {self.end or 0:.4f} s>"
        )


class Violation(AssertionError):
    """The store did what no correct store does."""


class History:
    """Of client threads: begin(), put_done() and get_done() are for them, the rest for after."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ops = []

    def begin(self, kind, key, value=None):
        op = Op(kind, key, value)
        with self.lock:
            self.ops.append(op)
        return op

    @staticmethod
    def put_done(op, revision):
        op.revision = op.mod_revision = revision
        op.end = time.monotonic()

    @staticmethod
    def get_done(op, revision, mod_revision, value):
        op.revision, op.mod_revision, op.value = revision, mod_revision, value
        op.end = time.monotonic()

    def acknowledged(self, kind="put"):
        return [op for op in self.ops if op.kind == kind and op.end is not None]

    def longest_gap(self, since, until):
        """Seconds of the longest time between two acknowledged writes in an interval."""
        ends = sorted(op.end for op in self.acknowledged() if since <= op.end <= until)
        marks = [since, *ends, until]
        return max(later - earlier for earlier, later in zip(marks, marks[1:]))

    # Checks

    def check(self):
        """Raises Violation with the first thing that no order explains."""
        self._index()
        self._check_real_time()
        for op in self.acknowledged("get"):
            self._check_found(op.key, op.value, op.mod_revision, op.revision, op)

    def check_state(self, pairs, header_revision, who):
        """`pairs` (key, value, mod_revision) is all that a member holds, at `header_revision`."""
        self._index()
        if header_revision < self.revision_max:
            raise Violation(
                f"{who} is at revision {header_revision}, acknowledged was {self.revision_max}"
            )
        state = {key: (value, revision) for key, value, revision in pairs}
        for key in self.revisions_of:
            value, revision = state.get(key, (None, 0))
            self._check_found(key, value, revision, header_revision, who)

    def _index(self):
        self.put_at = {}  # revision: op
        self.sent = {}  # (key, value) of every put sent
        self.revisions_of = {}  # key: acknowledged revisions, ascending
        for op in self.ops:
            if op.kind == "put":
                self.sent[(op.key, op.value)] = op
        for op in sorted(self.acknowledged(), key=lambda op: op.revision):
            other = self.put_at.setdefault(op.revision, op)
            if other is not op:
                raise Violation(f"one revision for two writes: {other}, {op}")
            self.revisions_of.setdefault(op.key, []).append(op.revision)
        self.revision_max = max(self.put_at, default=1)

    def _check_real_time(self):
        done = [op for op in self.ops if op.end is not None]
        floor, newest, ended = 0, None, iter(sorted(done, key=lambda op: op.end))
        waiting = next(ended, None)
        for op in sorted(done, key=lambda op: op.begin):
            while waiting is not None and waiting.end < op.begin:
                if waiting.revision > floor:
                    floor, newest = waiting.revision, waiting
                waiting = next(ended, None)
            if op.revision < floor or (op.kind == "put" and op.revision == floor):
                raise Violation(f"{op} began after {newest} had been answered")

    def _check_found(self, key, value, mod_revision, revision, who):
        """A store at `revision` holds `value` of `mod_revision` under `key`, or nothing (0)."""
        known = self.revisions_of.get(key, [])
        at = bisect.bisect_right(known, revision)
        newest = known[at - 1] if at else 0
        if mod_revision < newest:
            raise Violation(
                f"LOST or stale: {self.put_at[newest]}, found revision {mod_revision} by {who}"
            )
        if mod_revision > revision:
            raise Violation(f"a key newer than its store: {who}")
        if mod_revision == 0:
            return
        written = self.put_at.get(mod_revision)
        if written is not None and (written.key, written.value) != (key, value):
            raise Violation(f"{written} is {key} = {value!r} for {who}")
        if written is None:
            sent = self.sent.get((key, value))
            if sent is None or sent.end is not None:
                raise Violation(f"{key} = {value!r} at {mod_revision} was not written so: {who}")
