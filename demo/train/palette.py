"""Colour, shape and place names, and which of their pairs training never sees."""

import zlib

COLOURS = {
    "red": (226, 54, 54),
    "orange": (250, 142, 28),
    "yellow": (252, 214, 58),
    "green": (62, 158, 74),
    "blue": (40, 104, 222),
    "purple": (138, 52, 176),
    "pink": (246, 142, 184),
    "brown": (122, 80, 54),
    "black": (32, 32, 36),
    "white": (250, 250, 248),
    "gray": (150, 154, 160),
    "cyan": (52, 196, 210),
}
# Named with two words; they are learnt, but the score uses the twelve above.
SHADES = {
    "light blue": (160, 208, 246),
    "dark blue": (26, 42, 122),
    "light green": (170, 220, 140),
    "dark green": (24, 94, 48),
    "beige": (238, 224, 194),
}
RGB = {**COLOURS, **SHADES}

SHAPES = [
    "circle", "square", "triangle", "rectangle", "oval", "star", "ring",
    "heart", "diamond", "hexagon", "cross", "crescent", "arrow",
]  # fmt: skip
PLURALS = {"cross": "crosses"}

# Centre of the place, as a fraction of the width and of the height.
PLACES = {
    "center": (0.5, 0.5),
    "left": (0.22, 0.5),
    "right": (0.78, 0.5),
    "top": (0.5, 0.22),
    "bottom": (0.5, 0.78),
    "top left": (0.24, 0.24),
    "top right": (0.76, 0.24),
    "bottom left": (0.24, 0.76),
    "bottom right": (0.76, 0.76),
}
# Half of an object's extent, as a fraction of the image's shorter side.
SIZES = {"small": (0.085, 0.115), "": (0.17, 0.23), "large": (0.31, 0.37)}


def plural(shape: str) -> str:
    return PLURALS.get(shape, shape + "s")


def place_of(x: float, y: float) -> str:
    """The place whose third of the image holds the point."""
    column = ("left", "", "right")[min(int(x * 3), 2)]
    row = ("top", "", "bottom")[min(int(y * 3), 2)]
    return f"{row} {column}".strip() or "center"


def held_out(kind: str, first: str, second: str) -> bool:
    """About one pair in twelve. The centre is never held out: an unnamed place is the centre."""
    if "center" in (first, second):
        return False
    return zlib.crc32(f"{kind}:{first}:{second}".encode()) % 12 == 5


def unseen(colour: str, shape: str, place: str, background: str | None) -> list[str]:
    """Which of the object's pairs training leaves out."""
    pairs = [("shape", colour, shape), ("place", shape, place)]
    if background:
        pairs.append(("ground", colour, background))
    return [kind for kind, a, b in pairs if held_out(kind, a, b)]


def distance(a: str, b: str) -> float:
    return sum((x - y) ** 2 for x, y in zip(RGB[a], RGB[b])) ** 0.5
