"""What Pillow and diffusers' image processors make of images and masks: digests of resized samples, the cells of
masks, and parts that are cropped, filled up and put back.

Pillow must be older than 13, which resizes columns before rows for some sizes.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import PIL
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils import load_image
from PIL import Image, ImageOps

import st_file

FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
MASKS = ["mask_48x32.png", "mask_30x40.png", "mask_128x80.png", "bits.png", "grey.png", "rgb.png"]
MASK_SIZES = [(48, 32), (64, 112), (16, 16), (112, 48)]


def samples(seed: int, count: int) -> np.ndarray:
    """Noise, noise in black and white, or a ramp."""
    state, found = seed, np.empty(count, dtype=np.uint8)
    for index in range(count):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        noise = state >> 24
        found[index] = [noise, 255 * (noise >> 7), (index * 5 + (noise >> 5)) & 255][seed % 3]
    return found


def digest(image: Image.Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def write_json(path: Path, rows: list):
    text = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(f"[\n{text}\n]\n", encoding="utf-8")


def sizes(rng: np.random.Generator):
    """Targets and sources: random ones, one axis alone, sides of one pixel, next to nothing and much."""
    sides = lambda most: tuple(int(side) for side in rng.integers(1, most, 2))
    yield from [(sides(90), sides(90)) for _ in range(40)]
    for _ in range(4):
        width, height = sides(80)
        yield (width, height), (width, int(rng.integers(1, 80)))
        yield (width, height), (int(rng.integers(1, 80)), height)
    yield from [((1, 1), (7, 5)), ((37, 1), (16, 9)), ((1, 37), (9, 16)), ((37, 23), (1, 1)), ((23, 37), (1, 16))]
    # Pillow 13 would resize columns first, above all at hard edges.
    yield from [((60, 40), (59, 38)), ((64, 40), (70, 30)), ((33, 60), (34, 20)), ((50, 50), (50, 49))]
    yield from [((300, 7), (16, 16)), ((7, 300), (16, 16)), ((2, 3), (96, 80)), ((31, 17), (31, 17))]
    yield from [(sides(90), sides(90)) for _ in range(8)]


def write_resizes(path: Path):
    rows = []
    for number, (source, target) in enumerate(sizes(np.random.Generator(np.random.PCG64(13)))):
        for mode, name in [("RGB", "lanczos"), ("L", "bicubic") if number % 2 else ("RGB", "bicubic")]:
            if name == "lanczos" and number % 3 == 2:
                mode = "L"
            seed = 1000 + len(rows)
            channels = len(mode)
            pixels = samples(seed, source[0] * source[1] * channels)
            shape = (source[1], source[0], channels) if channels > 1 else (source[1], source[0])
            resized = Image.fromarray(pixels.reshape(shape)).resize(target, FILTERS[name])
            row = {"mode": mode, "filter": name, "seed": seed, "from": source, "to": target}
            rows.append({**row, "sha256": digest(resized)})
    write_json(path, rows)


def processors() -> tuple[VaeImageProcessor, VaeImageProcessor]:
    """Those of diffusers' QwenImageInpaintPipeline, for images and for masks."""
    common = {"vae_scale_factor": 16, "vae_latent_channels": 16}
    mask = VaeImageProcessor(**common, do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    return VaeImageProcessor(**common), mask


def write_masks(path: Path):
    _, processor = processors()
    rows = []
    for name in MASKS:
        mask = load_image(str(path.parent / name))
        for width, height in MASK_SIZES:
            cells = processor.preprocess(mask, height=height, width=width)
            cells = torch.nn.functional.interpolate(cells, size=(height // 8, width // 8))[0, 0]
            assert cells.shape == (height // 8, width // 8)
            text = "".join(str(int(cell)) for cell in cells.flatten().tolist())
            rows.append({"mask": name, "width": width, "height": height, "cells": text})
    write_json(path, rows)


# Sizes, what is marked, its grey, padding and targets: in the middle and at all borders, wider and
# higher than there is room for, all of it, a single pixel, and hardly any image.
CROPS = [
    ((61, 45), (20, 10, 30, 22), 255, 4, (48, 32)),
    ((61, 45), (20, 10, 30, 22), 255, 0, (32, 48)),
    ((61, 45), (0, 0, 5, 5), 255, 3, (48, 48)),
    ((61, 45), (55, 40, 61, 45), 200, 3, (80, 32)),
    ((61, 45), (0, 40, 9, 45), 255, 0, (32, 80)),
    ((61, 45), (50, 0, 61, 3), 1, 7, (48, 64)),
    ((61, 45), (0, 20, 61, 24), 255, 0, (32, 32)),
    ((61, 45), (0, 20, 61, 24), 255, 0, (16, 64)),
    ((61, 45), (30, 0, 33, 45), 255, 2, (96, 16)),
    ((61, 45), (0, 0, 61, 45), 255, 32, (48, 32)),
    ((61, 45), (0, 0, 61, 45), 128, 0, (32, 48)),
    ((61, 45), (33, 21, 34, 22), 255, 0, (16, 16)),
    ((61, 45), (33, 21, 34, 22), 255, 1, (48, 16)),
    ((61, 45), (60, 44, 61, 45), 255, 0, (16, 48)),
    ((45, 61), (3, 30, 44, 33), 90, 5, (64, 64)),
    ((45, 61), (3, 30, 6, 61), 255, 5, (64, 48)),
    ((45, 61), (0, 0, 45, 2), 255, 100, (80, 16)),
    ((30, 90), (10, 40, 20, 50), 255, 9, (112, 32)),
    ((90, 30), (40, 10, 50, 20), 255, 9, (32, 112)),
    ((7, 90), (2, 40, 5, 50), 255, 3, (64, 48)),
    ((90, 7), (40, 2, 50, 5), 255, 3, (48, 64)),
    ((5, 5), (2, 2, 3, 3), 255, 1, (64, 64)),
]


def write_crops(path: Path, scene: Image.Image):
    image_processor, mask_processor = processors()
    rows = []
    for size, marked, grey, padding, target in CROPS:
        image = scene.resize(size, Image.Resampling.BICUBIC)
        mask = Image.new("L", size)
        mask.paste(grey, marked)
        region = mask_processor.get_crop_region(mask, *target, pad=padding)
        filled = image_processor.resize(image.crop(region), target[1], target[0], resize_mode="fill")
        filled_mask = mask_processor.resize(mask.crop(region), target[1], target[0], resize_mode="fill").convert("L")
        drawn = ImageOps.mirror(image).resize(target, Image.Resampling.BICUBIC)
        overlaid = image_processor.apply_overlay(mask, image, drawn, region)
        row = {"size": size, "marked": marked, "grey": grey, "padding": padding, "to": target, "region": region}
        digests = {"filled": digest(filled), "mask": digest(filled_mask), "overlaid": digest(overlaid)}
        rows.append({**row, **digests})
    write_json(path, rows)


def write_overlay(path: Path):
    """Every grey of a mask, over pixels of every kind."""
    rng = np.random.Generator(np.random.PCG64(5))
    image, drawn = (Image.fromarray(rng.integers(0, 256, (24, 64, 3), dtype=np.uint8)) for _ in range(2))
    mask = Image.fromarray(np.arange(24 * 64).reshape(24, 64).astype(np.uint8))
    overlaid = processors()[0].apply_overlay(mask, image, drawn, (0, 0, 64, 24))
    images = {"image": image, "mask": mask.convert("RGB"), "drawn": drawn, "overlaid": overlaid}
    st_file.write(path, {name: torch.from_numpy(np.array(image)) for name, image in images.items()})


def write_all(folder: Path):
    assert int(PIL.__version__.split(".")[0]) < 13, "Pillow 13 resizes in another order"
    write_resizes(folder / "resizes.json")
    write_masks(folder / "masks.json")
    write_crops(folder / "crops.json", Image.open(folder / "scene_61x45.png"))
    write_overlay(folder / "overlay.safetensors")
