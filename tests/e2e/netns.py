"""Hosts on one machine: network namespaces on a bridge in a namespace of its own, so that nothing
of the machine's own network is touched. Each host has an address on the bridge, and its loopback.

Needs root and iproute2; `missing()` says what is not there. What a thread does inside() a host
happens on that host: sockets it opens and processes it starts stay there.

Links get worse by the kernel's netem where it has that; else by a process that carries their frames
between two tap devices (relay.py), which a link passes only while it is bad.
"""
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from cluster import Member

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
# A link that takes 16 KiB at once and 250,000 bytes a second; for shape().
NARROW = ("tbf", "rate", "2mbit", "burst", "16kb", "latency", "200ms")
NOTHING_PASSES = ("pfifo", "limit", "0")
# Qualities for worsen(): delays in milliseconds, the rest in percent of the packets.
LONG = {"delay_ms": 60, "jitter_ms": 20, "loss": 1}
LOSSY = {"delay_ms": 2, "loss": 8}
JUMBLED = {"delay_ms": 20, "jitter_ms": 10, "reorder": 25, "duplicate": 5}
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
    """Why a link cannot be made long, lossy or jumbled here, or None."""
    try:
        with Network("probe", 1) as network:
            network.hosts[0].worsen(out=LONG, into=LONG)
            return None
    except OSError as error:
        return f"neither netem nor tap devices: {error}"


class Host:
    def __init__(self, network, number):
        self.network, self.number = network, number
        self.namespace = f"{network.prefix}{number}"
        self.address = f"10.213.77.{number}"
        self.port = f"p{number}"  # its end of the link, on the bridge
        self.relay = None

    def inside(self):
        return _inside(self.namespace)

    def cut(self):
        """Nothing gets through its link from now on; nobody is told."""
        self._link("nomaster")

    def heal(self):
        self._link("master", "bridge")

    def isolate(self, on):
        """Isolated hosts do not reach each other, while all others and they do."""
        self._link("type", "bridge_slave", "isolated", "on" if on else "off")

    def _link(self, *options):
        run("ip", "-n", self.network.bridge, "link", "set", self.port, *options)

    def shape(self, *discipline):
        """tc's queueing discipline on both ends of its link."""
        for way in ("out", "into"):
            self._qdisc("replace", way, *discipline)

    def mute(self):
        """Nothing that it sends arrives."""
        self._qdisc("replace", "out", *NOTHING_PASSES)

    def deafen(self):
        """Nothing that is sent to it arrives."""
        self._qdisc("replace", "into", *NOTHING_PASSES)

    def worsen(self, out=None, into=None):
        """The quality of its link in each direction (LONG and the like); None: as it was made."""
        if self.network.has_netem():
            self.unshape()
            for way, quality in (("out", out), ("into", into)):
                if quality is not None:
                    self._qdisc("replace", way, "netem", *_netem_words(quality))
            return
        if self.relay is None:
            self.relay = Relay(self)
        self.relay.join(out or {}, into or {})
        self._link("master", self.relay.side)

    def unshape(self):
        """Undoes shape, mute, deafen and worsen."""
        for way in ("out", "into"):
            with contextlib.suppress(OSError):  # this direction had none
                self._qdisc("del", way)
        if self.relay is not None:
            self.relay.leave()
            self.heal()

    def _qdisc(self, verb, way, *discipline):
        namespace, device = self.namespace, "eth0"
        if way == "into":
            namespace, device = self.network.bridge, self.port
        run("tc", "-n", namespace, "qdisc", verb, "dev", device, "root", *discipline)


def _netem_words(quality):
    words = ["delay", f"{quality.get('delay_ms', 0)}ms", f"{quality.get('jitter_ms', 0)}ms"]
    for name in ("loss", "duplicate", "reorder"):
        if name in quality:
            words += [name, f"{quality[name]}%"]
    return words


class Relay:
    """A process on the way from a host's port to the bridge: the port moves to a small bridge of
    its own, `side`, while the link is bad."""

    def __init__(self, host):
        number = host.number
        self.side, near, self.far = f"side{number}", f"near{number}", f"far{number}"
        self.bridge = ["ip", "-n", host.network.bridge, "link"]
        taps = []
        try:
            with host.network.inside_bridge():
                taps = [_tap(near), _tap(self.far)]
            run(*self.bridge, "add", self.side, "type", "bridge")
            run(*self.bridge, "set", self.side, "up")
            run(*self.bridge, "set", near, "master", self.side)
            for device in (near, self.far):
                run(*self.bridge, "set", device, "up")
            script = Path(__file__).parent / "relay.py"
            self.process = subprocess.Popen(
                [sys.executable, str(script), *map(str, taps)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=taps,
                text=True,
            )
        finally:
            for tap in taps:
                os.close(tap)
        self._wait_ready()

    def join(self, out, into):
        """On the way from now on, and as bad as that."""
        self.process.stdin.write(json.dumps({"out": out, "in": into}) + "\n")
        self.process.stdin.flush()
        self._wait_ready()
        run(*self.bridge, "set", self.far, "master", "bridge")

    def leave(self):
        """What is still on the way is lost; the bridge forgets that the host was reached here."""
        run(*self.bridge, "set", self.far, "nomaster")

    def _wait_ready(self):
        if self.process.stdout.readline() != "ready\n":
            raise OSError("relay.py has ended")

    def close(self):
        with self.process:  # closes its pipes and waits for it
            pass


def _tap(name):
    """A tap device in the namespace of this thread; it is there while its descriptor is open."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI)
        fcntl.ioctl(descriptor, TUNSETIFF, request)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _inside(namespace):
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
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
        self.netem = None  # whether the kernel has it; not known yet
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

    def inside_bridge(self):
        return _inside(self.bridge)

    def has_netem(self):
        if self.netem is None:
            on_loopback = ["tc", "-n", self.bridge, "qdisc", "replace", "dev", "lo", "root"]
            try:
                run(*on_loopback, "netem", "delay", "0ms")
                self.netem = True
            except OSError:
                self.netem = False
        return self.netem

    def close(self):
        for host in self.hosts:
            if host.relay is not None:
                host.relay.close()
        for namespace in self.made:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, timeout=20)
        self.made = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
