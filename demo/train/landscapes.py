"""Simple scenes (a sun over hills, a house by a lake): primitives and the captions that fit them.

Every maker takes a random.Random and the canvas size in units of its shorter side, and gives
(primitives, captions).
"""

from captions import article
from palette import RGB
from raster import primitive as p
from scenery import DARK, GRASS, HILLS, SKIES, SNOW, WATER, WHITE, WOOD, cloud, ground, maybe_clouds, shade, sky, sun, tree


def hills(rng, w, h):
    sky_name, hill = rng.choice(list(SKIES)), rng.choice(["green", "green", "purple", "brown", "blue"])
    side = rng.choice(["left", "middle", "right", "right"])
    colour = "yellow" if rng.random() < 0.7 else rng.choice(["orange", "red"])
    x = {"left": 0.25, "middle": 0.5, "right": 0.75}[side] * w
    out = [sky(w, h, sky_name)] + sun(x, h * rng.uniform(0.22, 0.34), rng.uniform(0.09, 0.13), RGB[colour])
    tones = HILLS[hill]
    for i, (cx, cy) in enumerate([(0.2, 0.95), (0.8, 1.0), (0.45, 1.15)]):
        out.append(p("ellipse", w * cx + rng.uniform(-0.08, 0.08), h * cy, w * 0.55, h * rng.uniform(0.36, 0.42), tones[i], to=shade(tones[i], 0.85)))
    where = {"left": " on the left", "right": " on the right", "middle": ""}[side]
    names = [f"a {colour} sun over {hill} hills", f"a {colour} sun over {hill} hills under {article(sky_name)} sky", f"{hill} hills, {sky_name} sky and {article(colour)} sun{where}"]
    if colour == "yellow":
        names += [f"a sun over {hill} hills", f"sun over {hill} hills, {sky_name} sky"]
        if hill == "green":
            names += ["a sun over hills", "the sun above green hills"]
    if sky_name in ("orange", "pink"):
        names.append(f"a sunset over {hill} hills")
    return out, names


def house(rng, w, h):
    walls = rng.choice(["white", "yellow", "beige", "red", "light blue", "pink", "gray"])
    roof = rng.choice([c for c in ("red", "brown", "blue", "gray", "orange", "green", "purple", "black") if c != walls])
    lake, sky_name = rng.random() < 0.55, rng.choice(["blue", "blue", "blue", "orange", "pink"])
    size = rng.choice(["", "", "small", "large"])
    s = {"": 0.2, "small": 0.14, "large": 0.27}[size] * rng.uniform(0.95, 1.05)
    y = h * 0.62
    out = [sky(w, h, sky_name)] + maybe_clouds(rng, w, h) + [ground(w, h, y - 0.02, rng.choice(GRASS))]
    x = w * (rng.choice([0.32, 0.36]) if lake else rng.uniform(0.42, 0.58))
    base = y + 0.1
    if lake:
        out.append(p("ellipse", w * 0.72, h * 0.86, w * 0.42, h * 0.13, WATER[0], to=WATER[1]))
    c, r = RGB[walls], RGB[roof]
    out += [p("box", x + s * 0.55, base - s * 1.5, s * 0.12, s * 0.3, shade(r, 0.8)), p("box", x, base - s * 0.5, s * 0.85, s * 0.55, c, to=shade(c, 0.93)),
            p("triangle", x, base - s * 1.4, s * 1.1, s * 0.42, r), p("box", x, base - s * 0.23, s * 0.17, s * 0.28, WOOD),
            p("box", x - s * 0.5, base - s * 0.5, s * 0.16, s * 0.16, (150, 206, 240)), p("box", x + s * 0.5, base - s * 0.5, s * 0.16, s * 0.16, (150, 206, 240))]
    has_tree = not lake and rng.random() < 0.4
    if has_tree:
        out += tree(x + s * 1.9 if x + s * 2.3 < w else x - s * 1.9, base, s * 1.5, (74, 150, 70))
    home = " ".join(word for word in (size, walls, "house") if word)
    tail = " by a lake" if lake else (" and a tree" if has_tree else rng.choice(["", " in a field", " on the grass"]))
    names = [f"a {home} with {article(roof)} roof{tail}", f"{article(home)}{tail}", f"a {' '.join(x for x in (size, 'house') if x)} with {article(roof)} roof{tail}", f"a house{tail}"]
    if lake:
        names += [f"{article(home)} next to a lake", f"{article(home)} with {article(roof)} roof beside a blue lake"]
    if sky_name != "blue":
        names = [f"{n}, {sky_name} sky" for n in names] + names[:1]
    elif rng.random() < 0.3:
        names.append(f"a house{tail} under a blue sky")
    return out, names


