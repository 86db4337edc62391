"""A limit on a process's memory, by a control group."""

import os
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
        try:
            most = path / ("memory.max" if unified else "memory.limit_in_bytes")
            if not most.exists():
                raise FileNotFoundError(most)
            most.write_text(str(limit))
            swap = path / ("memory.swap.max" if unified else "memory.memsw.limit_in_bytes")
            if swap.exists():
                swap.write_text("0" if unified else str(limit))
        except OSError:
            self.close()
            raise

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self) -> int | None:
        """Most that was charged to the group, page cache included."""
        path = self.path / self.peak_file
        return int(path.read_text()) if path.exists() else None

    def close(self):
        self.path.rmdir()


def limited(limit: int) -> MemoryGroup:
    """A new group with that limit.

    Resource limits are no substitute: RLIMIT_DATA and RLIMIT_AS count private file mappings, which
    cost no memory, and refuse what a machine of that size would allow.
    """
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, inside = line.split(":", 2)
        parent = {"memory": ROOT / "memory", "": ROOT}.get(controllers)
        if parent is None:
            continue
        # In version 2 a group holds either processes or groups, so make a sister of our own.
        own = parent / inside.lstrip("/")
        place = own if controllers or own == ROOT else own.parent
        try:
            return MemoryGroup(place / f"loading-{os.getpid()}", limit, unified=not controllers)
        except OSError:
            # No right to, or no memory controller there.
            continue
    raise SystemExit("cannot limit memory: no right to make a control group; run this as root")


def died_how(status: int) -> str:
    if status == 0:
        return "finished"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"failed with status {status}"
