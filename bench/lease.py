#!/usr/bin/env python3
"""Leases: MetaStore against etcd, the same leases and puts, in interleaved rounds, medians and
ratios.

  tools/dev bench lease [--rounds 2] [--seconds 5] [--scale 1] [--scenario NAME] [--only metastore]

renew: 10,000 leases over 100 streams, 16 keepalives in flight on each. memory: 100,000 leases
granted; resident memory a lease. expire: 100,000 leases with a key each that end at the same
moment, while 500 puts a second go on by a schedule; how late they end, and what the puts notice.
million: 1,000,000 leases of MetaStore, and renewals of them.

Results: a table, and build/bench/lease.json. Status 1: a wrong answer, a lease that ended before
its time, or a key that went twice. About ten minutes, most of it etcd's.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "load"))
import side_by_side  # noqa: E402

PUT_RATE = 500
STREAMS = ("--connections", 10, "--streams", 10, "--pipeline", 16)
SET_UP_MARGIN_S = 15
SET_UPS_A_LEASE = 3  # a grant and a put, and room for noise


class LeaseBench(side_by_side.SideBySide):
    goals = {
        "renew: renewals/s": (">=", 3, False),
        "renew: durable writes": ("<=", 0, True),
        "memory: bytes a lease": ("<=", 0.5, False),
        "expire: put p99 us": ("<=", 1 / 3, False),
        "million: renewals/s": (">=", 100_000, True),
    }
    own_only = ("million",)

    def scenarios(self):
        all_of_them = (self.renew, self.memory, self.expire, self.million)
        wanted = self.arguments.scenario
        return [one for one in all_of_them if not wanted or one.__name__ in wanted]

    def scaled(self, number):
        return max(1000, round(number * self.arguments.scale))

    def leasegen(self, server, *options, **more):
        return self.generate(server, "leasegen", *options, **more)

    def renewals(self, server, leases):
        """(report, durable writes meanwhile, memory when all were granted)."""
        seen = []

        def look():
            seen.append((server.durable_writes(), side_by_side.resident_bytes(server)))

        report = self.leasegen(
            server,
            *("--op", "renew", "--leases", leases, *STREAMS, "--duration", self.arguments.seconds),
            at_ready=look,
        )
        writes, memory = seen[0] if seen else (0, 0)
        return report, server.durable_writes() - writes, memory

    def renew(self, server):
        report, writes, _ = self.renewals(server, self.scaled(10_000))
        return {
            "renew: renewals/s": report.get("renew_rate"),
            "renew: p50 us": report.get("renew_p50_us"),
            "renew: p99 us": report.get("renew_p99_us"),
            "renew: durable writes": writes,
        }

    def memory(self, server):
        count = self.scaled(100_000)
        # A first few, so that what any client costs is not counted to the leases.
        self.leasegen(server, "--op", "renew", "--leases", 1, *STREAMS, "--duration", 0.5)
        before = side_by_side.resident_bytes(server)
        at_ready = []
        report = self.leasegen(
            server,
            *("--op", "grant", "--first", 2_000_000, "--leases", count),
            at_ready=lambda: at_ready.append(side_by_side.resident_bytes(server)),
        )
        return {
            "memory: grants/s": report.get("grant_rate"),
            "memory: bytes a lease": (at_ready[0] - before) / count if at_ready else None,
        }

    def expire(self, server):
        count = self.scaled(100_000)
        probe = self.leasegen(server, "--op", "grant", "--first", 3_000_000, "--leases", 2000)
        rate = probe.get("grant_rate") or 1000
        seconds = round(SET_UP_MARGIN_S + SET_UPS_A_LEASE * count / rate)
        report = self.leasegen(
            server,
            *("--op", "expire", "--leases", count, "--ttl", seconds, "--put-rate", PUT_RATE),
            *("--duration", 6 * self.arguments.seconds),
        )
        return {
            "expire: put p50 us": report.get("put_p50_us"),
            "expire: put p99 us": report.get("put_p99_us"),
            "expire: put max us": report.get("put_max_us"),
            "expire: leases/s": report.get("expire_rate"),
            "expire: share done": report["expired"] / count if "expired" in report else None,
            "expire: lived longer p99 us": report.get("late_p99_us"),
        }

    def million(self, server):
        before = side_by_side.resident_bytes(server)
        count = self.scaled(1_000_000)
        report, writes, memory = self.renewals(server, count)
        return {
            "million: grants/s": report.get("grant_rate"),
            "million: bytes a lease": (memory - before) / count,
            "million: renewals/s": report.get("renew_rate"),
            "million: durable writes": writes,
        }


if __name__ == "__main__":
    sys.exit(
        side_by_side.run_bench(LeaseBench(side_by_side.arguments_of(__doc__, "lease", seconds=5)))
    )
