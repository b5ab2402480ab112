"""The disk of one process slowed down or stopped: a control group of its own, whose writes the
kernel holds back in the block layer (blkio.throttle of cgroup v1, io.max of v2). Reads, and what
others write to the same disk, go on. Needs root; `missing()` says what is not there.
"""
import os
import re
from pathlib import Path

STALLED_BYTES_PER_S = 1  # the next block comes in more than an hour


class Unavailable(OSError):
    """This kernel, file system or user cannot limit a process's writes."""


def missing(path):
    """Why the disk below `path` cannot be slowed for one process, or None."""
    try:
        with DiskLimit("probe", path) as limit:
            limit.stall()
            limit.release()
    except OSError as error:
        return f"no control group limits writes: {error}"
    return None


class DiskLimit:
    """A control group that limits the writes of its members to the disk below `path`: none at
    first. Gone at the end of the with block or at close(); its processes must have ended by then.
    """

    def __init__(self, name, path):
        self.device = _disk_of(path)
        parent, self.unified = _hierarchy()
        self.directory = parent / f"ms-{name}-{os.getpid()}"
        try:
            if self.unified:
                (parent / "cgroup.subtree_control").write_text("+io")
            self.directory.mkdir()
        except OSError as error:
            raise Unavailable(f"{self.directory}: {error.strerror}") from None

    def add(self, pid):
        """A process, and what it starts from now on."""
        (self.directory / "cgroup.procs").write_text(str(pid))

    def stall(self):
        """No write ends from now on."""
        self._set("bps", STALLED_BYTES_PER_S)

    def slow(self, writes_per_s):
        self._set("iops", writes_per_s)

    def release(self):
        """No limit any more; what was held back goes on at once."""
        self._set("bps", 0)
        self._set("iops", 0)

    def _set(self, what, limit):
        """0: none."""
        if self.unified:
            name, text = "io.max", f"{self.device} w{what}={limit or 'max'}"
        else:
            name, text = f"blkio.throttle.write_{what}_device", f"{self.device} {limit}"
        (self.directory / name).write_text(text)

    def close(self):
        self.directory.rmdir()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _disk_of(path):
    """MAJOR:MINOR of the whole disk that holds `path`: partitions have no limits of their own."""
    number = os.stat(path).st_dev
    block = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not block.exists():
        raise Unavailable(f"{path} lies on no block device")
    if (block / "partition").exists():
        block = block.resolve().parent
    return (block / "dev").read_text().strip()


def _hierarchy():
    """(where control groups that limit writes are made, whether it is cgroup v2)."""
    mounts = Path("/proc/self/mounts").read_text()
    found = re.search(r"^\S+ (\S+) cgroup \S*\bblkio\b", mounts, flags=re.M)
    if found:
        return Path(found[1]), False
    found = re.search(r"^\S+ (\S+) cgroup2 ", mounts, flags=re.M)
    if not found or "io" not in (Path(found[1]) / "cgroup.controllers").read_text().split():
        raise Unavailable("neither cgroup v1's blkio nor cgroup v2's io is mounted")
    return Path(found[1]), True