def trees(rng, w, h):
    season = rng.choice(["green", "green", "orange", "red", "yellow", "pink"])
    pine = season == "green" and rng.random() < 0.4
    n = rng.choice([1, 1, 1, 2, 3])
    y, sky_name = h * 0.68, rng.choice(["blue", "blue", "orange", "gray", "pink"])
    out = [sky(w, h, sky_name)] + maybe_clouds(rng, w, h) + [ground(w, h, y, rng.choice(GRASS))]
    s = {1: 0.5, 2: 0.36, 3: 0.3}[n] * rng.uniform(0.9, 1.1)
    leaves = (40, 116, 70) if pine else RGB[season] if season != "green" else (78, 160, 72)
    for i in range(n):
        out += tree(w * (i + 1) / (n + 1) + rng.uniform(-0.02, 0.02), y + 0.09, s, leaves, pine)
    kind = "pine tree" if pine else "tree"
    many = {2: "two", 3: "three"}.get(n)
    who = f"{many} {{}}{kind}s" if many else "{}" + kind
    colour = f"{season} "
    full = [who.format(colour), who.format("")] if season == "green" else [who.format(colour)]
    full = [f if many else article(f) for f in full]
    names = [f"{f}{t}" for f in full for t in (" in a field", " on green grass", f" under {article(sky_name)} sky", "")]
    return out, names


def night(rng, w, h):
    crescent = rng.random() < 0.6
    out = [p("full", w / 2, h / 2, w / 2, h / 2, (14, 20, 62), to=(48, 58, 124))]
    for _ in range(rng.randint(6, 12)):
        x, y = rng.uniform(0.05, 0.95) * w, rng.uniform(0.05, 0.62) * h
        out.append(p("star", x, y, rng.uniform(0.018, 0.034), 1, (255, 244, 190), a=0.42))
    x, y = rng.choice([0.3, 0.5, 0.7]) * w, h * 0.28
    s = rng.uniform(0.1, 0.14)
    out.append(p("ellipse", x, y, s * 1.5, s * 1.5, (26, 34, 84)))
    out.append(p("crescent", x, y, s, s, (252, 236, 160), a=0.46, b=0.12) if crescent else p("ellipse", x, y, s, s, (252, 240, 190)))
    ground_name = rng.choice(["hills", "sea", "none", "mountains"])
    if ground_name == "hills":
        out += [p("ellipse", w * 0.25, h, w * 0.5, h * 0.24, (28, 62, 66)), p("ellipse", w * 0.8, h * 1.03, w * 0.5, h * 0.28, (20, 46, 54))]
    elif ground_name == "sea":
        out.append(ground(w, h, h * 0.74, ((38, 66, 136), (18, 34, 86))))
    elif ground_name == "mountains":
        out += [p("triangle", w * 0.3, h * 0.85, 0.36, 0.26, (52, 58, 96)), p("triangle", w * 0.72, h * 0.88, 0.42, 0.32, (38, 42, 76)), ground(w, h, h * 0.94, ((24, 30, 58),) * 2)]
    over = {"hills": " over dark hills", "sea": " over the sea", "none": "", "mountains": " over mountains"}[ground_name]
    moon = rng.choice(["crescent moon", "moon"]) if crescent else rng.choice(["full moon", "moon"])
    return out, [f"a night sky with a {moon} and stars{over}", f"a {moon} and stars{over} at night", f"a starry night{over}", f"a {moon} in the night sky{over}", f"night sky with moon and stars{over}"]


