"""Files of kinds that Pillow reads and does not write: deep and shallow samples, a transparent colour, and JPEGs
whose four channels are marked in other ways than Pillow marks them."""

import struct
import zlib
from pathlib import Path

import numpy as np

WIDTH, HEIGHT = 24, 16
NAMES = [
    *["rgb16.png", "rgba16.png", "grey_alpha16.png", "grey2.png", "grey4.png", "rgb_hole.png", "grey_hole.png"],
    *["cmyk_unmarked.jpg", "ycck.jpg"],
]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits: int, colour: int, rows: list[bytes], hole: bytes | None = None) -> bytes:
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)
    holes = chunk(b"tRNS", hole) if hole else b""
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + holes + data + chunk(b"IEND", b"")


def write_all(folder: Path):
    rng = np.random.Generator(np.random.PCG64(3))
    rows = lambda length: [rng.integers(0, 256, length, dtype=np.uint8).tobytes() for _ in range(HEIGHT)]
    for name, channels, colour in [("rgb16", 3, 2), ("rgba16", 4, 6), ("grey_alpha16", 2, 4)]:
        (folder / f"{name}.png").write_bytes(png(16, colour, rows(2 * channels * WIDTH)))
    for bits in (2, 4):
        (folder / f"grey{bits}.png").write_bytes(png(bits, 0, rows(WIDTH * bits // 8)))
    colours, greys = rows(3 * WIDTH), rows(WIDTH)
    hole = struct.pack(">HHH", *colours[0][:3])
    (folder / "rgb_hole.png").write_bytes(png(8, 2, colours, hole))
    (folder / "grey_hole.png").write_bytes(png(8, 0, greys, struct.pack(">H", greys[0][0])))

    jpeg = (folder / "cmyk.jpg").read_bytes()
    adobe = jpeg.index(b"\xff\xee")
    after = adobe + 2 + struct.unpack(">H", jpeg[adobe + 2 : adobe + 4])[0]
    (folder / "cmyk_unmarked.jpg").write_bytes(jpeg[:adobe] + jpeg[after:])
    # Its last byte says how colours were transformed: 2 is YCCK.
    (folder / "ycck.jpg").write_bytes(jpeg[: after - 1] + b"\x02" + jpeg[after:])
