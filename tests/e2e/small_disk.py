"""A small ext4 file system in a file, for disks that get full. Needs the right to mount."""
import errno
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path


class SmallDisk:
    """Mounted below the test's directory until the test ends; skips the test without the right.
    At the end the test's nodes are killed first, so that nobody holds it."""

    def __init__(self, test, mib, name="disk"):
        image = test.directory / f"{name}.img"
        mount = tempfile.mkdtemp(prefix="mount-", dir=test.directory)
        with open(image, "wb") as file:
            file.truncate(mib << 20)
        mkfs = shutil.which("mkfs.ext4", path=os.environ["PATH"] + ":/sbin:/usr/sbin")
        if mkfs is None:
            test.skipTest("mkfs.ext4 is not installed")
        subprocess.run([mkfs, "-q", "-m", "0", str(image)], check=True, capture_output=True)
        mounted = subprocess.run(
            ["mount", "-o", "loop", str(image), mount], capture_output=True, text=True
        )
        if mounted.returncode != 0:
            test.skipTest(f"no right to mount a file system: {mounted.stderr.strip()}")
        self.path = Path(mount)
        self.ballast = self.path / "ballast"
        self.test = test
        test.addCleanup(self._unmount)

    def _unmount(self):
        for node in self.test.nodes:
            node.kill()
        for _ in range(50):
            if subprocess.run(["umount", str(self.path)], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)

    def free_bytes(self):
        left = os.statvfs(self.path)
        return left.f_bavail * left.f_frsize

    def fill(self, left_bytes):
        """Takes all space but so much; less is left where others write meanwhile."""
        with open(self.ballast, "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, max(1, self.free_bytes() - left_bytes))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def make_room(self):
        self.ballast.unlink()
