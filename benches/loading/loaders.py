"""Reads one file in one way and prints the time as JSON: {"seconds": …, "bytes": …}.

    python loaders.py WAY FILE

Only the reading is timed, not the start of Python and of torch.
"""

import json
import sys
import time

MIB = 1 << 20
PAGE = 4096


def buffered(path: str) -> int:
    """What `cat FILE > /dev/null` does."""
    total = 0
    buffer = bytearray(MIB)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def load_file(path: str, **how) -> int:
    """Tensors on the CPU are views of a mapping: one byte of each page is read, the least that
    any use of the weights asks for.
    """
    tensors = safetensors.torch.load_file(path, **how)
    total = touched = 0
    for tensor in tensors.values():
        total += tensor.nbytes
        flat = tensor.reshape(-1).view(torch.uint8)
        # A copy of every 4096th byte, where a sum would widen them to 8 bytes each.
        touched += flat[::PAGE].clone().numel()
    assert touched >= total // PAGE
    return total


WAYS = {
    "buffered": buffered,
    "load_file": load_file,
    "load_file_pread": lambda path: load_file(path, backend="pread"),
}

if __name__ == "__main__":
    way, path = sys.argv[1:]
    if way != "buffered":
        import safetensors.torch
        import torch

    start = time.perf_counter()
    count = WAYS[way](path)
    print(json.dumps({"seconds": time.perf_counter() - start, "bytes": count}))
