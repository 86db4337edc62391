"""Writes held_out.json: captions of pairs that training never shows, and what their images must hold."""

import json
import random

import captions
import paths
import shapes
from palette import COLOURS, PLACES, RGB, SIZES, distance, place_of, unseen

WANTED = {"shape": 44, "place": 36, "ground": 28, "two objects": 24}
# How far from its place an object's centre may lie, as a fraction of the side.
SLACK = 0.16


def sample(rng, kind: str) -> shapes.Scene:
    """A scene on a plain background with at least one unseen pair of the wanted kind."""
    while True:
        scene = shapes.pair(rng, 1, 1) if kind == "two objects" else shapes.one(rng)
        ground = rng.choice(list(COLOURS))
        scene.ground = {"style": "plain", "colour": ground}
        colours = [o.colour for o in scene.objects]
        if any(c not in COLOURS or distance(c, ground) < shapes.CONTRAST for c in colours):
            continue
        if len(colours) == 2 and (colours[0] == colours[1] or distance(*colours) < 60):
            continue
        found = {k for o in scene.objects for k in unseen(o.colour, o.shape, place_of(o.x, o.y), ground)}
        if kind in found or kind == "two objects" and found & {"shape", "ground"}:
            scene.facts["unseen"] = sorted(found)
            return scene


def pair_place(scene: shapes.Scene, i: int) -> tuple[float, float]:
    dx, dy = shapes.RELATIONS[scene.facts["relation"]]
    sign = 1 if i == 0 else -1
    return 0.5 + 0.25 * sign * dx, 0.5 + 0.25 * sign * dy


def entry(rng, kind: str) -> dict:
    scene = sample(rng, kind)
    objects = []
    for i, o in enumerate(scene.objects):
        x, y = PLACES[scene.facts["place"]] if scene.layout == "one" else pair_place(scene, i)
        objects.append(
            {
                "shape": o.shape,
                "colour": o.colour,
                "rgb": RGB[o.colour],
                "place": scene.facts.get("place") or place_of(o.x, o.y),
                "region": [round(v, 2) for v in (x - SLACK, y - SLACK, x + SLACK, y + SLACK)],
                "size": o.size or "medium",
                "half": SIZES[o.size],
                **({"turn": o.turn} if o.turn else {}),
            }
        )
    return {
        "prompt": captions.plain(random.Random(0), scene),
        "unseen": scene.facts["unseen"],
        "width": 256,
        "height": 256,
        "objects": objects,
        "background": {"colour": scene.ground["colour"], "rgb": RGB[scene.ground["colour"]]},
    }


def entries() -> list[dict]:
    rng, out = random.Random(20240917), {}
    for kind, wanted in WANTED.items():
        have = 0
        while have < wanted:
            item = entry(rng, kind)
            if item["prompt"] not in out:
                out[item["prompt"]] = item
                have += 1
    return list(out.values())


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(item) for item in entries())
    paths.HELD_OUT.write_text(f"[\n{lines}\n]\n")
