#!/usr/bin/env python3
"""A bad link in user space, for kernels without netem: carries Ethernet frames between two tap
devices, whose descriptors are its arguments, and loses, delays, repeats and reorders them on the
way. Each line on standard input is {"out": quality, "in": quality}: out from the first to the
second. A quality has any of delay_ms, jitter_ms (either way), and in percent loss, duplicate and
reorder (those are not delayed, and so overtake). Says "ready" at first and after each line, and
ends with standard input. Made by netns.py."""
import heapq
import json
import os
import random
import select
import sys
import time

FRAME_BYTES_MAX = 65536
LINES_BYTES_MAX = 65536  # a line is short, so it is read as it was written: whole
WAITING_MAX = 10_000  # frames of one direction; what comes then is lost, as with any queue
AT_ONCE = 64  # frames read from one side before the other gets its turn


class Direction:
    def __init__(self, source, target):
        self.source, self.target = source, target
        self.quality = {}
        self.waiting = []  # heap of (due, number, frame)
        self.count = 0

    def take(self):
        """Reads what has come."""
        for _ in range(AT_ONCE):
            try:
                frame = os.read(self.source, FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            if not self.happens("loss"):
                self.admit(frame)
            if self.happens("duplicate"):
                self.admit(frame)

    def happens(self, what):
        return random.uniform(0, 100) < self.quality.get(what, 0)

    def admit(self, frame):
        delay_ms = 0
        if not self.happens("reorder"):
            jitter_ms = self.quality.get("jitter_ms", 0)
            delay_ms = self.quality.get("delay_ms", 0) + random.uniform(-jitter_ms, jitter_ms)
        if len(self.waiting) < WAITING_MAX:
            self.count += 1
            heapq.heappush(self.waiting, (time.monotonic() + delay_ms / 1000, self.count, frame))

    def give(self):
        """Writes what is due; seconds until the next is, or None."""
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            try:
                os.write(self.target, heapq.heappop(self.waiting)[2])
            except OSError:
                pass  # its queue is full, or its far end down: lost
        return self.waiting[0][0] - now if self.waiting else None


def main():
    first, second = int(sys.argv[1]), int(sys.argv[2])
    directions = {"out": Direction(first, second), "in": Direction(second, first)}
    print("ready", flush=True)
    while True:
        waits = [direction.give() for direction in directions.values()]
        waits = [wait for wait in waits if wait is not None]
        ready, _, _ = select.select([first, second, 0], [], [], min(waits, default=None))
        for direction in directions.values():
            if direction.source in ready:
                direction.take()
        if 0 in ready:
            lines = os.read(0, LINES_BYTES_MAX).splitlines()
            if not lines:
                return
            for name, quality in json.loads(lines[-1]).items():
                directions[name].quality = quality
            print("ready", flush=True)


if __name__ == "__main__":
    main()