def boat(rng, w, h):
    hull, sail = rng.choice(["red", "brown", "blue", "green", "black", "orange", "white"]), rng.choice(["white", "red", "yellow", "orange", "pink", "purple"])
    sky_name, has_sun = rng.choice(["blue", "blue", "orange", "pink"]), rng.random() < 0.4
    y, s = h * 0.62, rng.uniform(0.2, 0.26)
    x = w * rng.uniform(0.4, 0.6)
    out = [sky(w, h, sky_name)]
    sx = w * (0.2 if x > w / 2 else 0.8)
    out += sun(sx, h * 0.2, 0.08) if has_sun else maybe_clouds(rng, w, h)
    out += [ground(w, h, y, WATER), p("box", x, y - s * 0.62, s * 0.035, s * 0.85, WOOD), p("triangle", x + s * 0.42, y - s * 0.78, s * 0.36, s * 0.56, RGB[sail]),
            p("triangle", x - s * 0.32, y - s * 0.66, s * 0.25, s * 0.44, shade(RGB[sail], 0.92)), p("trapezoid", x, y + s * 0.22, s * 0.55, s * 0.2, RGB[hull], a=s * 0.9)]
    for i in range(3):
        out.append(p("box", w * (0.2 + 0.3 * i), h * (0.8 + 0.05 * (i % 2)), 0.07, 0.006, (150, 204, 238), a=0.006))
    plus = " and a sun" if has_sun else ""
    return out, [f"a {hull} boat with {article(sail)} sail on the sea", f"{article(hull)} boat on the sea{', ' + sky_name + ' sky' if sky_name != 'blue' else ''}", f"a sailboat with {article(sail)} sail on blue water",
                 f"a boat on the sea{plus}", f"a {hull} boat with {article(sail)} sail under {article(sky_name)} sky{plus}"]


def mountains(rng, w, h):
    sky_name, tone = rng.choice(list(SKIES)), rng.choice(["gray", "gray", "purple", "brown", "blue"])
    base = {"gray": (132, 140, 156), "purple": (120, 96, 160), "brown": (150, 112, 82), "blue": (92, 126, 178)}[tone]
    snow, lake = rng.random() < 0.6, rng.random() < 0.35
    out = [sky(w, h, sky_name)]
    has_sun = rng.random() < 0.35
    if has_sun:
        out += sun(w * 0.82, h * 0.18, 0.08)
    y = h * 0.74
    for x, s, f in ((0.2, 0.3, 1.12), (0.82, 0.34, 1.06), (0.5, 0.42, 0.94)):
        x, s = w * x + rng.uniform(-0.04, 0.04), s * rng.uniform(0.92, 1.05)
        out.append(p("triangle", x, y - s * 0.62, s, s * 0.64, shade(base, f)))
        if snow:
            out.append(p("triangle", x, y - s * 1.09, s * 0.266, s * 0.17, WHITE))
    out.append(ground(w, h, y, WATER if lake else rng.choice(GRASS)))
    tops, by = " with snow" if snow else "", " by a lake" if lake else ""
    names = [f"{tone} mountains{tops}{by} under {article(sky_name)} sky", f"{tone} mountains{tops}{by}", f"mountains{tops}{by}, {sky_name} sky"]
    names += [f"snowy mountains{by}"] if snow else [f"mountains{by}"] if tone == "gray" else []
    return out, [n + (" and a sun" if has_sun and rng.random() < 0.6 else "") for n in names]


def rainbow(rng, w, h):
    out = [sky(w, h, rng.choice(["blue", "blue", "gray"]))]
    x, y, s = w / 2, h * 0.74, min(w * 0.44, h * 0.56)
    for i, c in enumerate(("red", "orange", "yellow", "green", "blue", "purple")):
        out.append(p("ring", x, y, s - i * 0.032, 1, RGB[c], a=0.034))
    green = rng.random() < 0.7
    out.append(ground(w, h, y, rng.choice(GRASS) if green else WATER))
    clouds = rng.random() < 0.4
    if clouds:
        out += cloud(x - s + 0.08, y - 0.02, 0.11) + cloud(x + s - 0.08, y - 0.02, 0.11)
    over = rng.choice([" over a green field", " over green grass", " over a field"]) if green else rng.choice([" over the sea", " over water"])
    return out, ["a rainbow" + over, f"a rainbow in the sky{over}", f"a rainbow with clouds{over}" if clouds else f"a colorful rainbow{over}", "a rainbow"]


