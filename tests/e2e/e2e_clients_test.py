#!/usr/bin/env python3
"""Aim: clients that others wrote see the same of the server as of etcd: watch, lease, lock and
election through the npm package `etcd3` and Debian's python3-etcd3, on one node and on three with
the leader killed in between. Method: one program a client (clients/), the same for Debian's etcd
and for the server (differ.py); what it says must be equal. tools/dev installs the clients; without
one its tests are skipped, with the reason."""
import os
import shutil
import subprocess
from pathlib import Path

import harness
from differ import DifferentialTest

CLIENTS = Path(__file__).resolve().parent / "clients"
NODE_MODULES = Path(
    os.environ.get("MS_NODE_MODULES", harness.ROOT / "build/clients/node_modules")
)
DEBIAN_PYTHON = "/usr/bin/python3"  # another Python does not see Debian's packages
PROGRAM_S = 120


class ClientTest(DifferentialTest):
    def drive(self, command, spare_of, environment=None):
        """A script that runs the program, disturbs where it asks for it, and notes each line. The
        program is given all endpoints, or the port of the one that `spare_of` names."""

        def script(run):
            spare = spare_of(run)
            reached = str(spare.client_port) if spare else run.endpoints
            with subprocess.Popen(
                [*command, reached],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **(environment or {})},
            ) as program:
                try:
                    self.follow(run, program, spare)
                finally:
                    program.kill()

        return script

    def follow(self, run, program, spare):
        last = ""
        for last in map(str.rstrip, program.stdout):
            if last == "DISTURB":
                run.disturb(spare)
                program.stdin.write("go\n")
                program.stdin.flush()
            else:
                run.note(last)
        program.wait(PROGRAM_S)
        self.assertEqual(last, "END", program.stderr.read())


class NpmTest(ClientTest):
    def setUp(self):
        super().setUp()
        if shutil.which("node") is None:
            self.skipTest("Node.js is not installed (package nodejs)")
        if not (NODE_MODULES / "etcd3").is_dir():
            self.skipTest(f"the npm package etcd3 is not in {NODE_MODULES}")
        self.script = self.drive(
            ["node", str(CLIENTS / "npm_client.js")],
            lambda run: None,
            {"NODE_PATH": str(NODE_MODULES)},
        )

    def test_one_node(self):
        self.compare(self.script, 1)

    def test_three_nodes(self):
        self.compare(self.script, 3)


class PythonTest(ClientTest):
    def setUp(self):
        super().setUp()
        found = subprocess.run([DEBIAN_PYTHON, "-c", "import etcd3"], capture_output=True)
        if found.returncode != 0:
            self.skipTest("the Python client is not installed (package python3-etcd3)")
        self.script = self.drive(
            [DEBIAN_PYTHON, str(CLIENTS / "py_client.py")],
            lambda run: run.members[0],  # this client knows one server only
        )

    def test_one_node(self):
        self.compare(self.script, 1)

    def test_three_nodes(self):
        self.compare(self.script, 3)


if __name__ == "__main__":
    harness.main()
