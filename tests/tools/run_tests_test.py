#!/usr/bin/env python3
"""Aim: tools/run_tests.py joins the tests of several builds into one run, says what was skipped and
why, and ends with ctest's summary. Method: hand-written ctest folders of shell commands.
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

RUN_TESTS = Path(__file__).resolve().parents[2] / "tools" / "run_tests.py"


def test_file(entries):
    """CTestTestfile.cmake of (name, shell text, properties)."""
    lines = []
    for name, shell, properties in entries:
        lines.append(f'add_test({name} "/bin/sh" "-c" [==[{shell}]==])')
        if properties:
            lines.append(f"set_tests_properties({name} PROPERTIES {properties})")
    return "\n".join(lines)


class RunTestsTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)

    def build(self, name, entries):
        folder = self.root / "build" / name
        folder.mkdir(parents=True)
        (folder / "CTestTestfile.cmake").write_text(test_file(entries))

    def run_tests(self, *plans):
        command = [sys.executable, str(RUN_TESTS), "--root", str(self.root), *plans]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout.splitlines()

    def test_builds_are_joined_and_labels_select(self):
        self.build("one", [("a", "true", 'LABELS "x"'), ("b", "true", 'LABELS "y"')])
        two = [("a", "true", "x"), ("b", "false", "y"), ("c", "true", "z"), ("d", "false", "zz")]
        self.build("two", [(name, shell, f'LABELS "{label}"') for name, shell, label in two])
        status, lines = self.run_tests("one=", "two=x,z")
        self.assertEqual(status, 0, lines)
        self.assertIn("tests: one 2, two 2", lines)
        self.assertTrue(any(line.startswith("100% tests passed") for line in lines[-12:]), lines)

    def test_a_failure_is_named_by_build_and_fails_the_run(self):
        self.build("one", [("good", "true", ""), ("bad", 'echo "broken [[here]]"; exit 3', "")])
        status, lines = self.run_tests("one=")
        self.assertNotEqual(status, 0)
        text = "\n".join(lines)
        self.assertIn("broken [[here]]", text)
        self.assertRegex(text, r"one\.bad \(Failed\)")
        self.assertNotRegex(text, r"one\.good")

    def test_skips_come_with_their_reasons_before_the_summary(self):
        gtest = r'printf "a.cc:7: Skipped\nno such ring\n\n[  SKIPPED ] A.B (0 ms)\n"'
        self.build(
            "one",
            [
                ("script", "echo SKIP: no loop device; exit 77", "SKIP_RETURN_CODE 77"),
                ("mute", "exit 77", "SKIP_RETURN_CODE 77"),
                ("unit", gtest, r'SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]"'),
                ("partly", "echo SKIPPED: one of two: no etcd", ""),
                ("fine", "true", ""),
            ],
        )
        status, lines = self.run_tests("one=")
        self.assertEqual(status, 0, lines)
        skipped = sorted(line for line in lines if line.startswith("skipped: "))
        self.assertEqual(
            skipped,
            [
                "skipped: one.mute: it printed no reason",
                "skipped: one.partly: one of two: no etcd",
                "skipped: one.script: no loop device",
                "skipped: one.unit: no such ring",
            ],
        )
        summary = next(i for i, line in enumerate(lines) if "tests passed" in line)
        self.assertGreater(summary, max(lines.index(line) for line in skipped))

    def test_properties_go_along(self):
        self.build(
            "one",
            [
                ("env", 'test "$A" = 1 && test "$B" = "2 3"', 'ENVIRONMENT "A=1;B=2 3"'),
                ("slow", "sleep 5", "TIMEOUT 1"),
            ],
        )
        status, lines = self.run_tests("one=")
        self.assertNotEqual(status, 0)
        text = "\n".join(lines)
        self.assertRegex(text, r"one\.slow \(Timeout\)")
        self.assertNotRegex(text, r"one\.env \(Failed\)")

    def test_no_tests_at_all_is_a_failure(self):
        self.build("one", [])
        status, lines = self.run_tests("one=")
        self.assertNotEqual(status, 0)
        self.assertIn("skipped: build/one has no tests to run for this plan", lines)


if __name__ == "__main__":
    unittest.main()