def flower(rng, w, h):
    petal = rng.choice(["red", "pink", "purple", "white", "orange", "blue", "yellow"])
    core = rng.choice(["yellow", "orange", "brown"] if petal not in ("yellow", "orange") else ["brown"])
    n = rng.choice([1, 1, 2, 3])
    field = rng.random() < 0.7
    back = None if field else rng.choice([c for c in ("light blue", "beige", "light green", "white", "cyan") if c != petal])
    out = [sky(w, h), ground(w, h, h * 0.72, rng.choice(GRASS))] if field else [p("full", w / 2, h / 2, w / 2, h / 2, RGB[back])]
    s = {1: 0.11, 2: 0.08, 3: 0.065}[n] * rng.uniform(0.95, 1.05)
    for i in range(n):
        x, y = w * (i + 1) / (n + 1), h * (0.38 if n == 1 else 0.45)
        base = h * 0.9 if field else h * 0.88
        out += [p("box", x, (y + base) / 2, s * 0.13, (base - y) / 2, (62, 140, 66)), p("ellipse", x + s * 0.75, (y + base * 2) / 3, s * 0.75, s * 0.28, (82, 160, 78), rot=-0.5)]
        for dx, dy in ((0, -1), (0.951, -0.309), (0.588, 0.809), (-0.588, 0.809), (-0.951, -0.309)):
            out.append(p("ellipse", x + dx * s, y + dy * s, s * 0.72, s * 0.72, RGB[petal]))
        out.append(p("ellipse", x, y, s * 0.62, s * 0.62, RGB[core]))
    who = {1: "a {}flower", 2: "two {}flowers", 3: "three {}flowers"}[n].format(petal + " ")
    where = rng.choice([" in a field", " on green grass", ""]) if field else f" on a {back} background"
    return out, [who + where, who.replace("flower", f"flower with {article(core)} center") + where if n == 1 else who + where, who + where, who]


def car(rng, w, h):
    colour = rng.choice(["red", "blue", "yellow", "green", "white", "black", "orange", "purple", "pink", "cyan"])
    sky_name = rng.choice(["blue", "blue", "blue", "orange", "gray", "pink"])
    y, s = h * 0.7, rng.uniform(0.24, 0.29)
    x = w * rng.uniform(0.44, 0.56)
    c = RGB[colour]
    out = [sky(w, h, sky_name)] + maybe_clouds(rng, w, h) + [ground(w, h, h * 0.55, rng.choice(GRASS)), p("box", w / 2, y + 0.1, w, 0.12, (96, 100, 108))]
    for i in range(4):
        out.append(p("box", w * (0.125 + 0.25 * i), y + 0.13, 0.05, 0.009, WHITE))
    out += [p("trapezoid", x - s * 0.05, y - s * 0.42, s * 0.62, s * 0.25, shade(c, 0.94), a=s * 0.38), p("trapezoid", x - s * 0.05, y - s * 0.4, s * 0.5, s * 0.17, (178, 220, 242), a=s * 0.32),
            p("box", x - s * 0.05, y - s * 0.42, s * 0.035, s * 0.2, shade(c, 0.94)), p("box", x, y - s * 0.02, s, s * 0.23, c, a=s * 0.1), p("box", x + s * 0.93, y - s * 0.06, s * 0.06, s * 0.06, (255, 236, 150))]
    for dx in (-0.55, 0.55):
        out += [p("ellipse", x + s * dx, y + s * 0.2, s * 0.21, s * 0.21, DARK), p("ellipse", x + s * dx, y + s * 0.2, s * 0.09, s * 0.09, (190, 194, 200))]
    return out, [f"a {colour} car on a road", f"{article(colour)} car on the road under {article(sky_name)} sky", f"a {colour} car", f"{article(colour)} car driving on a gray road, {sky_name} sky"]


def snowman(rng, w, h):
    scarf, hat = rng.choice(["red", "blue", "green", "orange", "purple"]), rng.choice(["black", "brown", "red", "blue"])
    x, base, s = w * rng.uniform(0.42, 0.58), h * 0.84, rng.uniform(0.19, 0.22)
    night_sky = rng.random() < 0.2
    out = [p("full", w / 2, h / 2, w / 2, h / 2, (20, 28, 76), to=(60, 74, 140)) if night_sky else sky(w, h, rng.choice(["blue", "blue", "gray"])), ground(w, h, h * 0.7, SNOW)]
    body = ((252, 253, 255), (226, 234, 246))
    out += [p("ellipse", x, base - s * 0.8, s, s * 0.9, body[0], to=body[1]), p("ellipse", x, base - s * 2.05, s * 0.62, s * 0.6, body[0], to=body[1]), p("box", x, base - s * 1.56, s * 0.5, s * 0.11, RGB[scarf], a=s * 0.1),
            p("box", x + s * 0.3, base - s * 1.3, s * 0.11, s * 0.28, RGB[scarf], a=s * 0.05), p("box", x, base - s * 2.52, s * 0.62, s * 0.07, RGB[hat]), p("box", x, base - s * 2.8, s * 0.4, s * 0.28, RGB[hat]),
            p("ellipse", x - s * 0.2, base - s * 2.15, s * 0.065, s * 0.065, DARK), p("ellipse", x + s * 0.2, base - s * 2.15, s * 0.065, s * 0.065, DARK), p("triangle", x + s * 0.2, base - s * 1.97, s * 0.08, s * 0.24, (248, 140, 40), rot=1.5708)]
    out += [p("ellipse", x, base - s * d, s * 0.07, s * 0.07, DARK) for d in (1.15, 0.75)]
    if rng.random() < 0.5:
        out += [p("ellipse", rng.uniform(0, 1) * w, rng.uniform(0, 0.66) * h, 0.012, 0.012, WHITE) for _ in range(8)]
    at = " at night" if night_sky else ""
    return out, [f"a snowman with {article(scarf)} scarf{at}", f"a snowman with {article(scarf)} scarf and {article(hat)} hat{at}", f"a snowman in the snow{at}", f"a snowman with {article(hat)} hat{at}", f"a snowman{at}"]


