"""The tiny random LoRAs, in the two layouts that are published most."""

import zlib
from pathlib import Path

import numpy as np
import torch

import st_file

# The layers that the Lightning adapters change.
BLOCK_LAYERS = (".attn.to_", ".attn.add_", "_mlp.net.")
RANK = 4
ALPHA = 2.0
# So large is the change of a layer, compared with its weight.
GAIN = 0.5


def write_all(root: Path, model):
    linear = {key.removesuffix(".weight"): value for key, value in model.state_dict().items() if value.ndim == 2}
    blocks = {layer: value for layer, value in linear.items() if any(part in layer for part in BLOCK_LAYERS)}
    style(blocks, root / "small_style.safetensors")
    everywhere(linear, root / "small_everywhere.safetensors")


def factors(seed: str, layer: str, weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`down` and `up`, whose product is about as large as `GAIN` times the weight."""
    rng = np.random.Generator(np.random.PCG64([zlib.crc32(seed.encode()), zlib.crc32(layer.encode())]))
    outputs, inputs = weight.shape
    down = rng.standard_normal((rank, inputs), dtype=np.float32)
    up = rng.standard_normal((outputs, rank), dtype=np.float32)
    size = GAIN * weight.std().item() / np.sqrt(rank)
    return torch.from_numpy(down), torch.from_numpy(up * np.float32(size))


def style(layers: dict, path: Path):
    """As the Lightning adapters are: BF16, no prefix, alpha as a scalar."""
    tensors = {}
    for layer, weight in layers.items():
        down, up = factors("style", layer, weight, RANK)
        tensors[f"{layer}.lora_down.weight"] = down.bfloat16()
        tensors[f"{layer}.lora_up.weight"] = (up * (RANK / ALPHA)).bfloat16()
        tensors[f"{layer}.alpha"] = torch.tensor(ALPHA, dtype=torch.bfloat16)
    st_file.write(path, tensors)


def everywhere(layers: dict, path: Path):
    """As diffusers saves them: F32, no alpha. Every linear layer, with ranks of its own."""
    tensors = {}
    for i, (layer, weight) in enumerate(layers.items()):
        down, up = factors("everywhere", layer, weight, 1 + i % 3)
        tensors[f"transformer.{layer}.lora_A.weight"] = down
        tensors[f"transformer.{layer}.lora_B.weight"] = up
    st_file.write(path, tensors)
