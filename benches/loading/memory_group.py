"""A limit on a process's memory: a control group, where this process may make one."""

import os
import resource
import signal
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """A control group below this process's own. The kernel kills in it who goes over the limit.

    Page cache counts too, but is taken back before anyone is killed.
    """

    def __init__(self, path: Path, limit: int, unified: bool):
        self.path = path
        self.peak_file = "memory.peak" if unified else "memory.max_usage_in_bytes"
        path.mkdir()
        (path / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(limit))
        swap = path / ("memory.swap.max" if unified else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if unified else str(limit))

    how = "control group"

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self) -> int | None:
        """Most that was charged to the group, page cache included."""
        path = self.path / self.peak_file
        return int(path.read_text()) if path.exists() else None

    def close(self):
        self.path.rmdir()


class DataLimit:
    """Where there is no group: allocation fails beyond the limit. File mappings do not count."""

    how = "RLIMIT_DATA"

    def __init__(self, limit: int):
        self.limit = limit

    def enter(self):
        resource.setrlimit(resource.RLIMIT_DATA, (self.limit, self.limit))

    def peak(self) -> int | None:
        return None

    def close(self):
        pass


def limited(limit: int) -> MemoryGroup | DataLimit:
    """The best limit that this machine allows."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, inside = line.split(":", 2)
        parent = {"memory": ROOT / "memory", "": ROOT}.get(controllers)
        if parent is None:
            continue
        # In version 2 a group holds either processes or groups, so make a sister of our own.
        own = parent / inside.lstrip("/")
        place = own if controllers else own.parent
        try:
            return MemoryGroup(place / f"loading-{os.getpid()}", limit, unified=not controllers)
        except OSError:
            # No right to, or no memory controller there.
            continue
    return DataLimit(limit)


def died_how(status: int) -> str:
    if status == 0:
        return "finished"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"failed with status {status}"
