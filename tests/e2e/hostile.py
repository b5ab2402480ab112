"""What the tests with hostile clients share: one server, and a well-behaved client beside."""
import socket
import time

import h2client
import harness

# A put of the well-behaved client may take this long at most, whatever the others do.
PUT_LIMIT_S = 5.0


class HostileTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        harness.raise_open_files()  # the server inherits it
        self.server = self.node().start()
        self.port = self.server.client_port

    def well(self):
        """Another client is served."""
        self.assertTrue(self.server.alive(), f"the server ended\n{self.server.log_tail()}")
        with h2client.Connection(self.port) as connection:
            begin = time.monotonic()
            self.assertEqual(connection.put(b"well", b"x").status, 0)
            self.assertLess(time.monotonic() - begin, PUT_LIMIT_S)

    def assert_bounded(self, grown_kib, mebibytes, what):
        """Memory grown: etcd has no such bounds, there it is only printed."""
        print(f"{what}: memory grew by {grown_kib // 1024} MiB", flush=True)
        if not harness.Config.is_etcd():
            self.assertLess(grown_kib, mebibytes * 1024, f"KiB, after {what}")

    def raw(self, data, timeout=10):
        """Sends `data` on a bare connection, then reads until the server closes. Gives (bytes,
        closed)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            got = b""
            try:
                connection.sendall(data)
                while piece := connection.recv(65536):
                    got += piece
                return got, True
            except socket.timeout:
                return got, False
            except OSError:
                return got, True
