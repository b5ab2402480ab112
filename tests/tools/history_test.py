#!/usr/bin/env python3
"""Aim: the judge of the cluster tests (tests/e2e/history.py) finds each kind of wrong answer and
accepts what only looks wrong. Method: small histories with times and revisions written by hand."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from history import History, Violation  # noqa: E402


class HistoryTest(unittest.TestCase):
    def setUp(self):
        self.history = History()

    def put(self, key, value, begin, end=None, revision=0):
        """Without an end: not answered."""
        op = self.history.begin("put", key, value)
        op.begin, op.end, op.revision, op.mod_revision = begin, end, revision, revision

    def get(self, key, value, begin, end, revision, mod_revision):
        op = self.history.begin("get", key)
        self.history.get_done(op, revision, mod_revision, value)
        op.begin, op.end = begin, end

    def wrong(self, text):
        with self.assertRaises(Violation) as caught:
            self.history.check()
        self.assertIn(text, str(caught.exception))

    def wrong_state(self, pairs, revision, text):
        with self.assertRaises(Violation) as caught:
            self.history.check_state(pairs, revision, "m1")
        self.assertIn(text, str(caught.exception))

    def test_accepts_calls_that_overlap_in_any_order(self):
        self.put(b"a", b"1", 0, 5, revision=3)
        self.put(b"a", b"2", 1, 4, revision=2)
        self.get(b"a", b"2", 1, 5, revision=2, mod_revision=2)
        self.get(b"a", None, 0, 5, revision=1, mod_revision=0)
        self.get(b"a", b"1", 6, 7, revision=3, mod_revision=3)
        self.history.check()

    def test_accepts_what_was_not_answered_whether_it_happened_or_not(self):
        self.put(b"a", b"1", 0, 1, revision=2)
        self.put(b"a", b"2", 1)
        self.put(b"a", b"3", 1)
        self.get(b"a", b"3", 3, 4, revision=3, mod_revision=3)
        self.history.check()
        self.history.check_state([(b"a", b"3", 3)], 3, "m1")

    def test_finds_a_stale_read(self):
        self.put(b"a", b"1", 0, 1, revision=2)
        self.put(b"a", b"2", 2, 3, revision=3)
        self.get(b"a", b"1", 4, 5, revision=2, mod_revision=2)
        self.wrong("had been answered")

    def test_finds_a_read_behind_another_read(self):
        self.put(b"a", b"1", 0)
        self.get(b"a", b"1", 1, 2, revision=2, mod_revision=2)
        self.get(b"a", None, 3, 4, revision=1, mod_revision=0)
        self.wrong("had been answered")

    def test_finds_an_old_value_under_a_new_revision(self):
        self.put(b"a", b"1", 0, 1, revision=2)
        self.put(b"a", b"2", 2, 3, revision=3)
        self.get(b"a", b"1", 4, 5, revision=3, mod_revision=2)
        self.wrong("LOST or stale")

    def test_finds_a_revision_that_goes_back(self):
        self.put(b"a", b"1", 0, 1, revision=7)
        self.put(b"b", b"2", 2, 3, revision=6)
        self.wrong("had been answered")

    def test_finds_a_revision_given_twice(self):
        self.put(b"a", b"1", 0, 3, revision=7)
        self.put(b"b", b"2", 1, 2, revision=7)
        self.wrong("one revision for two writes")

    def test_finds_a_value_that_nobody_wrote(self):
        self.put(b"a", b"1", 0, 1, revision=2)
        self.get(b"a", b"9", 2, 3, revision=3, mod_revision=3)
        self.wrong("was not written so")

    def test_finds_an_acknowledged_write_again_under_another_revision(self):
        self.put(b"a", b"1", 0, 1, revision=2)
        self.get(b"a", b"1", 2, 3, revision=3, mod_revision=3)
        self.wrong("was not written so")

    def test_finds_another_value_at_an_acknowledged_revision(self):
        self.put(b"a", b"1", 0, 1, revision=2)
        self.put(b"a", b"2", 0)
        self.get(b"a", b"2", 2, 3, revision=2, mod_revision=2)
        self.wrong("is b'a' = b'2'")

    def test_finds_a_lost_write_in_a_state(self):
        self.put(b"a", b"1", 0, 1, revision=2)
        self.put(b"b", b"2", 2, 3, revision=3)
        self.wrong_state([(b"b", b"2", 3)], 3, "LOST")
        self.wrong_state([(b"a", b"1", 2)], 2, "acknowledged was 3")

    def test_measures_the_longest_time_without_a_write(self):
        for at in (1, 2, 6, 7):
            self.put(b"a", b"%d" % at, at - 1, at, revision=at + 1)
        self.assertEqual(self.history.longest_gap(1, 7), 4)
        self.assertEqual(self.history.longest_gap(6.5, 10), 3)


if __name__ == "__main__":
    unittest.main()
