"""Writes a BF16 transformer of real widths and fewer blocks, for loaders that refuse FP8."""

import json
import os
import sys
from math import prod
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "reference"))

import real_headers  # noqa: E402

PIECE = 16 << 20


def tensors(blocks: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes as published, of the first blocks."""
    source = real_headers.LISTS / "qwen_image_fp8_e4m3fn.txt"
    shapes = {name: shape for name, (_, shape) in real_headers.unpack(source.read_text(encoding="utf-8")).items()}
    return {name: shape for name, shape in shapes.items() if block_of(name) < blocks}


def block_of(name: str) -> int:
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "transformer_blocks" else -1


def write(path: Path, blocks: int):
    """Weights are random, below 2 in size: bytes that no disk can shorten."""
    entries, end = {}, 0
    for name, shape in tensors(blocks).items():
        start, end = end, end + 2 * prod(shape)
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    # The second byte of an element holds its sign and exponent: without the exponent's highest bit
    # nothing is large, infinite or not a number.
    high = bytes(byte & 0xBF for byte in range(256))
    with open(partial, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for start in range(0, end, PIECE):
            piece = bytearray(os.urandom(min(PIECE, end - start)))
            piece[1::2] = piece[1::2].translate(high)
            file.write(piece)
    partial.replace(path)
