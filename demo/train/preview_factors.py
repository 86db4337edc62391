"""Fits the linear map from latents to colours by which `--preview` shows latents.

    python preview_factors.py        # fits it for ../../engine/demo and puts it into the VAE's config

`latent_rgb_factors` (16 x 3) and `latent_rgb_bias` (3) give a latent pixel's colour in [-1, 1] from
its normalised channels: the least-squares fit to the mean colour of the 8 x 8 pixels it stands for,
over pictures that `scenes.py` draws.
"""

import json

import paths
import fast_vae
import raster
import scenes
import torch

PICTURES, SIDE, SEED, DIGITS = 256, 128, 7, 4


@torch.no_grad()
def fit(vae) -> dict:
    images = raster.render(scenes.batch(SEED, PICTURES, SIDE, SIDE)[0], SIDE, SIDE, "cpu") / 127.5 - 1
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std))
    latents = torch.cat([(fast_vae.encode(vae, part)[0] - mean) / std for part in images.split(16)])
    colours = torch.nn.functional.avg_pool2d(images, 8).movedim(1, -1).reshape(-1, 3).double()
    rows = latents.movedim(1, -1).reshape(-1, latents.shape[1]).double()
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    factors = torch.linalg.lstsq(rows, colours).solution
    left = (rows @ factors - colours).square().mean() / (colours - colours.mean(0)).square().mean()
    print(f"explained variance {1 - left.item():.4f}")
    table = [[round(value, DIGITS) for value in row] for row in factors.tolist()]
    return {"latent_rgb_factors": table[:-1], "latent_rgb_bias": table[-1]}


def insert(path, fields: dict):
    """Adds fields to the config in a file's metadata; the tensors' bytes stay."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    config = json.loads(header["__metadata__"]["config"]) | fields
    header["__metadata__"]["config"] = json.dumps(config, sort_keys=True)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def main():
    import dequant
    import export
    import stored_models

    path = paths.MODELS / export.FILES["vae"]
    vae = stored_models.vae(path)
    dequant.load_vae(vae, [path])
    fast_vae.check(vae)
    insert(path, fit(vae))


if __name__ == "__main__":
    main()
