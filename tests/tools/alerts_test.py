#!/usr/bin/env python3
"""Aim: the alert rules of deploy/ are what Prometheus takes, fire when they should and only then,
and ask only for metrics that exist. Method: Debian's promtool, over the rules and
deploy/alerts_test.yml; the tables of docs/METRICS.md."""
import re
import shutil
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/alerts.yml"
TESTS = ROOT / "deploy/alerts_test.yml"
# Each has an alert of its own.
ALERTED = [
    "raft_leader_changes_total",
    "raft_election_timeout_total",
    "raft_heartbeat_timeout_total",
    "raft_propose_duration_ms",
    "raft_apply_duration_ms",
    "raft_inflight_messages",
    "grpc_request_duration_ms",
    "grpc_request_rate",
    "grpc_error_rate",
]


def metrics_asked_for():
    """Names in the rules' expressions, without the suffixes of a histogram's series."""
    text = RULES.read_text()
    expressions = re.findall(r"expr: (?:>-\n)?((?:.+\n)(?:          .+\n)*)", text)
    assert len(expressions) == text.count("- alert: ")
    names = re.findall(r"\b(?:metastore|etcd|raft|grpc|process|os)_[a-z_]+", "".join(expressions))
    return {name.removesuffix("_bucket") for name in names}


class AlertsTest(unittest.TestCase):
    def promtool(self, *arguments):
        if shutil.which("promtool") is None:
            self.skipTest("promtool is not installed (package prometheus)")
        done = subprocess.run(
            ["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_prometheus_takes_the_rules(self):
        self.promtool("check", "rules", str(RULES))

    def test_they_fire_when_they_should(self):
        self.promtool("test", "rules", str(TESTS))

    def test_every_alert_is_tested(self):
        alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
        self.assertEqual(len(alerts), len(set(alerts)))
        tested = set(re.findall(r'alertname="(\w+)"', TESTS.read_text()))
        self.assertEqual(set(alerts), tested)

    def test_they_ask_for_metrics_that_exist(self):
        document = (ROOT / "docs/METRICS.md").read_text()
        documented = set(re.findall(r"^\| `([a-z_]+)`", document, re.M))
        self.assertEqual(metrics_asked_for() - documented, set())
        self.assertEqual(set(ALERTED) - metrics_asked_for(), set())


if __name__ == "__main__":
    unittest.main()
