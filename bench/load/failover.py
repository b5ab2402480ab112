"""How long writes fail once three members lose their leader, as clients of the other two see it.

Under a light load on the two, each of them gets one more write every 10 ms; the first that began
after the loss and succeeds tells the time. A write that was on its way is no measure: etcd answers
those only after seven seconds. Writes that succeed at once may fail later, when leadership moves:
so the longest pause between successes is told too.
"""
import json
import subprocess
import threading
import time

import h2client
import slow_disk

PROBE_EVERY_S = 0.01
FAILOVER_MAX_S = 30
WARM_S = 0.5  # of load before the loss
CAUGHT_UP_S = 1.0


class Kill:
    """The leader's process is gone."""

    name, text = "killed leader", "kill -9 of the leader"
    watched_s = 0.5  # after the first success

    def __init__(self, cluster):
        self.cluster = cluster

    def lose(self, member):
        member.kill()

    def bring_back(self, member):
        member.start()

    def close(self):
        self.cluster.kill()


class Stall:
    """No write to the leader's disk ends any more; all else of it goes on. It is started again
    afterwards: a member whose disk has stalled does not lead for a while, and the next leader is to
    be any of the three."""

    name, text = "stalled disk", "the stall of the leader's disk"
    watched_s = 3  # leadership is to have moved by then

    def __init__(self, cluster):
        self.cluster, self.limits = cluster, {}
        for member in cluster.members:
            name = f"{cluster.kind}-{member.name}"
            self.limits[member] = slow_disk.DiskLimit(name, cluster.directory)
            self.limits[member].add(member.process.pid)

    def lose(self, member):
        self.limits[member].stall()

    def bring_back(self, member):
        self.limits[member].release()
        member.kill()
        member.spawn()
        self.limits[member].add(member.process.pid)
        member.wait_healthy()

    def close(self):
        for limit in self.limits.values():
            limit.release()
        self.cluster.kill()
        for limit in self.limits.values():
            limit.close()


class Prober(threading.Thread):
    """Begins a write on one member every PROBE_EVERY_S, whether earlier ones have been answered or
    not, and keeps when those that succeeded began and ended."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.stopping = threading.Event()
        self.done = []  # (began, ended), by their end

    def run(self):
        while not self.stopping.is_set():
            try:
                with h2client.Connection(self.port) as connection:
                    self.probe(connection)
            except (h2client.Closed, OSError):
                self.stopping.wait(PROBE_EVERY_S)

    def probe(self, connection):
        waiting = {}
        due = time.monotonic()
        while not self.stopping.is_set():
            now = time.monotonic()
            if now >= due:
                body = h2client.put_request(b"probe/%d" % self.port, b"x" * 256)
                waiting[connection.start("/etcdserverpb.KV/Put", body)] = now
                due = now + PROBE_EVERY_S
            try:
                connection.poll(max(0.001, due - time.monotonic()))
            except TimeoutError:
                continue
            now = time.monotonic()
            for stream in [one for one in waiting if connection.replies[one].done]:
                began = waiting.pop(stream)
                if connection.replies.pop(stream).status == 0:
                    self.done.append((began, now))

    def ends_after(self, moment):
        """When those ended that began after `moment`."""
        return [ended for began, ended in list(self.done) if began > moment]


class WrongAnswer(Exception):
    """The load got an answer that no correct store gives."""


def lose_leader(cluster, way, loadgen):
    """(seconds until a write succeeds, longest pause between successes), or None where none did;
    the lost member is back afterwards."""
    leader = cluster.leader()
    rest = [member for member in cluster.members if member is not leader]
    probers = [Prober(member.port) for member in rest]
    load = _background_load(loadgen, rest)
    try:
        for prober in probers:
            prober.start()
        time.sleep(WARM_S)
        lost = time.monotonic()
        way.lose(leader)
        took = _wait_success(probers, lost)
        time.sleep(way.watched_s)
        watched = time.monotonic()
    finally:
        for prober in probers:
            prober.stopping.set()
        load.terminate()
        report, _ = load.communicate(timeout=60)
        for prober in probers:
            prober.join(30)
    _check(report)
    way.bring_back(leader)
    time.sleep(CAUGHT_UP_S)
    if took is None:
        return None
    marks = [lost, *sorted(_ends(probers, lost)), watched]
    return took, max(later - earlier for earlier, later in zip(marks, marks[1:]))


def _background_load(loadgen, members):
    ports = ",".join(str(member.port) for member in members)
    command = [str(loadgen), "--port", ports, "--op", "put", "--duration", "120"]
    command += ["--connections", "4", "--streams", "4", "--keys", "1000"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _check(report):
    """Refusals while nobody leads are as they should be; a wrong answer is not."""
    lines = report.splitlines()
    figures = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    if figures.get("violations", 1):
        raise WrongAnswer(f"under failover: {figures or report}")


def _ends(probers, lost):
    return [end for prober in probers for end in prober.ends_after(lost)]


def _wait_success(probers, lost):
    while time.monotonic() < lost + FAILOVER_MAX_S:
        ends = _ends(probers, lost)
        if ends:
            return min(ends) - lost
        time.sleep(0.005)
    return None
