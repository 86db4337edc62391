"""Colours and parts that the simple scenes share."""

from raster import primitive as p

SKIES = {
    "blue": ((98, 172, 238), (206, 234, 250)),
    "orange": ((232, 104, 66), (252, 206, 120)),
    "pink": ((214, 120, 182), (252, 212, 200)),
    "purple": ((84, 62, 146), (216, 152, 196)),
    "gray": ((140, 152, 168), (208, 214, 220)),
}
GRASS = [((124, 190, 82), (84, 150, 62)), ((142, 200, 96), (98, 166, 74)), ((104, 176, 86), (66, 134, 66))]
HILLS = {
    "green": [(150, 204, 110), (108, 178, 86), (72, 148, 70)],
    "purple": [(176, 150, 208), (136, 104, 180), (98, 70, 148)],
    "brown": [(204, 164, 120), (172, 126, 84), (136, 94, 60)],
    "blue": [(150, 184, 220), (106, 148, 200), (70, 112, 172)],
}
WATER = ((84, 160, 216), (40, 106, 180))
SNOW = ((248, 250, 254), (222, 232, 244))
WOOD, DARK, WHITE = (118, 78, 50), (44, 46, 54), (250, 250, 248)


def shade(colour, factor):
    return tuple(min(255, max(0, c * factor)) for c in colour)


def sky(w, h, name="blue", down=1.0):
    top, low = SKIES[name]
    return p("full", w / 2, h * down / 2, w / 2, h * down / 2, top, to=low)


def ground(w, h, y, colours):
    return p("box", w / 2, (y + h) / 2, w / 2 + 0.1, (h - y) / 2, colours[0], to=colours[1])


def cloud(x, y, s, colour=WHITE):
    return [p("ellipse", x - s * 0.6, y, s * 0.45, s * 0.32, colour), p("ellipse", x, y - s * 0.16, s * 0.55, s * 0.46, colour),
            p("ellipse", x + s * 0.62, y, s * 0.42, s * 0.3, colour), p("box", x, y + s * 0.16, s * 0.98, s * 0.16, colour, a=s * 0.15)]


def sun(x, y, s, colour=(252, 214, 58)):
    return [p("ellipse", x, y, s * 1.35, s * 1.35, colour, alpha=0.25), p("ellipse", x, y, s, s, colour)]


def maybe_clouds(rng, w, h, chance=0.5):
    if rng.random() > chance:
        return []
    return cloud(w * rng.choice([0.2, 0.75]), h * rng.uniform(0.12, 0.2), rng.uniform(0.09, 0.13))


def tree(x, base, s, leaves, pine=False):
    if pine:
        return [p("box", x, base - s * 0.14, s * 0.07, s * 0.16, WOOD)] + [
            p("triangle", x, base - s * (0.45 + 0.3 * i), s * (0.42 - 0.09 * i), s * 0.27, shade(leaves, 0.8 + 0.1 * i)) for i in range(3)
        ]
    return [p("box", x, base - s * 0.25, s * 0.075, s * 0.28, WOOD), p("ellipse", x - s * 0.22, base - s * 0.62, s * 0.28, s * 0.26, shade(leaves, 0.9)),
            p("ellipse", x + s * 0.22, base - s * 0.62, s * 0.28, s * 0.26, shade(leaves, 0.9)), p("ellipse", x, base - s * 0.8, s * 0.32, s * 0.3, leaves)]