def balloons(rng, w, h):
    n = rng.choice([1, 2, 3, 3])
    colours = [rng.choice(["red", "blue", "yellow", "green", "orange", "purple", "pink", "white"])] * n
    if n > 1 and rng.random() < 0.6:
        colours = rng.sample(["red", "blue", "yellow", "green", "orange", "purple", "pink"], n)
    out = [sky(w, h, rng.choice(["blue", "blue", "blue", "pink"]))] + maybe_clouds(rng, w, h, 0.6)
    s = {1: 0.19, 2: 0.15, 3: 0.12}[n]
    for i, c in enumerate(colours):
        x, y = w * (i + 1) / (n + 1), h * (0.42 + (0.05 if i % 2 else -0.03))
        c = RGB[c]
        out += [p("box", x, y + s * 2.2, 0.005, s * 1.2, (110, 110, 120)), p("triangle", x, y + s * 1.2, s * 0.16, s * 0.12, shade(c, 0.85)), p("ellipse", x, y, s * 0.88, s * 1.1, c), p("ellipse", x - s * 0.32, y - s * 0.42, s * 0.16, s * 0.26, WHITE, alpha=0.55, rot=0.4)]
    if n == 1:
        names = [f"a {colours[0]} balloon in the sky", f"{article(colours[0])} balloon in a blue sky", f"a {colours[0]} balloon"]
    elif len(set(colours)) == 1:
        many = {2: "two", 3: "three"}[n]
        names = [f"{many} {colours[0]} balloons in the sky", f"{many} {colours[0]} balloons", f"{many} {colours[0]} balloons"]
    else:
        listed = ", ".join(colours[:-1]) + f" and {colours[-1]}"
        names = [f"{listed} balloons in the sky", f"{listed} balloons", f"{ {2: 'two', 3: 'three'}[n]} balloons in the sky", "colorful balloons in the sky"]
    return out, names


def fish(rng, w, h):
    n, colour = rng.choice([1, 1, 2, 3]), rng.choice(["orange", "red", "yellow", "pink", "purple", "green"])
    out = [p("full", w / 2, h / 2, w / 2, h / 2, (92, 190, 226), to=(26, 92, 164))]
    c = RGB[colour]
    for i in range(n):
        s = {1: 0.24, 2: 0.15, 3: 0.12}[n] * rng.uniform(0.95, 1.05)
        x, y = w * (0.5 + 0.05 * (-1) ** i * (n > 1)), h * (i + 1) / (n + 1)
        out += [p("triangle", x - s * 1.0, y, s * 0.42, s * 0.36, shade(c, 0.88), rot=1.5708), p("triangle", x, y - s * 0.52, s * 0.3, s * 0.2, shade(c, 0.88)), p("ellipse", x, y, s * 0.9, s * 0.55, c, to=shade(c, 0.9)),
                p("ellipse", x + s * 0.5, y - s * 0.12, s * 0.13, s * 0.13, WHITE), p("ellipse", x + s * 0.54, y - s * 0.12, s * 0.065, s * 0.065, DARK)]
    for _ in range(5):
        out.append(p("ring", rng.uniform(0.08, 0.92) * w, rng.uniform(0.08, 0.9) * h, rng.uniform(0.015, 0.03), 1, (190, 228, 246), a=0.009))
    who = {1: f"{article(colour)} fish", 2: f"two {colour} fish", 3: f"three {colour} fish"}[n]
    return out, [f"{who} in the sea", f"{who} in blue water", who, f"{who} under water with bubbles"]


