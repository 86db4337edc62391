"""The tiny random LoRAs: two in the layouts that are published most, and one with alphas and ranks by layer."""

import copy
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers import QwenImagePipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors import safe_open

import st_file

# The layers that the Lightning adapters change.
BLOCK_LAYERS = (".attn.to_", ".attn.add_", "_mlp.net.")
RANK = 4
ALPHA = 2.0
# So large is the change of a layer, compared with its weight.
GAIN = 0.5
# Regular expressions by layer. The first that matches counts, in the order in which diffusers writes them.
RANKS = {"^transformer_blocks.0.attn.to_q": 2}
ALPHAS = {r".*\.1\..*(to_k|to_v)": 8, "^transformer_blocks.0.attn.to_q": 2, "attn.to_v": 16}


def write_all(root: Path, model):
    linear = {key.removesuffix(".weight"): value for key, value in model.state_dict().items() if value.ndim == 2}
    blocks = {layer: value for layer, value in linear.items() if any(part in layer for part in BLOCK_LAYERS)}
    style(blocks, root / "small_style.safetensors")
    everywhere(linear, root / "small_everywhere.safetensors")
    patterns(copy.deepcopy(model), root / "small_patterns.safetensors")


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


def patterns(model, path: Path):
    """As diffusers saves an adapter of PEFT's, with its settings in the header."""
    settings = LoraConfig(
        r=RANK,
        lora_alpha=RANK,
        target_modules=["to_q", "to_k", "to_v"],
        rank_pattern=RANKS,
        alpha_pattern=ALPHAS,
    )
    model.add_adapter(settings)
    for layer, module in model.named_modules():
        if hasattr(module, "lora_A"):
            rank = module.r["default"]
            down, up = factors("patterns", layer, module.base_layer.weight, rank)
            module.lora_A["default"].weight.data = down
            module.lora_B["default"].weight.data = up
    # A set has another order in every run.
    settings = {
        key: sorted(value) if isinstance(value, set) else value for key, value in settings.to_dict().items()
    }
    with tempfile.TemporaryDirectory() as folder:
        QwenImagePipeline.save_lora_weights(
            folder, get_peft_model_state_dict(model), transformer_lora_adapter_metadata=settings
        )
        with safe_open(Path(folder) / "pytorch_lora_weights.safetensors", "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            metadata = dict(sorted(file.metadata().items()))
    st_file.write(path, tensors, metadata)
