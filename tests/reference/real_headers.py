"""Packs the key lists of the real checkpoints into patterns, and unpacks them to prove it.

A line is `DTYPE SHAPE PATTERN`. README.md has the grammar.
"""

import itertools
import json
import re
from pathlib import Path

SCALAR = "scalar"

# Where the lists are kept: they are part of the loader.
LISTS = Path(__file__).resolve().parents[2] / "loader" / "src" / "published" / "lists"


def write(folder: Path, source: Path):
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        keys = {key: (dtype, tuple(shape)) for key, (dtype, shape) in content["keys"].items()}
        text = "\n".join(pack(keys)) + "\n"
        assert unpack(text) == keys and len(keys) == content["tensors"], path
        (folder / f"{path.stem}.txt").write_text(text)


def pack(keys: dict) -> list[str]:
    groups: dict = {}
    for key, kind in keys.items():
        groups.setdefault(kind, []).append(tuple((part,) for part in key.split(".")))
    lines = []
    for (dtype, shape), patterns in groups.items():
        size = "x".join(map(str, shape)) or SCALAR
        lines += [f"{dtype} {size} {render(pattern)}" for pattern in merge(patterns)]
    return lines


def merge(patterns: list[tuple]) -> list[tuple]:
    """Joins patterns that differ in one place only, until none is left.

    A pattern is a tuple of places, a place a tuple of alternatives; it stands for the product
    of its places, so joining two that agree everywhere else adds nothing that was not there.
    """
    merged = True
    while merged:
        merged = False
        for place in range(max(map(len, patterns))):
            families: dict = {}
            for pattern in patterns:
                if place < len(pattern):
                    rest = (pattern[:place], pattern[place + 1 :])
                    families.setdefault(rest, []).append(pattern[place])
                else:
                    families[(pattern, None)] = []
            joined = [
                before if after is None else (*before, tuple(itertools.chain(*parts)), *after)
                for (before, after), parts in families.items()
            ]
            merged |= len(joined) < len(patterns)
            patterns = joined
    return patterns


def render(pattern: tuple) -> str:
    return ".".join(place[0] if len(place) == 1 else "{" + alternatives(place) + "}" for place in pattern)


def alternatives(place: tuple) -> str:
    if all(part.isdigit() for part in place):
        numbers = sorted(map(int, place))
        if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]}..{numbers[-1]}"
        return ",".join(map(str, numbers))
    return ",".join(place)


def unpack(text: str) -> dict:
    keys = {}
    for line in text.splitlines():
        dtype, size, pattern = line.split(" ")
        shape = () if size == SCALAR else tuple(map(int, size.split("x")))
        for key in expand(pattern):
            assert key not in keys, key
            keys[key] = (dtype, shape)
    return keys


def expand(pattern: str) -> list[str]:
    choices = []
    for piece in re.split(r"(\{.*?\})", pattern):
        if not piece.startswith("{"):
            choices.append([piece])
        elif match := re.fullmatch(r"\{(\d+)\.\.(\d+)\}", piece):
            choices.append([str(n) for n in range(int(match[1]), int(match[2]) + 1)])
        else:
            choices.append(piece[1:-1].split(","))
    return ["".join(parts) for parts in itertools.product(*choices)]
