#!/usr/bin/env python3
"""Aim: a member whose log is damaged below a promise repairs itself from the others, says so, and
counts again afterwards; nothing acknowledged is lost. Two of five do so one after the other; where
both are damaged at once, one is removed first, and added anew. Method: real members under load;
bytes of a stopped follower's log are flipped; then another member dies, so that every write needs
the one that was repaired."""
import time

import harness
from cluster import HEALTHY_S, Cluster, Load, metric

BLOCK = 4096
FRAME_MAGIC_BYTES = 8
REPAIR_S = 40
# No segment is recycled during a test, and the last one has what matters.
FEW_SEGMENTS = [
    "--snapshot-count",
    "200",
    "--experimental-wal-segment-bytes",
    "4194304",
    "--max-request-bytes",
    "20480",
]


def frames_of(path):
    """Offsets of the blocks that begin as the file's first frame does."""
    data = path.read_bytes()
    magic = data[BLOCK : BLOCK + FRAME_MAGIC_BYTES]
    if not any(magic):  # prepared, not written yet
        return []
    starts = range(BLOCK, len(data), BLOCK)
    return [at for at in starts if data[at : at + FRAME_MAGIC_BYTES] == magic]


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


class DamageTest(harness.NodeTest):
    size = 3

    def setUp(self):
        super().setUp()
        self.skip_for_etcd("its own log")
        self.cluster = Cluster(self, size=self.size, extra=FEW_SEGMENTS).start()

    def wal_of(self, member):
        return member.data / "member" / "wal"

    def damage(self, member):
        """Frames of the newest segment with more than a few; the last two are promised by none that
        holds anything. Gives the file."""
        for path in sorted(self.wal_of(member).glob("*.wal"), reverse=True):
            frames = frames_of(path)
            if len(frames) < 6:
                continue
            for at in frames[1:-3]:
                flip(path, at + 100)
            return path
        raise AssertionError("no segment with enough frames")

    def wait_repaired(self, member):
        def repaired():
            return "takes part in elections again" in member.log_text()

        harness.wait_until(repaired, REPAIR_S, f"{member.name} repairs itself")
        member.wait_serving()


class RepairTest(DamageTest):
    def test_a_damaged_follower_repairs_itself_and_votes_again(self):
        with Load(self.cluster.members) as load:
            load.wait_written(400)
            victim = self.cluster.followers()[0]
            victim.stop()
            path = self.damage(victim)
            load.wait_written(100)
            victim.spawn()
            self.wait_repaired(victim)
            said = victim.log_text()
            self.assertIn(f"{path.name} at offset", said)
            self.assertIn("the damaged log was set aside", said)
            aside = self.wal_of(victim).parent / "wal.damaged-1"
            self.assertTrue((aside / path.name).exists())
            self.assertEqual(victim.http_get("/health")[0], 200)
            self.assertEqual(metric(victim, "metastore_repair_elections_closed"), 0)
            load.wait_written(200)
            # From now on every write, and the next leader, needs the one that was repaired.
            self.cluster.leader().kill()
            self.cluster.leader()
            load.wait_written(200)
        self.cluster.check(load.history)

    def test_without_the_others_it_waits_and_without_the_right_it_refuses(self):
        with Load(self.cluster.members) as load:
            load.wait_written(500)
        victim, other = self.cluster.followers()
        victim.stop()
        path = self.damage(victim)
        usual = victim.extra
        victim.extra = [*usual, "--repair-from-peers=false"]
        victim.spawn()
        self.assertIn(f"{path.name} at offset", victim.last_words(20))
        victim.extra = usual
        other.kill()
        victim.spawn()
        self.assertRegex(victim.last_words(40), f"every other voter must answer.*{other.name}: ")
        self.assertFalse((self.wal_of(victim).parent / "wal.damaged-1").exists())
        other.spawn()
        victim.spawn()
        victim.wait_serving()
        self.cluster.check(load.history)


class TwoOfFiveTest(DamageTest):
    size = 5

    def test_two_repair_themselves_one_after_the_other(self):
        victims = self.cluster.followers()[:2]
        with Load(self.cluster.members) as load:
            for victim in victims:
                load.wait_written(400)
                victim.stop()
                self.damage(victim)
                victim.spawn()
                self.wait_repaired(victim)
            # From now on every write needs both.
            for member in self.cluster.followers():
                if member not in victims and len(self.cluster.alive()) > 3:
                    member.kill()
            load.wait_written(200)
        self.cluster.check(load.history)

    def test_of_two_at_once_one_is_removed_and_the_other_repairs_itself(self):
        victims = self.cluster.followers()[:2]
        with Load([one for one in self.cluster.members if one not in victims]) as load:
            load.wait_written(400)
            ids = {victim: victim.hex_id() for victim in victims}
            for victim in victims:
                victim.stop()
                self.damage(victim)
            for victim in victims:
                victim.spawn()
            for victim, other in (victims, victims[::-1]):
                said = victim.last_words(40)
                self.assertRegex(said, f"every other voter must answer.*{other.name}: ")
            lost, kept = victims
            leader = self.cluster.leader(among=self.cluster.alive())
            removed = leader.etcdctl("member", "remove", ids[lost])
            self.assertEqual(removed.status, 0, removed.errors)
            kept.spawn()
            self.wait_repaired(kept)
            self.cluster.members.remove(lost)
            time.sleep(HEALTHY_S)
            anew = self.cluster.joining("m6")
            added = leader.etcdctl("member", "add", anew.name, f"--peer-urls={anew.peer_url}")
            self.assertEqual(added.status, 0, added.errors)
            anew.start()
            load.wait_written(200)
        self.cluster.check(load.history)


if __name__ == "__main__":
    harness.main()
