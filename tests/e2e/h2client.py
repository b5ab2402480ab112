"""A small HTTP/2 client for gRPC calls and for sending deliberately wrong bytes. Standard library
only; header blocks of answers are decoded by libnghttp2's inflater (the same library the server
links) through ctypes.

One connection, used by one thread. Requests are literals without indexing, so that the bytes of a
test are plain to see.
"""
import ctypes
import ctypes.util
import socket
import struct
import time

(
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION,
) = range(10)
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BIG_WINDOW = 1 << 30

# Protobuf -----------------------------------------------------------------------------------------


def varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """One field: bytes and str as length-delimited, int as varint; absent when zero or empty."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(int(value)) if value else b""


def fields(message):
    """[(number, value)] of a message: ints for varints, bytes for length-delimited."""
    at, out = 0, []

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(message):
        tag = read()
        kind = tag & 7
        if kind == 0:
            out.append((tag >> 3, read()))
        elif kind == 2:
            size = read()
            out.append((tag >> 3, bytes(message[at : at + size])))
            at += size
        else:
            raise ValueError(f"wire type {kind}")
    return out


def first(message, number, default=None):
    return next((value for name, value in fields(message) if name == number), default)


def put_request(key, value):
    return field(1, key) + field(2, value)


def range_request(key, end=b"", limit=0, revision=0, serializable=False, count_only=False):
    return (
        field(1, key)
        + (field(2, end) if end else b"")
        + field(3, limit)
        + field(4, revision)
        + field(7, serializable)
        + field(9, count_only)
    )


def revision_of(response):
    """header.revision of any answer."""
    return first(first(response, 1, b""), 3, 0)


def pairs_of(range_response):
    """[(key, value, mod_revision)] of a RangeResponse."""
    out = []
    for number, value in fields(range_response):
        if number == 2:
            pair = dict(fields(value))
            out.append((pair.get(1, b""), pair.get(5, b""), pair.get(3, 0)))
    return out


# Frames -------------------------------------------------------------------------------------------


def frame(kind, flags=0, stream=0, payload=b""):
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def literal(name, value):
    """A header field, literal without indexing, new name."""
    name, value = name.encode(), value.encode() if isinstance(value, str) else value

    def text(raw):
        size, out = len(raw), b""
        if size < 127:
            return bytes([size]) + raw
        size -= 127
        out = b"\x7f"
        while size >= 0x80:
            out += bytes([size & 0x7F | 0x80])
            size >>= 7
        return out + bytes([size]) + raw

    return b"\x00" + text(name) + text(value)


def request_headers(path, extra=(), method="POST", content_type="application/grpc"):
    block = literal(":method", method) + literal(":scheme", "http") + literal(":path", path)
    block += (
        literal(":authority", "127.0.0.1")
        + literal("content-type", content_type)
        + literal("te", "trailers")
    )
    return block + b"".join(literal(name, value) for name, value in extra)


def grpc_message(body, compressed=0):
    return bytes([compressed]) + struct.pack(">I", len(body)) + body


class _Nv(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("namelen", ctypes.c_size_t),
        ("valuelen", ctypes.c_size_t),
        ("flags", ctypes.c_uint8),
    ]


_library = ctypes.CDLL(ctypes.util.find_library("nghttp2") or "libnghttp2.so.14")
_library.nghttp2_hd_inflate_new.argtypes = [ctypes.POINTER(ctypes.c_void_p)]
_library.nghttp2_hd_inflate_hd2.argtypes = [
    ctypes.c_void_p,
    ctypes.POINTER(_Nv),
    ctypes.POINTER(ctypes.c_int),
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
]
_library.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t
_library.nghttp2_hd_inflate_end_headers.argtypes = [ctypes.c_void_p]
_library.nghttp2_hd_inflate_del.argtypes = [ctypes.c_void_p]


class Inflater:
    def __init__(self):
        self._state = ctypes.c_void_p()
        if _library.nghttp2_hd_inflate_new(ctypes.byref(self._state)) != 0:
            raise MemoryError("nghttp2_hd_inflate_new")

    def __del__(self):
        if self._state:
            _library.nghttp2_hd_inflate_del(self._state)

    def decode(self, block):
        out = {}
        buffer = ctypes.create_string_buffer(bytes(block), len(block)) if block else None
        at, left = ctypes.addressof(buffer) if buffer else 0, len(block)
        while True:
            pair, flags = _Nv(), ctypes.c_int()
            used = _library.nghttp2_hd_inflate_hd2(self._state, pair, flags, at, left, 1)
            if used < 0:
                raise ProtocolError(f"header block does not decode: {used}")
            at, left = at + used, left - used
            if flags.value & 2:  # EMIT
                out[ctypes.string_at(pair.name, pair.namelen).decode()] = ctypes.string_at(
                    pair.value, pair.valuelen
                ).decode("utf-8", "replace")
            if flags.value & 1:  # FINAL
                break
        _library.nghttp2_hd_inflate_end_headers(self._state)
        return out


class ProtocolError(Exception):
    """The server broke HTTP/2 or gRPC."""


class Closed(Exception):
    """The connection is gone; the text says how."""


class Reply:
    """What came back for one call."""

    def __init__(self):
        self.headers = None
        self.trailers = None
        self.body = b""
        self.reset = None  # RST_STREAM error code
        self.done = False

    @property
    def status(self):
        """grpc-status, or None when there was none."""
        for block in (self.trailers, self.headers):
            if block and "grpc-status" in block:
                return int(block["grpc-status"])
        return None

    @property
    def message(self):
        for block in (self.trailers, self.headers):
            if block and "grpc-message" in block:
                return block["grpc-message"]
        return ""

    @property
    def http_status(self):
        return int(self.headers[":status"]) if self.headers and ":status" in self.headers else None

    @property
    def response(self):
        """The one message of a unary answer."""
        return self.body[5:]

    def take_message(self):
        """The first whole message of a streaming answer, taken off the body; None without one."""
        if len(self.body) < 5:
            return None
        size = struct.unpack(">I", self.body[1:5])[0]
        if len(self.body) - 5 < size:
            return None
        message, self.body = self.body[5 : 5 + size], self.body[5 + size :]
        return message

    def __repr__(self):
        return (
            f"<http {self.http_status} grpc {self.status} {self.message!r} reset {self.reset} "
            f"{len(self.body)} bytes>"
        )


class Stream:
    """A call with a stream of messages both ways, on a connection that holds nothing else that
    waits."""

    def __init__(self, connection, path, extra=()):
        self.connection = connection
        self.id = connection.start(path, b"", extra, end=False, raw_body=b"")
        self.reply = connection.replies[self.id]

    def send(self, *messages):
        """All in one frame."""
        payload = b"".join(grpc_message(message) for message in messages)
        self.connection.write(self.id, payload)

    def receive(self, timeout=10.0):
        """The next message; None when the call has ended or nothing came in time."""
        deadline = time.monotonic() + timeout
        while (message := self.reply.take_message()) is None:
            left = deadline - time.monotonic()
            if self.reply.done or left <= 0:
                return None
            try:
                self.connection.poll(left)
            except TimeoutError:
                return None
        return message

    def half_close(self):
        self.connection.write(self.id, b"", end=True)

    def end(self, timeout=10.0):
        """Waits for the end of the call; gives the reply with its status."""
        return self.connection.finish(self.id, timeout)


class Connection:
    """Opens with a preface unless `raw`. `window` is what it grants the server per stream and,
    above the default, per connection; with auto_window it is topped up as data comes."""

    def __init__(
        self,
        port,
        raw=False,
        timeout=10.0,
        window=BIG_WINDOW,
        auto_window=True,
        receive_buffer=None,
    ):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.auto_window = auto_window
        self.input = bytearray()
        self.inflater = Inflater()
        self.replies = {}
        self.next_stream = 1
        self.goaway = None  # (last stream, error code, debug text)
        self.settings = {}
        self.send_window = 65535
        self.initial_window = 65535
        self.stream_windows = {}
        self.pings_acked = 0
        if not raw:
            self.send(PREFACE + frame(SETTINGS, payload=struct.pack(">HI", 4, window)))
            if window > 65535:
                self.send(frame(WINDOW_UPDATE, payload=struct.pack(">I", window - 65535)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed(f"send: {error}") from error

    # Calls

    def start(self, path, body, extra=(), end=True, raw_body=None):
        """Sends a call and gives its stream id. The body is sent as the windows allow."""
        stream = self.next_stream
        self.next_stream += 2
        self.replies[stream] = Reply()
        self.stream_windows[stream] = self.initial_window
        payload = grpc_message(body) if raw_body is None else raw_body
        out = frame(HEADERS, END_HEADERS, stream, request_headers(path, extra))
        while True:
            if self.replies[stream].done:  # refused before the body was out
                break
            room = min(16384, self.send_window, self.stream_windows[stream])
            if len(payload) > 0 and room <= 0:
                self.send(out)
                out = b""
                self.poll()
                continue
            piece, payload = payload[:room], payload[room:]
            self.send_window -= len(piece)
            self.stream_windows[stream] -= len(piece)
            out += frame(DATA, END_STREAM if end and not payload else 0, stream, piece)
            if not payload:
                break
            if len(out) > 1 << 20:
                self.send(out)
                out = b""
        self.send(out)
        return stream

    def finish(self, stream, timeout=None):
        """Waits for the answer of a stream."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while not self.replies[stream].done:
            self.poll(max(0.001, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"no answer on stream {stream} within {timeout or self.timeout} s"
                )
        return self.replies.pop(stream)

    def call(self, path, body, extra=(), timeout=None):
        return self.finish(self.start(path, body, extra), timeout)

    def write(self, stream, payload, end=False):
        """More bytes on a stream that start(end=False) began; the windows must have room."""
        self.send_window -= len(payload)
        self.stream_windows[stream] -= len(payload)
        if min(self.send_window, self.stream_windows[stream]) < 0:
            raise ProtocolError("the peer grants no room for this")
        self.send(frame(DATA, END_STREAM if end else 0, stream, payload))

    def put(self, key, value, timeout=None):
        return self.call("/etcdserverpb.KV/Put", put_request(key, value), timeout=timeout)

    def range(self, key, end=b"", **options):
        return self.call("/etcdserverpb.KV/Range", range_request(key, end, **options))

    # Input

    def poll(self, timeout=None):
        """Receives once and handles whole frames. Raises Closed at the end of the connection."""
        self.socket.settimeout(timeout if timeout is not None else self.timeout)
        try:
            got = self.socket.recv(1 << 18)
        except socket.timeout as error:
            raise TimeoutError("nothing received") from error
        except OSError as error:
            raise Closed(f"recv: {error}") from error
        finally:
            self.socket.settimeout(self.timeout)
        if not got:
            raise Closed(f"end of stream, GOAWAY {self.goaway}")
        self.input += got
        self._parse()

    def _parse(self):
        at = 0
        while len(self.input) - at >= 9:
            size = int.from_bytes(self.input[at : at + 3], "big")
            if len(self.input) - at < 9 + size:
                break
            kind, flags = self.input[at + 3], self.input[at + 4]
            stream = int.from_bytes(self.input[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self._on_frame(kind, flags, stream, bytes(self.input[at + 9 : at + 9 + size]))
            at += 9 + size
        del self.input[:at]

    def _on_frame(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self._on_settings(payload)
        elif kind == PING:
            if flags & ACK:
                self.pings_acked += 1
            else:
                self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            self.goaway = (last & 0x7FFFFFFF, code, payload[8:].decode("utf-8", "replace"))
        elif kind == WINDOW_UPDATE:
            more = struct.unpack(">I", payload)[0]
            if stream == 0:
                self.send_window += more
            else:
                self.stream_windows[stream] = self.stream_windows.get(stream, 0) + more
        elif stream in self.replies:
            self._on_stream_frame(kind, flags, stream, payload)
        elif kind == HEADERS:
            self.inflater.decode(payload)

    def _on_settings(self, payload):
        for at in range(0, len(payload), 6):
            name, value = struct.unpack(">HI", payload[at : at + 6])
            self.settings[name] = value
            if name == 4:
                for stream in self.stream_windows:
                    self.stream_windows[stream] += value - self.initial_window
                self.initial_window = value
        self.send(frame(SETTINGS, ACK))

    def _on_stream_frame(self, kind, flags, stream, payload):
        reply = self.replies[stream]
        if kind == HEADERS:
            if not flags & END_HEADERS:
                raise ProtocolError("CONTINUATION of the server is not expected here")
            block = self.inflater.decode(payload)
            if reply.headers is None:
                reply.headers = block
            else:
                reply.trailers = block
        elif kind == DATA:
            reply.body += payload
            if self.auto_window and payload:
                update = struct.pack(">I", len(payload))
                self.send(
                    frame(WINDOW_UPDATE, 0, 0, update)
                    + (b"" if flags & END_STREAM else frame(WINDOW_UPDATE, 0, stream, update))
                )
        elif kind == RST_STREAM:
            reply.reset = struct.unpack(">I", payload)[0]
            reply.done = True
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            reply.done = True
            self.stream_windows.pop(stream, None)
