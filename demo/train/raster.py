"""Draws batches of scenes with anti-aliased signed distance fields.

A scene is a list of primitives, painted in order. Coordinates and lengths are in units of
the image's shorter side. A primitive's colour runs from its top to its bottom.
"""

import math

import numpy as np
import torch

FIELDS = ["kind", "x", "y", "sx", "sy", "rot", "a", "b", "r1", "g1", "b1", "r2", "g2", "b2", "alpha"]
WIDTH = len(FIELDS)
KINDS = [
    "none", "full", "stripes", "checks", "dots", "ellipse", "box", "triangle", "rhombus", "polygon",
    "star", "ring", "heart", "cross", "crescent", "arrow", "trapezoid",
]  # fmt: skip
INDEX = {name: i for i, name in enumerate(KINDS)}


def primitive(kind, x, y, sx, sy=None, colour=(0, 0, 0), to=None, rot=0.0, a=0.0, b=0.0, alpha=1.0):
    to = colour if to is None else to
    return [INDEX[kind], x, y, sx, sx if sy is None else sy, rot, a, b, *colour, *to, alpha]


def render(prims: np.ndarray, width: int, height: int, device) -> torch.Tensor:
    """`prims` is (scenes, layers, WIDTH); gives uint8 images (scenes, 3, height, width)."""
    unit = min(width, height)
    ys = (torch.arange(height, device=device) + 0.5) / unit
    xs = (torch.arange(width, device=device) + 0.5) / unit
    image = torch.zeros(len(prims), 3, height, width, device=device)
    data = torch.from_numpy(np.ascontiguousarray(prims, dtype=np.float32)).to(device)
    kinds = prims[:, :, 0].astype(int)
    for layer in range(prims.shape[1]):
        for kind in np.unique(kinds[:, layer]):
            if kind == 0:
                continue
            rows = torch.from_numpy(np.nonzero(kinds[:, layer] == kind)[0]).to(device)
            paint(image, rows, data[rows, layer], KINDS[kind], xs, ys, unit)
    return (image * 255 + 0.5).clamp(0, 255).to(torch.uint8)


def paint(image, rows, p, kind, xs, ys, unit):
    x, y, sx, sy, rot, a, b = (p[:, i, None, None] for i in range(1, 8))
    dx, dy = xs[None, None, :] - x, ys[None, :, None] - y
    cos, sin = torch.cos(rot), torch.sin(rot)
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    d = DISTANCES[kind](u, v, sx, sy, a, b)
    cover = (0.5 - d * unit).clamp(0, 1) * p[:, 14, None, None]
    blend = ((v / sy + 1) / 2).clamp(0, 1)[:, None]
    first, last = p[:, 8:11, None, None] / 255, p[:, 11:14, None, None] / 255
    colour = first + (last - first) * blend
    old = image[rows]
    image[rows] = old + (colour - old) * cover[:, None]


def full(u, v, sx, sy, a, b):
    return u * 0 + v * 0 - 1


def wave(x, period):
    """Distance to the nearest boundary of alternating bands, negative in every second one."""
    phase = torch.remainder(x, 2 * period)
    return torch.where(phase < period, -torch.minimum(phase, period - phase),
                       torch.minimum(phase - period, 2 * period - phase))  # fmt: skip


def stripes(u, v, sx, sy, a, b):
    return wave(v, a) + u * 0


def checks(u, v, sx, sy, a, b):
    first, second = wave(u, a), wave(v, a)
    return torch.sign(first) * torch.sign(second) * torch.minimum(first.abs(), second.abs())


def dots(u, v, sx, sy, a, b):
    return torch.hypot(torch.remainder(u, a) - a / 2, torch.remainder(v, a) - a / 2) - b


def ellipse(u, v, sx, sy, a, b):
    scaled = torch.hypot(u / sx, v / sy)
    slope = torch.hypot(u / sx**2, v / sy**2).clamp_min(1e-6)
    return scaled * (scaled - 1) / slope


def box(u, v, sx, sy, a, b):
    qx, qy = u.abs() - sx + a, v.abs() - sy + a
    return torch.hypot(qx.clamp_min(0), qy.clamp_min(0)) + torch.maximum(qx, qy).clamp_max(0) - a


def side(u, v, x0, y0, x1, y1):
    """Distance from the line through two points, positive to its right as seen on screen (x right, y down)."""
    ex, ey = x1 - x0, y1 - y0
    return ((u - x0) * ey - (v - y0) * ex) / torch.hypot(ex, ey).clamp_min(1e-6)


def triangle(u, v, sx, sy, a, b):
    return torch.maximum(v - sy, side(u.abs(), v, sx * 0, -sy, sx, sy))


def rhombus(u, v, sx, sy, a, b):
    return side(u.abs(), v.abs(), sx * 0, sy, sx, sy * 0) * -1


def polygon(u, v, sx, sy, a, b):
    """A regular polygon of `a` sides, one of them at the bottom."""
    step = math.pi / a
    angle = torch.remainder(torch.atan2(u, v) + step, 2 * step) - step
    return torch.hypot(u, v) * torch.cos(angle) - sx * torch.cos(step)


def star(u, v, sx, sy, a, b):
    """Five points; `a` is the inner radius over the outer one."""
    step = math.pi / 5
    angle = (torch.remainder(torch.atan2(u, -v) + step, 2 * step) - step).abs()
    radius = torch.hypot(u, v)
    px, py = radius * torch.sin(angle), -radius * torch.cos(angle)
    inner = sx * a
    return side(px, py, sx * 0, -sx, inner * math.sin(step), -inner * math.cos(step))


def ring(u, v, sx, sy, a, b):
    return (torch.hypot(u, v) - sx + a / 2).abs() - a / 2


def heart(u, v, sx, sy, a, b):
    """A square on its corner and two discs on its upper sides."""
    half = sx / 1.2071
    v = v - half * 0.1
    u = u.abs()
    corner = (u + v.abs() - half) * 0.70711
    disc = torch.hypot(u - half / 2, v + half / 2) - half * 0.70711
    return torch.minimum(corner, disc)


def cross(u, v, sx, sy, a, b):
    return torch.minimum(box(u, v, sx, sx * a, sx * 0, b), box(u, v, sx * a, sx, sx * 0, b))


def crescent(u, v, sx, sy, a, b):
    disc = torch.hypot(u, v) - sx
    return torch.maximum(disc, sx * 0.86 - torch.hypot(u - sx * a, v + sx * b))


def arrow(u, v, sx, sy, a, b):
    """Points to the right."""
    shaft = box(u + sx * 0.4, v, sx * 0.6, sx * 0.22, sx * 0, b)
    head = torch.maximum(-u - sx * 0.02, side(v.abs(), -u, sx * 0, -sx, sx * 0.68, sx * 0))
    return torch.minimum(shaft, head)


def trapezoid(u, v, sx, sy, a, b):
    """`a` is half the top's width, `sx` half the bottom's."""
    return torch.maximum(v.abs() - sy, side(u.abs(), v, a, -sy, sx, sy))


DISTANCES = {name: globals()[name] for name in KINDS if name != "none"}
