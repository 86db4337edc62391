"""Samples scenes of flat shapes: what is where, the primitives that draw it, the facts that name it."""

from dataclasses import dataclass, field

from palette import COLOURS, PLACES, RGB, SHADES, SHAPES, SIZES, distance, place_of, unseen
from raster import primitive

# Two colours side by side must be told apart.
CONTRAST = 110.0


@dataclass
class Object:
    shape: str
    colour: str
    x: float  # of the width
    y: float  # of the height
    half: float  # of the shorter side
    size: str = ""
    turn: str = ""  # where an arrow points


@dataclass
class Scene:
    objects: list[Object]
    ground: dict  # {"style", "colour", "second"}
    layout: str  # "one", "count", "pair", "inside", "three", "group"
    facts: dict = field(default_factory=dict)


TURNS = {"right": 0.0, "down": 1.5708, "left": 3.14159, "up": -1.5708}


def draw_object(o: Object, w: float, h: float) -> list:
    x, y, s, colour = o.x * w, o.y * h, o.half, RGB[o.colour]
    match o.shape:
        case "circle":
            return primitive("ellipse", x, y, s, s, colour)
        case "oval":
            return primitive("ellipse", x, y, s, s * 0.6, colour)
        case "square":
            return primitive("box", x, y, s * 0.88, s * 0.88, colour)
        case "rectangle":
            return primitive("box", x, y, s, s * 0.55, colour)
        case "triangle":
            return primitive("triangle", x, y, s, s * 0.88, colour)
        case "diamond":
            return primitive("rhombus", x, y, s * 0.72, s, colour)
        case "hexagon":
            return primitive("polygon", x, y, s, s, colour, a=6.0)
        case "star":
            return primitive("star", x, y + s * 0.06, s * 1.06, s, colour, a=0.42)
        case "ring":
            return primitive("ring", x, y, s, s, colour, a=s * 0.36)
        case "heart":
            return primitive("heart", x, y, s, s, colour)
        case "cross":
            return primitive("cross", x, y, s, s, colour, a=0.32)
        case "crescent":
            return primitive("crescent", x, y, s, s, colour, a=0.46, b=0.12)
        case "arrow":
            return primitive("arrow", x, y, s, s, colour, rot=TURNS[o.turn or "right"])
    raise ValueError(o.shape)


def draw_ground(g: dict, w: float, h: float) -> list[list]:
    first, second = RGB[g["colour"]], RGB[g.get("second") or g["colour"]]
    style = g["style"]
    if style == "gradient":
        return [primitive("full", w / 2, h / 2, w / 2, h / 2, first, to=second)]
    layers = [primitive("full", w / 2, h / 2, w / 2, h / 2, second)]
    if style in ("stripes", "bars"):
        rot = 1.5708 if style == "bars" else 0.0
        layers.append(primitive("stripes", 0, 0, 1, 1, first, rot=rot, a=g["period"]))
    elif style in ("checks", "dots"):
        layers.append(primitive(style, 0, 0, 1, 1, first, a=g["period"], b=g["period"] * 0.26))
    return layers


def sample_ground(rng, objects: list[str]) -> dict:
    """A background that every object stands out from."""
    names = [c for c in RGB if all(distance(c, o) > CONTRAST for o in objects)]
    roll = rng.random()
    colour = rng.choice(names if rng.random() < 0.8 else [c for c in names if c in SHADES] or names)
    if roll < 0.74:
        return {"style": "plain", "colour": colour}
    others = [c for c in names if c != colour]
    style = "gradient" if roll < 0.84 else rng.choice(["stripes", "bars", "checks", "dots"])
    if style != "gradient":
        others = [c for c in others if distance(c, colour) > 60]
    if not others:
        return {"style": "plain", "colour": colour}
    period = rng.choice([0.0625, 0.09, 0.125]) if style != "dots" else rng.choice([0.125, 0.18, 0.25])
    return {"style": style, "colour": colour, "second": rng.choice(others), "period": period}


def sample_colour(rng) -> str:
    return rng.choice(list(COLOURS) if rng.random() < 0.9 else list(SHADES))


def turn(rng, shape: str) -> str:
    return rng.choice(list(TURNS)) if shape == "arrow" else ""


def half(rng, size: str, most: float = 1.0) -> float:
    low, high = SIZES[size]
    return min(rng.uniform(low, high), most)


def near(rng, value: float, by: float = 0.025) -> float:
    return value + rng.uniform(-by, by)


def one(rng) -> Scene:
    shape, colour = rng.choice(SHAPES), sample_colour(rng)
    size = rng.choice(["", "", "small", "large"])
    place = "center" if size == "large" or rng.random() < 0.4 else rng.choice(list(PLACES))
    x, y = PLACES[place]
    most = 1.0 if place == "center" else 0.19
    o = Object(shape, colour, near(rng, x), near(rng, y), half(rng, size, most), size, turn(rng, shape))
    return Scene([o], {}, "one", {"place": place})


