"""Checks by program whether a picture shows what its caption names. No neural judge.

A pixel belongs to the named colour it is nearest to. Per object: one connected region of its
colour, its centre in the named place, its size as named, and its outline nearer to the named
shape than to any other.
"""

import numpy as np
import raster
import shapes
import torch
from palette import RGB, SHAPES

NAMES = list(RGB)
COLOURS = np.array([RGB[name] for name in NAMES], dtype=np.float32)
# Regions below this share of the picture are seams between colours.
LEAST = 0.003
FAR = 70.0
GRID = 48


def label(mask: np.ndarray) -> list[np.ndarray]:
    """Connected regions (four neighbours), largest first, as boolean masks."""
    parent, runs, above = [], [], []

    def root(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for y, row in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        now = []
        for begin, end in zip(edges[::2], edges[1::2]):
            index = len(parent)
            parent.append(index)
            for other_begin, other_end, other in above:
                if other_begin < end and begin < other_end:
                    parent[root(other)] = root(index)
            now.append((begin, end, index))
            runs.append((y, begin, end, index))
        above = now
    regions = {}
    for y, begin, end, index in runs:
        regions.setdefault(root(index), []).append((y, begin, end))
    out = []
    for spans in regions.values():
        region = np.zeros_like(mask)
        for y, begin, end in spans:
            region[y, begin:end] = True
        out.append(region)
    return sorted(out, key=lambda region: -region.sum())


def box(region):
    ys, xs = np.nonzero(region.any(1))[0], np.nonzero(region.any(0))[0]
    return ys[0], ys[-1] + 1, xs[0], xs[-1] + 1


def outline(region):
    """The region stretched to a fixed square, and how much wider than high it is."""
    top, bottom, left, right = box(region)
    ys = (top + (np.arange(GRID) + 0.5) / GRID * (bottom - top)).astype(int)
    xs = (left + (np.arange(GRID) + 0.5) / GRID * (right - left)).astype(int)
    return region[np.ix_(ys, xs)], np.log((right - left) / (bottom - top))


def templates():
    out = []
    for shape in SHAPES:
        for turn in shapes.TURNS if shape == "arrow" else ("",):
            o = shapes.Object(shape, "white", 0.5, 0.5, 0.4, "", turn)
            prims = np.array([[shapes.draw_object(o, 1.0, 1.0)]], dtype=np.float32)
            out.append((shape, turn, *outline(raster.render(prims, 192, 192, "cpu")[0, 0].numpy() > 127)))
    return out


TEMPLATES = None


def shape_of(region) -> tuple[str, str]:
    global TEMPLATES
    TEMPLATES = TEMPLATES or templates()
    mask, aspect = outline(region)
    scores = []
    for shape, turn, wanted, wanted_aspect in TEMPLATES:
        overlap = (mask & wanted).sum() / max((mask | wanted).sum(), 1)
        scores.append((overlap - abs(aspect - wanted_aspect), shape, turn))
    return max(scores)[1:]


def check(image: np.ndarray, entry: dict) -> list[str]:
    """What is wrong with the picture (height, width, 3); nothing if it passes."""
    height, width, _ = image.shape
    distance = np.linalg.norm(image[:, :, None].astype(np.float32) - COLOURS, axis=-1)
    nearest, clear = distance.argmin(-1), distance.min(-1) < FAR
    wrong = []
    ground = (nearest == NAMES.index(entry["background"]["colour"])) & clear
    border = np.concatenate([ground[0], ground[-1], ground[:, 0], ground[:, -1]])
    if border.mean() < 0.85 or ground.mean() < 0.3:
        wrong.append("background")
    wanted = {}
    for o in entry["objects"]:
        wanted.setdefault(o["colour"], []).append(o)
    for colour, objects in wanted.items():
        regions = [r for r in label((nearest == NAMES.index(colour)) & clear) if r.mean() > LEAST]
        if len(regions) != len(objects):
            wrong.append(f"{len(regions)} {colour} objects")
            continue
        for o in objects:
            x0, y0, x1, y1 = o["region"]
            fits = []
            for region in regions:
                top, bottom, left, right = box(region)
                x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
                fits.append((x0 <= x <= x1 and y0 <= y <= y1, region, max(bottom - top, right - left) / 2 / min(width, height)))
            inside = [fit for fit in fits if fit[0]]
            if not inside:
                wrong.append(f"place of the {o['colour']} {o['shape']}")
                continue
            _, region, half = inside[0]
            low, high = o["half"]
            if not low * 0.7 <= half <= high * 1.3:
                wrong.append(f"size {half:.2f} of the {o['colour']} {o['shape']}")
            shape, turn = shape_of(region)
            if shape != o["shape"] or o.get("turn", turn) != turn:
                wrong.append(f"{shape} {turn} for the {o['shape']}")
    return wrong


def share(images: torch.Tensor, entries: list[dict]) -> tuple[float, list[tuple[str, list[str]]]]:
    """The share of pictures (count, 3, height, width) that pass, and what fails in the others."""
    results = [(e["prompt"], check(image.permute(1, 2, 0).cpu().numpy(), e)) for image, e in zip(images, entries)]
    return sum(not wrong for _, wrong in results) / max(len(results), 1), [r for r in results if r[1]]


def drawn(entries: list[dict]) -> torch.Tensor:
    """The entries as the data program itself would draw them: the score of a perfect model."""
    images = []
    for entry in entries:
        objects = []
        for o in entry["objects"]:
            x0, y0, x1, y1 = o["region"]
            half = sum(o["half"]) / 2 if len(entry["objects"]) == 1 else o["half"][0]
            if len(entry["objects"]) == 1 and o["place"] != "center":
                half = min(half, 0.19)
            objects.append(shapes.Object(o["shape"], o["colour"], (x0 + x1) / 2, (y0 + y1) / 2, half, "", o.get("turn", "")))
        scene = shapes.Scene(objects, {"style": "plain", "colour": entry["background"]["colour"]}, "one")
        images.append(raster.render(np.array([shapes.draw(scene, 1.0, 1.0)], dtype=np.float32), 256, 256, "cpu")[0])
    return torch.stack(images)


if __name__ == "__main__":
    import held_out

    entries = held_out.entries()
    torch.set_num_threads(1)
    value, failed = share(drawn(entries), entries)
    print(f"{100 * value:.1f} % of {len(entries)} drawn pictures pass")
    for prompt, wrong in failed:
        print(prompt, wrong)
