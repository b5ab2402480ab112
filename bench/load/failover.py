"""How long writes fail once the leader of three members is lost, seen by clients of the others.

Under a light load on the other two, each of them gets one more write every 10 ms; the first that
began after the loss and succeeds tells the time. A write that was on its way is no measure: etcd
answers those only after seven seconds.
"""
import json
import subprocess
import threading
import time

import h2client
import slow_disk

PROBE_EVERY_S = 0.01
FAILOVER_MAX_S = 30
WARM_S, AFTER_S = 0.5, 0.2  # of load before the loss, and after the first success
CAUGHT_UP_S = 1.0


class Killed:
    """The leader's process is gone."""

    name, text = "failover", "kill -9 of the leader"

    @staticmethod
    def prepare(cluster):
        pass

    @staticmethod
    def lose(member):
        member.kill()

    @staticmethod
    def bring_back(member):
        member.start()

    @staticmethod
    def close():
        pass


class Stalled:
    """No write to the leader's disk ends any more; everything else of it goes on. It is started
    again afterwards: one whose disk has stalled does not lead for a while, and the next leader is
    to be any of the three."""

    name, text = "stall", "the stall of the leader's disk"

    def __init__(self):
        self.limits = {}

    def prepare(self, cluster):
        for member in cluster.members:
            name = f"{cluster.kind}-{member.name}"
            self.limits[member] = slow_disk.DiskLimit(name, member.directory)
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
        """Once no member runs; before, so that they can end: release()."""
        for limit in self.limits.values():
            limit.close()

    def release(self):
        for limit in self.limits.values():
            limit.release()
