#!/usr/bin/env python3
"""Aim: after two of three members are lost for good, the third goes on alone with everything it
has, says what may be missing, keeps the lost ones out, and grows to three again. Method: real
members under load, killed; --force-new-cluster as an operator gives it."""
import shutil

import harness
from cluster import CATCH_UP_S, HEALTHY_S, Cluster, Load

ENDS_S = 20


class ForceTest(harness.NodeTest):
    def setUp(self):
        super().setUp()
        self.skip_for_etcd("its report and words are others")
        self.cluster = Cluster(self).start()

    def give(self, member, *flags):
        member.extra = [*self.cluster.extra, *flags]

    def refused(self, member, *flags):
        """What it says when it does not start with these."""
        self.give(member, *flags)
        member.spawn()
        return member.last_words(ENDS_S)

    def join(self, through, member):
        """With an empty disk, under a new identity."""
        shutil.rmtree(member.data)
        add = ["member", "add", member.name, f"--peer-urls={member.peer_url}"]
        harness.wait_until(
            lambda: through.etcdctl(*add).status == 0, 2 * HEALTHY_S, f"{member.name} is added"
        )
        self.give(member, "--initial-cluster-state", "existing")
        member.start()

    def test_the_survivor_goes_on_alone_and_grows_again(self):
        m1, m2, m3 = self.cluster.members
        with Load([m3]) as load:
            load.wait_written(300)
            m1.kill()
            m2.kill()
        m3.kill()
        self.assertIn("nothing was changed", self.refused(m3, "--force-new-cluster-plan"))
        self.assertTrue((m3.data / "force-new-cluster-plan.report").exists())

        self.give(m3, "--force-new-cluster")
        m3.start()
        load.history.check()
        load.history.check_state(*m3.everything(), "m3")
        (report,) = m3.data.glob("force-new-cluster-[0-9]*.report")
        text = report.read_text()
        self.assertIn("goes on    m3 (", text)
        for lost in (m1, m2):
            self.assertIn(f"taken out  {lost.name} (", text)
        self.assertIn("taken out  m1 (", m3.log_text())
        self.assertEqual(m3.etcdctl("member", "list").output.count("\n"), 1)

        # Back with their old data they would be a majority of the old cluster.
        for lost in (m1, m2):
            lost.spawn()
        for lost in (m1, m2):
            self.assertIn("removed from the cluster", lost.last_words(ENDS_S))
        self.assertEqual(m3.etcdctl("put", "still", "alone").status, 0)

        # The flag may stay until others are added.
        m3.stop()
        m3.start()
        self.join(m3, m1)
        m3.stop()
        self.assertIn("this was done before", self.refused(m3, "--force-new-cluster"))
        self.give(m3)
        m3.start()
        self.join(m3, m2)
        self.cluster.wait_equal(timeout=2 * CATCH_UP_S)
        load.history.check_state(*m2.everything(), "m2")

    def test_a_wrong_data_directory_is_refused(self):
        m3 = self.cluster.members[2]
        m3.stop()
        m3.data.rename(m3.data.with_name("elsewhere"))
        words = self.refused(m3, "--force-new-cluster")
        self.assertIn("give it the data directory of the surviving member", words)


if __name__ == "__main__":
    harness.main()
