"""Small tables of numbers that a port must reproduce: noise, noise schedules, FP8 codes."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift

import layouts
import st_file

# Torch draws fewer than 16 values in another way than 16 or more, and redraws a ragged end.
NOISE_SIZES = [1, 7, 8, 15, 16, 17, 32, 100]
# Generators keep half a pair of normals between small draws: these go through one generator.
STREAM_SIZES = [7, 16, 3, 8, 17, 1, 33, 5]
NOISE_SEEDS = [0, 42, 2**32 + 42, 123456789]
LATENT = (1, 1, 16, 6, 10)
BATCH = (2, 1, 16, 6, 10)

# width, height, steps
SCHEDULES = [
    (96, 64, 3),
    (80, 48, 2),
    (512, 512, 4),
    (1024, 1024, 20),
    (1328, 1328, 50),
    (928, 1664, 30),
    (2048, 2048, 8),
]


def write_noise(path: Path):
    def draw(seed, *shapes):
        generator = torch.Generator("cpu").manual_seed(seed)
        return [torch.randn(shape, generator=generator) for shape in shapes]

    tensors = {}
    for seed in NOISE_SEEDS:
        shapes = [(size,) for size in NOISE_SIZES] + [LATENT]
        for shape in shapes:
            (tensors[f"{seed}/{'x'.join(map(str, shape))}"],) = draw(seed, shape)
        for i, value in enumerate(draw(seed, *[(size,) for size in STREAM_SIZES])):
            tensors[f"{seed}/stream/{i}"] = value
    (tensors[f"42/{'x'.join(map(str, BATCH))}"],) = draw(42, BATCH)
    st_file.write(path, tensors)


def write_sigmas(path: Path):
    config = layouts.SCHEDULER
    rows = []
    for width, height, steps in SCHEDULES:
        tokens = (width // 16) * (height // 16)
        mu = calculate_shift(
            tokens,
            config["base_image_seq_len"],
            config["max_image_seq_len"],
            config["base_shift"],
            config["max_shift"],
        )
        scheduler = FlowMatchEulerDiscreteScheduler(**config)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
        rows.append(
            {
                "width": width,
                "height": height,
                "steps": steps,
                "mu": mu,
                "sigmas": [short(value) for value in scheduler.sigmas.numpy()],
                "timesteps": [short(value) for value in scheduler.timesteps.numpy()],
            }
        )
    write_rows(path, rows)


def write_codes(path: Path):
    codes = torch.arange(256, dtype=torch.uint8)
    table = {
        name: [code_value(value) for value in codes.view(dtype).float().numpy()]
        for name, dtype in {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}.items()
    }
    path.write_text(json.dumps(table, separators=(",", ":")) + "\n")


def code_value(value: np.float32) -> float | str:
    return float(value) if math.isfinite(value) else str(value)


def short(value: np.float32) -> float:
    """The shortest decimal that names this float32."""
    return float(str(value))


def write_rows(path: Path, rows: list):
    """JSON with one row a line, which keeps differences readable."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
