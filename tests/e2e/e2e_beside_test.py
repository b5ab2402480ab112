#!/usr/bin/env python3
"""Aim: ten thousand idle, half-open, slow or hurried clients neither hurt another client nor make
the server grow without bound. Method: one client puts all the time beside them; the slowest put,
the server's memory and its descriptors are looked at."""
import os
import socket
import struct
import threading
import time

import h2client
import harness
from h2client import (
    DATA,
    END_HEADERS,
    HEADERS,
    PREFACE,
    SETTINGS,
    frame,
    grpc_message,
    request_headers,
)
from hostile import PUT_LIMIT_S, HostileTest

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
IDLE_CONNECTIONS = 10_000


class BesideTest(HostileTest):
    """One client puts all the time; it must not notice the others."""

    def setUp(self):
        super().setUp()
        self.latencies = []
        self.problems = []
        self.stop = threading.Event()
        self.putter = threading.Thread(target=self.put_on, daemon=True)

    def put_on(self):
        try:
            with h2client.Connection(self.port, timeout=30) as connection:
                while not self.stop.is_set():
                    begin = time.monotonic()
                    reply = connection.put(b"beside", b"x" * 256)
                    self.latencies.append(time.monotonic() - begin)
                    if reply.status != 0:
                        self.problems.append(repr(reply))
                    time.sleep(0.002)
        except Exception as error:
            self.problems.append(repr(error))

    def finish_beside(self, what):
        self.stop.set()
        self.putter.join(60)
        self.assertEqual(self.problems, [])
        ordered = sorted(self.latencies)
        middle, last = ordered[len(ordered) // 2], ordered[-1]
        print(
            f"{what}: {len(ordered)} puts beside, median {middle * 1e3:.1f} ms, slowest "
            f"{last * 1e3:.1f} ms, server "
            f"{self.server.memory_kib() // 1024} MiB",
            flush=True,
        )
        self.assertLess(last, PUT_LIMIT_S)

    def test_ten_thousand_idle_connections(self):
        if harness.raise_open_files() < IDLE_CONNECTIONS + 200:
            self.skipTest(
                f"the limit of open files is {harness.raise_open_files()}, "
                f"{IDLE_CONNECTIONS + 200} are needed"
            )
        before = self.server.memory_kib()
        self.putter.start()
        idle = []
        try:
            for i in range(IDLE_CONNECTIONS):
                one = socket.create_connection(("127.0.0.1", self.port), timeout=30)
                idle.append(one)
                if i % 2 == 0:  # every other one says hello first
                    one.sendall(PREFACE + frame(SETTINGS))
            time.sleep(1)
            grown = self.server.memory_kib() - before
            print(
                f"{len(idle)} idle connections: {grown // 1024} MiB, {grown / len(idle):.1f} KiB "
                f"each",
                flush=True,
            )
            self.assertEqual(self.server.etcdctl("put", "a", "1").output, "OK\n")
            if not harness.Config.is_etcd():
                self.assertLess(grown / len(idle), 32, "KiB a connection")
        finally:
            for one in idle:
                one.close()
        self.finish_beside("10,000 idle connections")
        self.well()

    def test_a_closing_connection_leaves_new_ones_alone(self):
        """A descriptor is used again at once: what still ends the old connection must not reach
        the new one."""
        self.putter.start()
        for _ in range(600):
            self.assertTrue(self.server.healthy())
            with h2client.Connection(self.port) as connection:
                for key in (b"a", b"b", b"c"):
                    self.assertEqual(connection.put(key, b"x").status, 0)
        self.finish_beside("600 connections, each after another one's end")

    def test_half_open_connections(self):
        self.putter.start()
        beginnings = (
            b"",
            PREFACE[:10],
            PREFACE,
            PREFACE + frame(SETTINGS)[:4],
            PREFACE + frame(SETTINGS) + frame(HEADERS, 0, 1, request_headers(PUT)[:10]),
            PREFACE + frame(SETTINGS) + frame(HEADERS, END_HEADERS, 1, request_headers(PUT)),
            PREFACE
            + frame(SETTINGS)
            + frame(HEADERS, END_HEADERS, 1, request_headers(PUT))
            + frame(DATA, 0, 1, grpc_message(b"\x0a\x01a")[:-1]),
            b"GET /health HTTP/1.1\r\nHo",
        )
        held = []
        for i in range(800):
            one = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            one.sendall(beginnings[i % len(beginnings)])
            if i % 3 == 0:
                one.shutdown(socket.SHUT_WR)
            if i % 3 == 1:  # gone without a word: a reset
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.close()
                continue
            held.append(one)
        time.sleep(1)
        for one in held:
            one.close()
        self.finish_beside("half-open connections")

    def test_slow_readers(self):
        """Clients ask for far more than they read: the server may not hold it all for them."""
        self.skip_for_etcd("it holds all answers in memory, gigabytes here")
        with h2client.Connection(self.port) as connection:
            for i in range(8):
                self.assertEqual(connection.put(b"slow/%d" % i, os.urandom(1_000_000)).status, 0)
        time.sleep(1)
        before = self.server.memory_kib()
        self.putter.start()
        request = h2client.range_request(b"slow/", b"slow0", serializable=True)
        slow = []
        peak = before
        for number in range(20):
            # Half of them grant a large window and do not read; half grant a tiny window.
            window = h2client.BIG_WINDOW if number % 2 == 0 else 1000
            connection = h2client.Connection(
                self.port, timeout=2, window=window, auto_window=False, receive_buffer=4096
            )
            slow.append(connection)
            try:
                for _ in range(20):
                    connection.start(RANGE, request)
            except (h2client.Closed, TimeoutError):
                pass
            peak = max(peak, self.server.memory_kib())
        for _ in range(20):
            time.sleep(0.1)
            peak = max(peak, self.server.memory_kib())
        print(
            f"20 slow readers asked for {20 * 20 * 8} MB: the server grew by "
            f"{(peak - before) // 1024} MiB",
            flush=True,
        )
        for connection in slow:
            connection.close()
        self.finish_beside("slow readers")
        self.assertLess(peak - before, 1024 * 1024)
        harness.wait_until(
            lambda: self.server.memory_kib() - before < 512 * 1024, 20, "memory is given back"
        )

    def test_connections_that_come_and_go(self):
        self.putter.start()
        for _ in range(3000):
            one = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            one.sendall(PREFACE + frame(SETTINGS))
            one.close()
        self.finish_beside("3,000 connections that came and went")
        descriptors = f"/proc/{self.server.process.pid}/fd"
        harness.wait_until(lambda: len(os.listdir(descriptors)) < 200, 20, "descriptors are closed")


if __name__ == "__main__":
    harness.main()
