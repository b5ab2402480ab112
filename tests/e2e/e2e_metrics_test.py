#!/usr/bin/env python3
"""Aim: the page /metrics of a real node is what Prometheus takes, and docs/METRICS.md lists what is
on it, no less and no more. Method: Debian's promtool, and the table of the document."""
import re
import shutil
import subprocess
import time

import h2client
import harness

DOCUMENT = harness.ROOT / "docs/METRICS.md"
NAMED_BY_OTHERS = ("etcd_", "raft_", "grpc_request_")
# Only where its thing is: there is no leader, say.
NOT_ALWAYS = {
    "metastore_raft_leader",
    # One series a peer: none on a member alone.
    "etcd_network_active_peers",
    "etcd_network_disconnected_peers_total",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_sent_failures_total",
    "metastore_peer_link_up",
    "metastore_peer_queued_bytes",
    "metastore_peer_messages_total",
    "metastore_peer_dropped_total",
    "metastore_peer_raw_bytes_total",
}


def families(page):
    """Type of each metric on the page."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, flags=re.M))


def values(page):
    """Value of each series, by its text."""
    return {
        series: float(value)
        for series, value in re.findall(r"^([^#\s]\S*) (\S+)$", page, flags=re.M)
    }


class MetricsTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        self.skip_for_etcd("its own page")
        self.server = self.node().start()

    def page(self):
        return self.server.http_get("/metrics")[1].decode()

    def put(self, count):
        with h2client.Connection(self.server.client_port) as connection:
            for i in range(count):
                self.assertEqual(connection.put(b"key/%d" % i, b"v" * 100).status, 0)

    def test_promtool_takes_the_page(self):
        if shutil.which("promtool") is None:
            self.skipTest("promtool is not installed (package prometheus)")
        self.put(20)
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=self.page(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # 0: nothing to say; 3: advice on names, of which those that others gave are beyond us.
        self.assertIn(done.returncode, (0, 3), done.stderr)
        advice = (done.stdout + done.stderr).splitlines()
        self.assertEqual([line for line in advice if not line.startswith(NAMED_BY_OTHERS)], [])

    def test_the_document_lists_the_page(self):
        self.put(1)
        row = r"^\| `([a-z_]+)`[^|]*\| (counter|gauge|histogram) \|"
        documented = dict(re.findall(row, DOCUMENT.read_text(), flags=re.M))
        shown = families(self.page())
        self.assertEqual({n: t for n, t in shown.items() if documented.get(n) != t}, {})
        self.assertEqual(set(documented) - set(shown) - NOT_ALWAYS, set())

    def test_flushes_and_calls_add_up(self):
        before = values(self.page())
        self.put(50)
        after = values(self.page())
        handled = (
            'grpc_server_handled_total{grpc_service="etcdserverpb.KV",grpc_method="Put",'
            'grpc_type="unary",grpc_code="OK"}'
        )
        self.assertEqual(after[handled] - before[handled], 50)
        for name in ("etcd_mvcc_put_total", "metastore_wal_frame_requests_sum"):
            self.assertGreaterEqual(after[name] - before[name], 50, name)
        flush = "etcd_disk_wal_fsync_duration_seconds"
        # A promise may become durable between two looks of one scrape; there is only one look.
        self.assertEqual(after[f"{flush}_count"], after["metastore_wal_durable_writes_total"])
        self.assertEqual(after[f'{flush}_bucket{{le="+Inf"}}'], after[f"{flush}_count"])
        self.assertGreater(after[f"{flush}_sum"], before[f"{flush}_sum"])
        for i in range(14):  # etcd's buckets are among ours
            self.assertIn(f'{flush}_bucket{{le="{0.001 * 2**i:.12g}"}}', after)

    def test_a_client_that_asks_is_told_the_stages_of_its_write(self):
        request = h2client.put_request(b"a", b"1")
        with h2client.Connection(self.server.client_port) as connection:
            silent = connection.call("/etcdserverpb.KV/Put", request)
            self.assertNotIn("metastore-stages", silent.trailers)
            begin = time.monotonic()
            reply = connection.call(
                "/etcdserverpb.KV/Put", request, extra=[("metastore-stages", "1")]
            )
            took_us = (time.monotonic() - begin) * 1e6
            self.assertEqual(reply.status, 0)
        stages = dict(part.split("=") for part in reply.trailers["metastore-stages"].split(","))
        self.assertEqual(list(stages), ["gather", "queue", "flush", "apply", "send"])
        spans = {name: float(value) for name, value in stages.items()}
        self.assertTrue(all(span >= 0 for span in spans.values()), spans)
        self.assertGreater(spans["flush"], 0)
        self.assertLess(sum(spans.values()), took_us)

    def test_process_numbers_are_those_of_the_kernel(self):
        now = values(self.page())
        self.assertAlmostEqual(
            now["process_resident_memory_bytes"] / 1024, self.server.memory_kib(), delta=4096
        )
        self.assertAlmostEqual(now["process_start_time_seconds"], time.time(), delta=120)
        self.assertGreater(now["process_open_fds"], 3)
        before = now["process_cpu_seconds_total"]
        self.put(500)
        self.assertGreaterEqual(values(self.page())["process_cpu_seconds_total"], before)


if __name__ == "__main__":
    harness.main()