def cactus(rng, w, h):
    sky_name = rng.choice(["blue", "orange", "pink"])
    x, base, s, c = w * rng.uniform(0.4, 0.6), h * 0.8, rng.uniform(0.22, 0.27), (58, 142, 78)
    out = [sky(w, h, sky_name)]
    has_sun = rng.random() < 0.5
    out += sun(w * 0.8, h * 0.2, 0.085) if has_sun else []
    out += [ground(w, h, h * 0.7, ((240, 206, 140), (214, 172, 104)))]
    out += [p("box", x, base - s, s * 0.2, s, c, a=s * 0.19), p("box", x - s * 0.38, base - s * 0.85, s * 0.34, s * 0.11, c, a=s * 0.1), p("box", x - s * 0.62, base - s * 1.15, s * 0.12, s * 0.4, c, a=s * 0.11),
            p("box", x + s * 0.38, base - s * 1.1, s * 0.34, s * 0.11, c, a=s * 0.1), p("box", x + s * 0.62, base - s * 1.4, s * 0.12, s * 0.4, c, a=s * 0.11)]
    return out, ["a cactus in the desert", "a green cactus in the desert", f"a cactus in the desert under {article(sky_name)} sky", "a cactus"] + (["a cactus in the desert and a sun"] if has_sun else [])


def mushroom(rng, w, h):
    cap = rng.choice(["red", "brown", "purple", "orange", "blue"])
    x, base, s = w * rng.uniform(0.44, 0.56), h * 0.82, rng.uniform(0.25, 0.3)
    out = [sky(w, h), ground(w, h, h * 0.72, rng.choice(GRASS)), p("ellipse", x, base - s * 0.95, s, s * 0.8, RGB[cap], to=shade(RGB[cap], 0.85))]
    out += [p("ellipse", x + dx * s, base - dy * s, r * s, r * s, WHITE) for dx, dy, r in ((0, 1.4, 0.15), (-0.5, 1.15, 0.12), (0.5, 1.15, 0.12))]
    out += [p("box", x, base - s * 0.5, s * 1.1, s * 0.36, SKIES["blue"][1], alpha=0.0), p("trapezoid", x, base - s * 0.36, s * 0.36, s * 0.44, (250, 240, 222), to=(228, 212, 188), a=s * 0.26)]
    return out, [f"{article(cap)} mushroom with white dots", f"a {cap} mushroom on green grass", f"a {cap} mushroom", "a mushroom in a field" if cap == "red" else f"{article(cap)} mushroom in a field"]


def face(rng, w, h):
    colour, back = rng.choice(["yellow", "yellow", "orange", "pink", "light green"]), rng.choice(["light blue", "white", "blue", "purple", "dark blue", "cyan"])
    happy, s = rng.random() < 0.65, rng.uniform(0.28, 0.34)
    x, y, c = w / 2, h / 2, RGB[colour]
    out = [p("full", x, y, w / 2, h / 2, RGB[back]), p("ellipse", x, y, s, s, c)]
    out += [p("ellipse", x + dx * s, y - s * 0.25, s * 0.1, s * 0.14, DARK) for dx in (-0.35, 0.35)]
    if happy:
        out += [p("ellipse", x, y + s * 0.25, s * 0.5, s * 0.42, DARK), p("ellipse", x, y + s * 0.06, s * 0.6, s * 0.4, c)]
    else:
        out += [p("ellipse", x, y + s * 0.62, s * 0.45, s * 0.36, DARK), p("ellipse", x, y + s * 0.76, s * 0.55, s * 0.38, c)]
        out.append(p("ring", x, y, s, s, c, a=s * 0.1))
    out += [p("ellipse", x + dx * s, y - s * 0.25, s * 0.1, s * 0.14, DARK) for dx in (-0.35, 0.35)]
    mood = rng.choice(["smiling", "happy"]) if happy else "sad"
    return out, [f"a {mood} {colour} face on {article(back)} background", f"a {mood} face on {article(back)} background", f"a {colour} {'smiley' if happy else 'sad'} face, {back} background"] + ([f"a {mood} face"] if colour == "yellow" else [f"a {mood} {colour} face"])


MAKERS = [hills, house, house, trees, night, boat, mountains, rainbow, flower, car, snowman, balloons, fish, cactus, mushroom, face]


def sample(rng, w, h):
    return rng.choice(MAKERS)(rng, w, h)
