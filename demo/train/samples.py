"""Draws pictures from the weights in training, the way QwenImagePipeline does, many at a time."""

import math

import fast_flow
import fast_vae
import torch
from contact_sheet import sheet

STEPS, CFG = 20, 4.0
PROMPTS = [
    "a red circle on a blue background", "a small green star on the left, white background", "a yellow sun over green hills",
    "a white house with a red roof by a lake", "two purple hearts on a yellow background", "a blue square above an orange triangle on a white background",
    "a night sky with a crescent moon and stars over hills", "a red boat with a white sail on the sea", "a red car on a road", "three red balloons in the sky",
    "a snowman with a green scarf", "a pink flower in a field", "a red diamond on a green background", "a black hexagon on a yellow background",
    "a green circle, a red square and a blue star on a beige background", "snowy mountains by a lake",
]  # fmt: skip


def sigmas(width: int, height: int, steps: int) -> list[float]:
    tokens = width * height // 256
    slope = (0.9 - 0.5) / (8192 - 256)
    mu = tokens * slope + 0.5 - slope * 256
    plain = [1 - i * (1 - 1 / steps) / max(steps - 1, 1) for i in range(steps)]
    shifted = [math.exp(mu) / (math.exp(mu) + 1 / s - 1) for s in plain]
    stretch = (1 - shifted[-1]) / (1 - 0.02)
    return [1 - (1 - s) / stretch for s in shifted] + [0.0]


@torch.no_grad()
def generate(weights, vae, stats, size, encoder, prompts, width, height, device, seed=0, steps=STEPS, cfg=CFG):
    """uint8 pictures (prompts, 3, height, width)."""
    weights = {name: value.float() for name, value in weights.items()}
    ids, lengths = encoder(list(prompts) + [" "] * len(prompts))
    prefix = torch.tensor(encoder.prefix, device=device)
    ids = torch.from_numpy(ids).long().to(device)
    lengths = torch.from_numpy(lengths).long().to(device)
    grid = (height // 16, width // 16)
    noise = torch.stack([torch.randn(16, *(2 * g for g in grid), generator=torch.Generator().manual_seed(seed + i)) for i in range(len(prompts))])
    with fast_flow.eager():
        full = torch.cat([prefix.expand(len(ids), -1), ids], 1)
        embeds = fast_flow.text_embeds(weights, full, len(prefix), size["text_layers"])
        x = pack(noise.to(device))
        levels = sigmas(width, height, steps)
        for now, then in zip(levels, levels[1:]):
            sigma = torch.full((2 * len(x),), now, device=device)
            c, u = fast_flow.velocity(weights, torch.cat([x, x]), sigma, embeds, lengths, grid, size).chunk(2)
            mixed = u + cfg * (c - u)
            x = x + (then - now) * mixed * (c.norm(dim=-1, keepdim=True) / mixed.norm(dim=-1, keepdim=True).clamp_min(1e-9))
    z = unpack(x, *grid)
    mean, std = (torch.tensor(stats[key], device=device).view(1, -1, 1, 1) for key in ("mean", "std"))
    image = torch.cat([fast_vae.decode(vae, part) for part in (z * std + mean).split(16)])
    return ((image * 0.5 + 0.5).clamp(0, 1) * 255 + 0.5).byte()


def pack(latents):
    b, c, h, w = latents.shape
    return latents.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, c * 4)


def unpack(x, h, w):
    return x.view(len(x), h, w, -1, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(len(x), -1, 2 * h, 2 * w)


def grid(weights, vae, stats, size, encoder, path, sizes, device):
    images, names = [], []
    for (width, height), prompts in zip(sizes, (PROMPTS, PROMPTS[2:6], PROMPTS[2:6])):
        images += list(generate(weights, vae, stats, size, encoder, prompts, width, height, device))
        names += prompts
    sheet(images, names, path, columns=8, cell=192)
