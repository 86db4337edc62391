"""Draws a sheet of training scenes with their captions: python contact_sheet.py OUT.png [seed]"""

import sys
import textwrap

import torch
from PIL import Image, ImageDraw

import raster
import scenes


def sheet(images, captions, path, columns=6, cell=256):
    rows = -(-len(images) // columns)
    out = Image.new("RGB", (columns * (cell + 8), rows * (cell + 44)), "white")
    pen = ImageDraw.Draw(out)
    for i, (image, text) in enumerate(zip(images, captions)):
        x, y = (i % columns) * (cell + 8), (i // columns) * (cell + 44)
        if not isinstance(image, Image.Image):
            image = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
        image.thumbnail((cell, cell))
        out.paste(image, (x, y))
        pen.multiline_text((x + 2, y + cell + 2), textwrap.fill(text, cell // 6), fill="black")
    out.save(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    path, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    images, captions = [], []
    for index, (width, height, count) in enumerate([(256, 256, 18), (320, 192, 6), (192, 320, 6)]):
        prims, texts = scenes.batch(seed + index, count, width, height)
        images += list(raster.render(prims, width, height, "cpu"))
        captions += [names[0] for names in texts]
    sheet(images, captions, path)
