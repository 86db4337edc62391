"""One training example: a canvas size, primitives, and several captions."""

import random

import numpy as np

import captions
import landscapes
import raster
import shapes

LAYERS = 34
LANDSCAPES = 0.4
VARIANTS = 4


def sample(rng: random.Random, width: int, height: int) -> tuple[list, list[str]]:
    unit = min(width, height)
    w, h = width / unit, height / unit
    if rng.random() < LANDSCAPES:
        prims, names = landscapes.sample(rng, w, h)
        texts = [captions.polish(rng, rng.choice(names)) for _ in range(VARIANTS)]
        if rng.random() < 0.25:
            texts[0] = texts[0].removeprefix("an ").removeprefix("a ")
        return prims, texts
    scene = shapes.sample(rng, w, h)
    return shapes.draw(scene, w, h), [captions.caption(rng, scene) for _ in range(VARIANTS)]


def batch(seed: int, count: int, width: int, height: int) -> tuple[np.ndarray, list[list[str]]]:
    rng = random.Random(seed)
    prims = np.zeros((count, LAYERS, raster.WIDTH), dtype=np.float32)
    texts = []
    for i in range(count):
        rows, names = sample(rng, width, height)
        prims[i, : len(rows)] = rows
        texts.append(names)
    return prims, texts
