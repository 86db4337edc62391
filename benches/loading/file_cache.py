"""How much of a file the page cache holds, and how to make it hold none."""

import ctypes
import mmap
import os
from pathlib import Path

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


def resident(path: Path) -> int:
    """Bytes of the file that are in the page cache, in whole pages."""
    length = path.stat().st_size
    pages = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
    with open(path, "rb") as file:
        # Not through Python's mmap, whose read-only maps do not tell their address.
        address = LIBC.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap", str(path))
    try:
        if LIBC.mincore(address, length, pages):
            raise OSError(ctypes.get_errno(), "mincore", str(path))
    finally:
        LIBC.munmap(address, length)
    # Only the lowest bit of a page's byte has a meaning, and Linux sets no other.
    return mmap.PAGESIZE * pages.raw.count(b"\x01")


def evict(path: Path, everything: bool = False):
    """Leaves none of the file in the page cache, or fails.

    With `everything`, all files go, which slows whatever else the machine does; it needs root.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # What is not written yet cannot be dropped.
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    if everything:
        DROP_CACHES.write_text("3\n")
    left = resident(path)
    if left:
        raise SystemExit(f"{path}: {left} bytes stay in the page cache: does another process map it?")
