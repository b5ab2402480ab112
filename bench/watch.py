#!/usr/bin/env python3
"""Watchers: MetaStore against etcd, the same watchers and puts, in interleaved rounds, medians and
ratios.

  tools/dev bench watch [--rounds 2] [--seconds 5] [--scale 1] [--scenario NAME] [--only metastore]

feed: 1,000 watchers of one prefix, 100 streams; 16 puts not yet delivered to all at any time, and
then one. many: 100,000 watchers of a key each, 1,000 streams; resident memory a watcher, then puts
64x16. catch_up: 1,000 watchers begin 100,000 revisions back while 200 puts a second go on by a
schedule. unread: 1,000 watchers that never read, and the same puts without them.

Results: a table, and build/bench/watch.json. Status 1: an event was lost, repeated, out of order
or late beyond reason. About eight minutes.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "load"))
import side_by_side  # noqa: E402

CATCH_UP_RATE = 200
UNREAD_RATE = 500
UNREAD_VALUE_BYTES = 1024
THIRD = ("<=", 1 / 3, False)


class WatchBench(side_by_side.SideBySide):
    goals = {
        "feed: events/s": (">=", 3, False),
        "feed: put to last delivery p99 us": THIRD,
        "feed, one put: put to last delivery p99 us": THIRD,
        "many: bytes a watcher": ("<=", 0.5, False),
        "many: puts/s": (">=", 3, False),
        "catch-up: put p99 us": THIRD,
        "unread: put p99, times without": ("<=", 1.2, True),
    }

    def scenarios(self):
        all_of_them = (self.feed, self.many, self.catch_up, self.unread)
        wanted = self.arguments.scenario
        return [one for one in all_of_them if not wanted or one.__name__ in wanted]

    def scaled(self, number, step=1):
        """A multiple of `step`."""
        return max(1, round(number * self.arguments.scale / step)) * step

    def watchgen(self, server, *options, **more):
        return self.generate(server, "watchgen", *options, **more)

    def feed(self, server):
        watchers = ("--watchers", self.scaled(1000, 100), "--connections", 100)
        timed = ("--duration", self.arguments.seconds)
        many = self.watchgen(server, *watchers, *timed, "--window", 16)
        one = self.watchgen(server, *watchers, *timed, "--window", 1, "--put-streams", 1)
        return {
            "feed: events/s": many.get("events_rate"),
            "feed: put to last delivery p50 us": many.get("last_p50_us"),
            "feed: put to last delivery p99 us": many.get("last_p99_us"),
            "feed, one put: put to last delivery p50 us": one.get("last_p50_us"),
            "feed, one put: put to last delivery p99 us": one.get("last_p99_us"),
        }

    def many(self, server):
        count = self.scaled(100_000, 1000)
        # A first load, so that what any client costs is not counted to the watchers.
        puts = ("--put-connections", 64, "--put-streams", 16, "--keys", count)
        self.watchgen(server, "--watchers", 0, *puts, "--duration", 1)
        before = side_by_side.resident_bytes(server)
        at_ready = []
        report = self.watchgen(
            server,
            *("--on", "keys", "--watchers", count, "--connections", 100, "--streams", 10),
            *puts,
            *("--duration", self.arguments.seconds),
            at_ready=lambda: at_ready.append(side_by_side.resident_bytes(server)),
        )
        return {
            "many: bytes a watcher": (at_ready[0] - before) / count if at_ready else None,
            "many: puts/s": report.get("put_rate"),
            "many: put to delivery p99 us": report.get("last_p99_us"),
        }

    def catch_up(self, server):
        revisions = self.scaled(100_000)
        with side_by_side.Peak(server) as peak:
            report = self.watchgen(
                server,
                *("--watchers", self.scaled(1000, 100), "--connections", 100),
                *("--fill", revisions, "--keys", revisions, "--value-bytes", 64, "--catch-up"),
                *("--put-rate", CATCH_UP_RATE, "--put-connections", 4, "--put-streams", 64),
                *("--warmup", 2, "--duration", 4 * self.arguments.seconds),
            )
        seconds = report.get("catch_up_s")
        return {
            "catch-up: put p50 us": report.get("put_p50_us"),
            "catch-up: put p99 us": report.get("put_p99_us"),
            "catch-up: events/s": report.get("events_rate"),
            "catch-up: seconds (none: not done)": seconds or None,
            "catch-up: peak memory MiB": peak.bytes / 2**20,
        }

    def unread(self, server):
        puts = ("--put-rate", UNREAD_RATE, "--put-connections", 4, "--put-streams", 64)
        puts += ("--value-bytes", UNREAD_VALUE_BYTES, "--duration", 2 * self.arguments.seconds)
        without = self.watchgen(server, "--watchers", 0, *puts)
        grown = side_by_side.resident_bytes(server)
        begun = []
        with side_by_side.Peak(server) as peak:
            watching = self.watchgen(
                server,
                *("--watchers", self.scaled(1000, 100), "--connections", 100, "--never-read"),
                *puts,
                at_ready=lambda: begun.append(side_by_side.resident_bytes(server)),
            )
        p99, p99_without = watching.get("put_p99_us"), without.get("put_p99_us")
        return {
            "unread: put p99 us without": p99_without,
            "unread: put p99 us": p99,
            "unread: put p99, times without": p99 / p99_without if p99 and p99_without else None,
            "unread: MiB for the watchers": (begun[0] - grown) / 2**20 if begun else None,
            "unread: MiB grown under puts": (peak.bytes - begun[0]) / 2**20 if begun else None,
        }


if __name__ == "__main__":
    sys.exit(
        side_by_side.run_bench(WatchBench(side_by_side.arguments_of(__doc__, "watch", seconds=5)))
    )
