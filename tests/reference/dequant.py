"""Reads a checkpoint back and gives the float32 weights that it stands for."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from keymap import wan_vae_key

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
PREFIXES = ("model.diffusion_model.",)


def load_transformer(model, paths: list[Path]):
    fill(model, weights(paths))


def load_text_encoder(model, paths: list[Path]):
    in_memory = {}
    for key, value in weights(paths).items():
        if key.startswith("visual."):
            key = f"model.{key}"
        elif key.startswith("model.") and not key.startswith(("model.language_model.", "model.visual.")):
            key = key.replace("model.", "model.language_model.", 1)
        in_memory[key] = value
    fill(model, in_memory)


def load_vae(model, paths: list[Path]):
    stored = weights(paths)
    if "conv1.weight" in stored:
        stored = {key: stored[wan_vae_key(key)] for key in model.state_dict()}
    fill(model, stored)


def fill(model, tensors: dict[str, torch.Tensor]):
    model.load_state_dict(tensors, strict=True)
    model.eval()


def weights(paths: list[Path]) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint in float32, scales applied and their companions dropped."""
    stored = {}
    for path in paths:
        stored |= load_file(path)
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in stored):
            stored = {key.removeprefix(prefix): value for key, value in stored.items()}
    out = {}
    for key, value in stored.items():
        if key == "scaled_fp8" or key.endswith((".scale_weight", ".scale_input", ".weight_scale", ".comfy_quant")):
            continue
        layer = key.removesuffix(".weight")
        scale = stored.get(f"{layer}.scale_weight", stored.get(f"{layer}.weight_scale"))
        value_f32 = value.float()
        if scale is not None and key.endswith(".weight"):
            assert value.dtype in FP8, key
            value_f32 = value_f32 * scale.reshape(())
        out[key] = value_f32
    return out
