#!/usr/bin/env python3
"""Aim: no bytes from a client can end the server, make it grow without bound, or hurt other
clients. Method: wrong, absurd and slow input against one real server, each time beside a well-
behaved client that must go on; for protocol faults the answer that RFC 9113 and gRPC prescribe is
expected, for silence and slowness bounded memory."""

import random
import socket
import struct


import h2client
import harness
from h2client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    grpc_message,
    literal,
    request_headers,
)
from hostile import HostileTest

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
UNIMPLEMENTED, INTERNAL, INVALID_ARGUMENT, RESOURCE_EXHAUSTED = 12, 13, 3, 8
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED = 1, 3, 5
FRAME_SIZE_ERROR, COMPRESSION_ERROR = 6, 9


class GarbageTest(HostileTest):
    def test_garbage_is_closed(self):
        generator = random.Random(7)
        inputs = {
            "random bytes": bytes(generator.randrange(256) for _ in range(5000)),
            "zeros": bytes(5000),
            "TLS client hello": bytes.fromhex("16030100c8010000c40303") + bytes(200),
            "a broken preface": b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n" + bytes(100),
            "preface, then text": PREFACE + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
            "preface, then random": PREFACE + bytes(generator.randrange(256) for _ in range(5000)),
            "not HTTP": b"HELO example\r\n\r\n",
            "HTTP/1.1 with a bad version": b"GET / HTTP/9.9\r\n\r\n",
        }
        for name, data in inputs.items():
            with self.subTest(name):
                if harness.Config.is_etcd() and name == "TLS client hello":
                    continue  # Go waits for a line end
                got, closed = self.raw(data, timeout=15)
                self.assertTrue(closed or b"400" in got, f"still open, sent {got[:80]!r}")
        self.well()

    def test_endless_http1_head_is_cut_off(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as connection:
            before = self.server.memory_kib()
            with self.assertRaises(OSError):
                connection.sendall(b"GET /health HTTP/1.1\r\n")
                for i in range(40_000):
                    connection.sendall(b"X-Header-%d: " % i + b"a" * 1000 + b"\r\n")
                    if i % 100 == 0:
                        connection.setblocking(False)
                        try:
                            if connection.recv(65536) == b"":
                                raise OSError("closed, as it should be")
                        except BlockingIOError:
                            pass
                        connection.settimeout(15)
            self.assert_bounded(self.server.memory_kib() - before, 64, "an endless head")
        self.well()


class FrameTest(HostileTest):
    """Each connection error of RFC 9113: GOAWAY or a closed connection, and nobody else notices."""

    def assert_connection_error(self, data, codes=(), lenient_etcd=False):
        """`data` follows a correct preface; the connection must end, with one of `codes` if a
        GOAWAY came."""
        connection = h2client.Connection(self.port, timeout=10)
        try:
            connection.send(data)
            while True:
                connection.poll(10)
        except h2client.Closed:
            if codes and connection.goaway and not harness.Config.is_etcd():
                self.assertIn(connection.goaway[1], codes, f"GOAWAY {connection.goaway}")
        except TimeoutError:
            if not (lenient_etcd and harness.Config.is_etcd()):
                self.assertIsNotNone(
                    connection.goaway, "the connection is still open, and no GOAWAY came"
                )
        finally:
            connection.close()

    def test_connection_errors(self):
        headers = request_headers(PUT)
        cases = {
            "frame above the maximum size": (
                frame(DATA, 0, 1, bytes(20000)),
                (FRAME_SIZE_ERROR, PROTOCOL_ERROR),
            ),
            "DATA on stream 0": (frame(DATA, 0, 0, b"x"), (PROTOCOL_ERROR,)),
            "HEADERS on stream 0": (frame(HEADERS, END_HEADERS, 0, headers), (PROTOCOL_ERROR,)),
            "HEADERS on an even stream": (
                frame(HEADERS, END_HEADERS, 2, headers),
                (PROTOCOL_ERROR,),
            ),
            "DATA on an idle stream": (frame(DATA, 0, 9, b"x"), (PROTOCOL_ERROR, STREAM_CLOSED)),
            "SETTINGS of 5 bytes": (frame(SETTINGS, 0, 0, b"12345"), (FRAME_SIZE_ERROR,)),
            "SETTINGS on a stream": (frame(SETTINGS, 0, 1), (PROTOCOL_ERROR,)),
            "SETTINGS ACK with a payload": (frame(SETTINGS, ACK, 0, bytes(6)), (FRAME_SIZE_ERROR,)),
            "initial window above 2^31-1": (
                frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
                (FLOW_CONTROL_ERROR,),
            ),
            "maximum frame size below 16384": (
                frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)),
                (PROTOCOL_ERROR,),
            ),
            "PING of 7 bytes": (frame(PING, 0, 0, bytes(7)), (FRAME_SIZE_ERROR,)),
            "PING on a stream": (frame(PING, 0, 1, bytes(8)), (PROTOCOL_ERROR,)),
            "WINDOW_UPDATE of 0": (frame(WINDOW_UPDATE, 0, 0, bytes(4)), (PROTOCOL_ERROR,)),
            "WINDOW_UPDATE of 3 bytes": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), (FRAME_SIZE_ERROR,)),
            "window overflow": (
                frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2,
                (FLOW_CONTROL_ERROR,),
            ),
            "RST_STREAM on an idle stream": (frame(RST_STREAM, 0, 7, bytes(4)), (PROTOCOL_ERROR,)),
            "RST_STREAM of 3 bytes": (
                frame(RST_STREAM, 0, 1, bytes(3)),
                (FRAME_SIZE_ERROR, PROTOCOL_ERROR),
            ),
            "PUSH_PROMISE from a client": (
                frame(5, END_HEADERS, 1, bytes(4) + headers),
                (PROTOCOL_ERROR,),
            ),
            "GOAWAY of 3 bytes": (frame(GOAWAY, 0, 0, bytes(3)), (FRAME_SIZE_ERROR,)),
            "stray CONTINUATION": (frame(CONTINUATION, END_HEADERS, 1, headers), (PROTOCOL_ERROR,)),
            "header block broken off": (
                frame(HEADERS, 0, 1, headers) + frame(PING, 0, 0, bytes(8)),
                (PROTOCOL_ERROR,),
            ),
            "padding longer than the frame": (
                frame(HEADERS, END_HEADERS | 8, 1, b"\xff" + headers[:20]),
                (PROTOCOL_ERROR,),
            ),
            "index outside the header table": (
                frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\x7f"),
                (COMPRESSION_ERROR,),
            ),
            "huffman padding of zeros": (
                frame(HEADERS, END_HEADERS, 1, b"\x00\x81\x00\x00"),
                (COMPRESSION_ERROR,),
            ),
            "table size above what was allowed": (
                frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\xff\x0f" + headers),
                (COMPRESSION_ERROR,),
            ),
        }
        for name, (data, codes) in cases.items():
            with self.subTest(name):
                # Go's server is laxer in places; there only its survival is tested.
                self.assert_connection_error(data, codes, lenient_etcd=True)
        self.well()

    def test_pings_are_answered(self):
        """Clients of Go ping to measure bandwidth, mixed with window updates, and wait for the
        answer."""
        with h2client.Connection(self.port) as connection:
            stream = connection.start(RANGE, h2client.range_request(b"a"))
            connection.send(
                frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) + frame(PING, 0, 0, b"measure1")
            )
            connection.finish(stream)
            harness.wait_until(
                lambda: connection.pings_acked == 1 or connection.poll(2), 5, "the first PING ACK"
            )
            connection.range(b"a")
            connection.send(frame(PING, 0, 0, b"measure2"))
            harness.wait_until(
                lambda: connection.pings_acked == 2 or connection.poll(2), 5, "the second PING ACK"
            )

    def test_a_stream_id_going_back_harms_nobody(self):
        """RFC 9113 wants a connection error; nghttp2, which forgets closed streams, may ignore it.
        Both will do."""
        headers = request_headers(RANGE)
        connection = h2client.Connection(self.port)
        try:
            connection.send(
                frame(HEADERS, END_HEADERS | END_STREAM, 5, headers)
                + frame(HEADERS, END_HEADERS | END_STREAM, 3, headers)
            )
            connection.next_stream = 7
            self.assertEqual(connection.put(b"a", b"b").status, 0)
        except h2client.Closed:
            pass
        finally:
            connection.close()
        self.well()

    def test_floods_are_cut_off_or_absorbed(self):
        headers = request_headers(RANGE)
        body = grpc_message(h2client.range_request(b"a"))
        reset = struct.pack(">I", 8)

        def rapid_reset(i):
            stream = 2 * i + 1
            return (
                frame(HEADERS, END_HEADERS, stream, headers)
                + frame(DATA, END_STREAM, stream, body)
                + frame(RST_STREAM, 0, stream, reset)
            )

        floods = {
            "rapid reset": rapid_reset,
            "headers without end": lambda i: frame(HEADERS, END_HEADERS, 2 * i + 1, headers),
            "pings": lambda i: frame(PING, 0, 0, struct.pack(">Q", i)),
            "settings": lambda i: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535 + i % 100)),
            "empty data": lambda i: (frame(HEADERS, END_HEADERS, 1, headers) if i == 0 else b"")
            + frame(DATA, 0, 1),
            "continuations": lambda i: (
                frame(HEADERS, 0, 1, headers) if i == 0 else frame(CONTINUATION, 0, 1, b"")
            ),
            "big continuations": lambda i: (
                frame(HEADERS, 0, 1, headers)
                if i == 0
                else frame(CONTINUATION, 0, 1, literal(f"x-{i}", "v" * 4000))
            ),
            "window updates": lambda i: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
            "priorities": lambda i: frame(PRIORITY, 0, 2 * i + 1, bytes(5)),
        }
        before = self.server.memory_kib()
        for name, make in floods.items():
            with self.subTest(name):
                self.flood(make)
                self.well()
        self.assert_bounded(self.server.memory_kib() - before, 128, f"{len(floods)} floods")

    def flood(self, make, frames=50_000):
        """Sends up to `frames` pieces without reading, until the server closes or takes no more."""
        connection = h2client.Connection(self.port, timeout=3)
        try:
            for begin in range(0, frames, 200):
                connection.send(b"".join(make(i) for i in range(begin, begin + 200)))
        except h2client.Closed:
            pass
        finally:
            connection.close()

    def test_a_bomb_of_header_bytes_is_refused(self):
        """One indexed byte names a 4,000-byte header again and again: decoded it is 64 MB."""
        entry = (
            b"\x40\x01x\x7f" + bytes([0xA1, 0x1E]) + b"v" * 4000
        )  # 127 + 0x21 + 0x1e * 128 = 4000
        before = self.server.memory_kib()
        connection = h2client.Connection(self.port, timeout=5)
        try:
            block = request_headers(RANGE) + entry
            connection.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
            connection.send(
                frame(
                    HEADERS, END_HEADERS | END_STREAM, 3, request_headers(RANGE) + b"\xbe" * 16000
                )
            )
            for _ in range(4):
                connection.poll(2)
        except (h2client.Closed, TimeoutError):
            pass
        finally:
            connection.close()
        self.assert_bounded(self.server.memory_kib() - before, 48, "a bomb of header bytes")
        self.well()

    def test_many_streams_are_bounded(self):
        """Far more calls than allowed at once: refused or queued, all answered or the connection
        ended."""
        with h2client.Connection(self.port, timeout=30) as connection:
            try:
                streams = [
                    connection.start(RANGE, h2client.range_request(b"a")) for _ in range(5000)
                ]
                ends = [connection.finish(stream, 30) for stream in streams]
                self.assertTrue(
                    all(
                        reply.status == 0 or reply.reset is not None or reply.status in (8, 14)
                        for reply in ends
                    )
                )
            except h2client.Closed:
                pass
        self.well()


