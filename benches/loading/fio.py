"""The disk's own speed: fio reading the same file past the page cache."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import process

MIB = 1 << 20


@dataclass(frozen=True)
class Setting:
    engine: str
    jobs: int
    depth: int
    block: int
    # Buffers in huge pages: a read of a block is split into fewer, larger ones.
    huge: bool

    def __str__(self) -> str:
        ahead = f"{self.jobs} jobs" if self.engine == "psync" else f"depth {self.depth}"
        return f"{self.engine}, {ahead}, {self.block // MIB} MiB, {'huge' if self.huge else 'small'} pages"

    @property
    def in_flight(self) -> int:
        """Bytes of buffers."""
        return self.jobs * self.depth * self.block


# How this project reads: 4 threads, each a buffer at a time.
LIKE_OURS = Setting("psync", 4, 1, 16 * MIB, huge=False)


def settings(most_in_flight: int = 512 * MIB) -> list[Setting]:
    """A grid of threads, queue depths and block sizes."""
    kinds = [(block, huge) for block in (MIB, 4 * MIB, 16 * MIB) for huge in (False, True)]
    grid = [Setting("psync", jobs, 1, *kind) for jobs in (1, 2, 4, 8) for kind in kinds]
    grid += [Setting("io_uring", 1, depth, *kind) for depth in (4, 8, 16, 32) for kind in kinds]
    return [setting for setting in grid if setting.in_flight <= most_in_flight]


def read(path: Path, setting: Setting, start: int = 0, length: int | None = None) -> tuple[process.Outcome, float, int]:
    """Reads a part of the file, each job a stretch of it; gives seconds and bytes too."""
    length = path.stat().st_size - start if length is None else length
    # Whole blocks only; what is left over at the end is less than a block for each job.
    share = length // setting.jobs // setting.block * setting.block
    # fio allocates with malloc, which glibc can ask for huge pages.
    pages = {"GLIBC_TUNABLES": f"glibc.malloc.hugetlb={int(setting.huge)}"}
    outcome = process.run(
        [
            *("fio", "--name=read", f"--filename={path}", "--readonly", "--rw=read", "--direct=1"),
            *(f"--ioengine={setting.engine}", f"--iodepth={setting.depth}", f"--bs={setting.block}"),
            *(f"--numjobs={setting.jobs}", "--thread", "--group_reporting"),
            *(f"--offset={start}", f"--offset_increment={share}", f"--size={share}"),
            "--output-format=json",
        ],
        env=os.environ | pages,
    )
    if outcome.status:
        raise SystemExit(f"fio, {setting}: {outcome.stderr or outcome.stdout}")
    # Notes of fio may stand before the JSON.
    result = json.loads(outcome.stdout[outcome.stdout.index("{") :])["jobs"][0]
    return outcome, result["read"]["runtime"] / 1e3, result["read"]["io_bytes"]
