"""Images to read: init images and masks, one file for each format, and what Pillow makes of them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps

import image_processing
import image_kinds
import st_file

# Sources and targets (width, height): down, up, one axis each way, one axis only, by much, and a
# single pixel.
RESIZES = [
    ((61, 45), (48, 32)),
    ((61, 45), (80, 48)),
    ((61, 45), (16, 96)),
    ((61, 45), (61, 32)),
    ((61, 45), (16, 16)),
    ((3, 2), (32, 48)),
    ((1, 1), (16, 16)),
]


def scene(width: int, height: int) -> Image.Image:
    """Colour ramps with a few sharp edges and some noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = x / max(width - 1, 1), y / max(height - 1, 1)
    pixels = np.stack([255 * u, 255 * (1 - v), 127 + 128 * np.sin(9 * u * v)], axis=-1)
    pixels[(u - 0.6) ** 2 + (v - 0.4) ** 2 < 0.04] = (250, 240, 20)
    pixels[(np.abs(u - v) < 0.05)] = (10, 10, 30)
    rng = np.random.Generator(np.random.PCG64(width * 1000 + height))
    pixels += rng.normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def mask(width: int, height: int) -> Image.Image:
    """White where the image is repainted, with soft greys beside it."""
    image = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.35, height * 0.2, width * 0.95, height * 0.8), fill=255)
    draw.rectangle((0, 0, width // 4, height // 3), fill=120)
    draw.rectangle((0, height * 2 // 3, width // 4, height), fill=136)
    return image


def spot(width: int, height: int) -> Image.Image:
    """A small mask with a soft edge, near the image's right border."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    distance = np.hypot(x - 0.85 * width, y - 0.3 * height) / (0.13 * width)
    return Image.fromarray(np.clip(np.rint(255 * (1.5 - distance)), 0, 255).astype(np.uint8))


def sun(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), (120, 180, 235))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.6, height * 0.1, width * 0.6 + height * 0.4, height * 0.5), fill=(250, 220, 60))
    draw.polygon([(0, height), (width * 0.3, height * 0.6), (width * 0.6, height)], fill=(70, 150, 60))
    draw.polygon([(width * 0.3, height), (width * 0.75, height * 0.55), (width, height)], fill=(50, 120, 50))
    return image


def write_all(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    for size in [(48, 32), (61, 45)]:
        scene(*size).save(folder / f"scene_{size[0]}x{size[1]}.png")
    for size in [(48, 32), (30, 40), (61, 45), (128, 80)]:
        mask(*size).save(folder / f"mask_{size[0]}x{size[1]}.png")
    for size in [(61, 45), (128, 80)]:
        spot(*size).save(folder / f"spot_{size[0]}x{size[1]}.png")
    sun(128, 80).save(folder / "sun_128x80.png")
    write_resizes(folder / "resizes.safetensors")
    write_formats(folder)
    image_processing.write_all(folder)


def write_resizes(path: Path):
    tensors = {}
    for (width, height), target in RESIZES:
        image = scene(width, height)
        tensors[f"{width}x{height}"] = pixels(image)
        resized = image.resize(target, Image.Resampling.LANCZOS)
        tensors[f"{width}x{height}/{target[0]}x{target[1]}"] = pixels(resized)
    st_file.write(path, tensors)


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB")))


def write_formats(folder: Path):
    """A file of each kind, and its image: upright, in RGB, what is transparent on white."""
    rgb = scene(24, 16)
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize((24, 16)))
    grey = rgb.convert("L")
    deep = np.array(grey, dtype=np.uint16) * 257 + np.arange(24, dtype=np.uint16) % 2
    palette = rgb.quantize(16)
    rotated = {n: exif(n) for n in range(1, 9)}
    files = {
        "rgb.png": (rgb, {}),
        "grey.png": (grey, {}),
        "grey16.png": (Image.fromarray(deep), {}),
        "bits.png": (grey.convert("1"), {}),
        "palette.png": (palette, {}),
        "palette_hole.png": (palette, {"transparency": 3}),
        "alpha.png": (alpha, {}),
        "grey_alpha.png": (alpha.convert("LA"), {}),
        "rgb.jpg": (rgb, {"quality": 95}),
        "progressive.jpg": (rgb, {"quality": 90, "progressive": True, "subsampling": "4:2:0"}),
        "grey.jpg": (grey, {"quality": 95}),
        "cmyk.jpg": (rgb.convert("CMYK"), {"quality": 95}),
        "lossy.webp": (rgb, {"quality": 95}),
        "lossless.webp": (alpha, {"lossless": True}),
        "rgb.bmp": (rgb, {}),
        "palette.gif": (palette, {}),
        "rgb.tiff": (rgb, {"compression": "tiff_lzw"}),
        **{f"orientation{n}.jpg": (rgb, {"quality": 95, "exif": data}) for n, data in rotated.items()},
        "orientation6.png": (rgb, {"exif": exif(6)}),
        "orientation6.tiff": (rgb, {"exif": exif(6)}),
        "orientation6.webp": (rgb, {"exif": exif(6), "lossless": True}),
        "untransformed.jpg": (rgb, {"quality": 95, "keep_rgb": True}),
        "alpha.webp": (alpha, {"quality": 90}),
        "palette_alpha.png": (alpha.quantize(16), {}),
        "hole.gif": (palette, {"transparency": 3}),
        "alpha.tiff": (alpha, {}),
        "cmyk.tiff": (rgb.convert("CMYK"), {}),
        "bits.tiff": (grey.convert("1"), {"compression": "group4"}),
        "grey16.tiff": (Image.fromarray(deep), {}),
        "grey.bmp": (grey, {}),
    }
    for name, (image, options) in files.items():
        image.save(folder / name, **options)
    moving = {"save_all": True, "append_images": [rgb.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]}
    for name, options in [("moving.gif", {}), ("moving.webp", {"lossless": True}), ("moving.png", {}), ("moving.tiff", {})]:
        rgb.save(folder / name, **moving, **options)
    image_kinds.write_all(folder)
    kinds = [*files, "moving.gif", "moving.webp", "moving.png", "moving.tiff", *image_kinds.NAMES]
    expected = {name: read(folder / name) for name in kinds}
    # Kinds that are refused.
    for name, mode in [("float.tiff", "F"), ("integers.tiff", "I")]:
        grey.convert(mode).save(folder / name)
    rgb.convert("LAB").save(folder / "lab.tiff")
    palette.save(folder / "palette.tiff")
    st_file.write(folder / "formats.safetensors", expected)


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def read(path: Path) -> torch.Tensor:
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I;16"):
        # Pillow clips these to 255 where it makes them RGB; of other 16-bit samples it takes the upper half.
        image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return pixels(image)