class CallTest(HostileTest):
    """Wrong gRPC on correct HTTP/2: an error for the call, and the connection lives on."""

    def call(self, path, raw_body, extra=(), block=None, end=True):
        stream = self.connection.next_stream
        if block is None:
            self.connection.start(path, b"", extra, end=end, raw_body=raw_body)
        else:
            self.connection.next_stream += 2
            self.connection.replies[stream] = h2client.Reply()
            self.connection.send(
                frame(HEADERS, END_HEADERS, stream, block)
                + frame(DATA, END_STREAM, stream, raw_body)
            )
        return self.connection.finish(stream)

    def setUp(self):
        super().setUp()
        self.connection = h2client.Connection(self.port)
        self.addCleanup(self.connection.close)

    def still_usable(self):
        self.assertEqual(self.connection.put(b"a", b"b").status, 0)

    def test_unknown_method_and_service(self):
        for path, text in (
            ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
            ("/nope.Nope/Put", "unknown service nope.Nope"),
        ):
            with self.subTest(path):
                reply = self.call(path, grpc_message(b""))
                self.assertEqual((reply.status, reply.message), (UNIMPLEMENTED, text))
        reply = self.call("/nonsense", grpc_message(b""))
        self.assertIn(
            reply.status, (UNIMPLEMENTED, RESOURCE_EXHAUSTED), repr(reply)
        )  # grpc-go of 3.4: the latter
        self.still_usable()

    def test_malformed_protobuf(self):
        for body in (
            b"\xff" * 20,
            b"\x0a\x7fabc",
            b"\x0a",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ):
            with self.subTest(body):
                reply = self.call(PUT, grpc_message(body))
                self.assertEqual(reply.status, INTERNAL, repr(reply))
        self.still_usable()

    def test_broken_message_framing(self):
        cases = {
            "a body of three bytes": b"\x00\x00\x00",
            "a message cut short": grpc_message(b"\x0a\x01a")[:-1],
            "a compressed message without an encoding": grpc_message(b"\x0a\x01a", compressed=1),
            "no message": b"",
            "an impossible flag": grpc_message(b"\x0a\x01a", compressed=7),
        }
        for name, body in cases.items():
            with self.subTest(name):
                reply = self.call(PUT, body)
                self.assertTrue(
                    reply.status not in (None, 0) or reply.reset is not None, repr(reply)
                )
        self.still_usable()

    def test_wrong_content_type_and_method(self):
        reply = self.call(PUT, b"", block=request_headers(PUT, content_type="text/html"))
        self.assertTrue(
            reply.http_status == 415 or reply.reset is not None or reply.status not in (None, 0),
            repr(reply),
        )
        if not harness.Config.is_etcd():  # grpc-go of 3.4 does not look at the method
            reply = self.call(PUT, b"", block=request_headers(PUT, method="GET"))
            self.assertTrue(
                reply.http_status in (405, 415)
                or reply.reset is not None
                or reply.status not in (None, 0),
                repr(reply),
            )
        self.still_usable()

    def test_oversized_requests(self):
        reply = self.connection.put(b"a", b"x" * 1_600_000)
        self.assertEqual(
            (reply.status, reply.message), (INVALID_ARGUMENT, "etcdserver: request is too large")
        )
        self.still_usable()
        reply = self.call(PUT, b"\x00" + struct.pack(">I", 0x7FFFFFFF) + b"x" * 1000, end=False)
        self.assertEqual(reply.status, RESOURCE_EXHAUSTED, repr(reply))
        self.still_usable()
        before = self.server.memory_kib()
        with h2client.Connection(self.port, timeout=20) as connection:
            try:
                reply = connection.put(b"a", b"x" * 64_000_000)
                self.assertEqual(reply.status, RESOURCE_EXHAUSTED, repr(reply))
            except h2client.Closed:
                pass
        self.assert_bounded(self.server.memory_kib() - before, 48, "a request of 64 MB")
        self.well()

    def test_long_path_and_many_headers(self):
        with h2client.Connection(self.port, timeout=10) as connection:
            try:
                extra = [(f"x-{i}", "v" * 100) for i in range(100)]
                reply = connection.call(RANGE, h2client.range_request(b"a"), extra=extra)
                self.assertTrue(
                    reply.status == 0 or reply.reset is not None or reply.http_status == 431,
                    repr(reply),
                )
            except h2client.Closed:
                pass
        self.well()

    def test_timeouts_of_clients(self):
        for value in ("1n", "0S", "99999999H"):
            with self.subTest(value):
                reply = self.connection.call(
                    RANGE, h2client.range_request(b"a"), extra=[("grpc-timeout", value)]
                )
                allowed = (
                    (0, 2, 4) if harness.Config.is_etcd() else (0, 4)
                )  # grpc-go of 3.4: Unknown for 0S
                self.assertTrue(reply.status in allowed or reply.reset is not None, repr(reply))
        for value in ("", "x", "1", "-1S", "123456789S"):
            with self.subTest(value):
                reply = self.connection.call(
                    RANGE, h2client.range_request(b"a"), extra=[("grpc-timeout", value)]
                )
                self.assertTrue(
                    reply.status is not None or reply.reset is not None or reply.http_status == 400,
                    repr(reply),
                )
        self.still_usable()


if __name__ == "__main__":
    harness.main()