ROWS = {1: [(0.0, 0.0)], 2: [(-1, 0), (1, 0)], 3: [(-1.6, 0), (0, 0), (1.6, 0)], 4: [(-1, -1), (1, -1), (-1, 1), (1, 1)]}  # fmt: skip


def cluster(rng, shape, colour, count, x, y, s, spread, w, h) -> list[Object]:
    kind = turn(rng, shape)
    return [
        Object(shape, colour, near(rng, x + dx * spread / w, 0.008), near(rng, y + dy * spread / h, 0.008), s, "", kind)
        for dx, dy in ROWS[count]
    ]


def count(rng, w, h) -> Scene:
    n = rng.choice([2, 2, 3, 3, 4])
    shape, colour = rng.choice(SHAPES), sample_colour(rng)
    s = {2: rng.uniform(0.14, 0.18), 3: rng.uniform(0.11, 0.135), 4: rng.uniform(0.13, 0.16)}[n]
    spread = {2: 0.24, 3: 0.19, 4: 0.22}[n]
    return Scene(cluster(rng, shape, colour, n, 0.5, 0.5, s, spread, w, h), {}, "count", {"count": n})


RELATIONS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}


def pair(rng, w, h) -> Scene:
    relation = rng.choice(list(RELATIONS))
    dx, dy = RELATIONS[relation]
    objects = []
    for sign in (1, -1):
        shape = rng.choice([s for s in SHAPES if s not in [o.shape for o in objects]])
        size = rng.choice(["", "", "", "small"])
        s = half(rng, size, 0.19)
        x, y = 0.5 + sign * dx * 0.25, 0.5 + sign * dy * 0.25
        objects.append(Object(shape, sample_colour(rng), near(rng, x), near(rng, y), s, size, turn(rng, shape)))
    return Scene(objects, {}, "pair", {"relation": relation})


def inside(rng, w, h) -> Scene:
    outer = Object(rng.choice(["circle", "square", "hexagon", "diamond"]), sample_colour(rng), 0.5, 0.5, half(rng, "large"), "large")
    shape = rng.choice([s for s in SHAPES if s != outer.shape])
    colour = rng.choice([c for c in COLOURS if distance(c, outer.colour) > CONTRAST])
    inner = Object(shape, colour, 0.5, 0.5, rng.uniform(0.09, 0.12), "small", turn(rng, shape))
    return Scene([outer, inner], {}, "inside")


def three(rng, w, h) -> Scene:
    upright = rng.random() < (0.8 if h > w else 0.2)
    shapes = rng.sample(SHAPES, 3)
    objects = []
    for i, shape in enumerate(shapes):
        along = near(rng, 0.19 + 0.31 * i, 0.012)
        x, y = (0.5, along) if upright else (along, 0.5)
        objects.append(Object(shape, sample_colour(rng), x, y, rng.uniform(0.105, 0.135), "", turn(rng, shape)))
    return Scene(objects, {}, "three", {"upright": upright})


def group(rng, w, h) -> Scene:
    """A few alike above or below a single other one."""
    n = rng.choice([2, 2, 3])
    above = rng.random() < 0.5
    shape, other = rng.sample(SHAPES, 2)
    s = rng.uniform(0.11, 0.14)
    objects = cluster(rng, shape, sample_colour(rng), n, 0.5, 0.27 if above else 0.73, s, {2: 0.21, 3: 0.19}[n], w, h)
    objects.append(Object(other, sample_colour(rng), near(rng, 0.5), 0.73 if above else 0.27, rng.uniform(0.13, 0.18), "", turn(rng, other)))
    return Scene(objects, {}, "group", {"count": n, "relation": "above" if above else "below"})


LAYOUTS = [(one, 0.46), (count, 0.12), (pair, 0.22), (inside, 0.06), (three, 0.07), (group, 0.07)]


def allowed(scene: Scene) -> bool:
    """Whether training may show the scene."""
    grounds = [scene.ground["colour"], scene.ground.get("second")]
    for o in scene.objects:
        place = place_of(o.x, o.y)
        if any(unseen(o.colour, o.shape, place, ground) for ground in grounds if ground):
            return False
    return True


def sample(rng, w: float, h: float) -> Scene:
    """`rng` is a random.Random; `w` and `h` are in units of the shorter side."""
    makers, weights = zip(*LAYOUTS)
    while True:
        maker = rng.choices(makers, weights)[0]
        scene = maker(rng) if maker is one else maker(rng, w, h)
        colours = [o.colour for o in scene.objects]
        visible = colours[:1] if scene.layout == "inside" else colours
        names = [c for c in RGB if all(distance(c, o) > CONTRAST for o in visible)]
        if not names:
            continue
        scene.ground = sample_ground(rng, visible)
        if allowed(scene):
            return scene


def draw(scene: Scene, w: float, h: float) -> list[list]:
    return draw_ground(scene.ground, w, h) + [draw_object(o, w, h) for o in scene.objects]
