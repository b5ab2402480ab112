"""Hosts on one machine: network namespaces on a bridge in a namespace of its own, so that nothing
of the machine's own network is touched. Each host has an address on the bridge, and its loopback.

Needs root and iproute2; `missing()` says what is not there. What a thread does inside() a host
happens on that host: sockets it opens and processes it starts stay there.
"""
import contextlib
import ctypes
import os
import shutil
import subprocess

from cluster import Member

CLONE_NEWNET = 0x40000000
# A link that takes 16 KiB at once and 250,000 bytes a second; for shape().
NARROW = ("tbf", "rate", "2mbit", "burst", "16kb", "latency", "200ms")
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def missing():
    """Why hosts cannot be made here, or None."""
    if shutil.which("ip") is None:
        return "ip is not installed (package iproute2)"
    try:
        with Network("probe", 1):
            return None
    except OSError as error:
        return f"no right to make network namespaces: {error}"


def no_delay():
    """Why a link cannot be given a delay here, or None."""
    if shutil.which("tc") is None:
        return "tc is not installed (package iproute2)"
    try:
        with Network("probe", 1) as network:
            network.hosts[0].shape("netem", "delay", "1ms")
            return None
    except OSError as error:
        return f"no netem: {error}"


class Host:
    def __init__(self, network, number):
        self.network, self.number = network, number
        self.namespace = f"{network.prefix}{number}"
        self.address = f"10.213.77.{number}"
        self.port = f"p{number}"  # its end of the link, on the bridge

    @contextlib.contextmanager
    def inside(self):
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(back)
        finally:
            os.close(back)

    def cut(self):
        """Nothing gets through its link from now on; nobody is told."""
        run("ip", "-n", self.network.bridge, "link", "set", self.port, "nomaster")

    def heal(self):
        run("ip", "-n", self.network.bridge, "link", "set", self.port, "master", "bridge")

    def shape(self, *discipline):
        """tc's queueing discipline on both ends of its link."""
        self._qdisc("replace", *discipline)

    def unshape(self):
        self._qdisc("del")

    def _qdisc(self, verb, *discipline):
        for namespace, device in ((self.namespace, "eth0"), (self.network.bridge, self.port)):
            run("tc", "-n", namespace, "qdisc", verb, "dev", device, "root", *discipline)


def _enter(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class HostMember(Member):
    """A member of a cluster on a host of its own: m1 on the first."""

    def __init__(self, directory, name, network, **options):
        super().__init__(directory, name, **options)
        self.host = network.hosts[int(name[1:]) - 1]
        self.peer_host = self.host.address

    def inside(self):
        return self.host.inside()


class Network:
    """`count` hosts; gone at the end of the with block or at close()."""

    def __init__(self, name, count):
        self.prefix = f"ms-{name}-{os.getpid()}-"
        self.bridge = self.prefix + "bridge"
        self.hosts = [Host(self, number) for number in range(1, count + 1)]
        self.made = []
        try:
            self._make()
        except OSError:
            self.close()
            raise

    def _make(self):
        for namespace in [self.bridge, *(host.namespace for host in self.hosts)]:
            run("ip", "netns", "add", namespace)
            self.made.append(namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        bridge = ["ip", "-n", self.bridge]
        run(*bridge, "link", "add", "bridge", "type", "bridge")
        run(*bridge, "link", "set", "bridge", "up")
        for host in self.hosts:
            far_end = ["peer", "name", "eth0", "netns", host.namespace]
            run(*bridge, "link", "add", host.port, "type", "veth", *far_end)
            run(*bridge, "link", "set", host.port, "up")
            inner = ["ip", "-n", host.namespace]
            run(*inner, "address", "add", f"{host.address}/24", "dev", "eth0")
            run(*inner, "link", "set", "eth0", "up")
            host.heal()

    def close(self):
        for namespace in self.made:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, timeout=20)
        self.made = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
