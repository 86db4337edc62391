"""Holds a transformer with a scale for each row on a GPU against the processor.

    python tests/gpu/row_scales.py --binary target/release/qwen-image [--backend cuda]

Writes the plain FP8 fixture anew with a different factor for each row of every FP8 matrix, draws it
on the processor in f32 (which the program's tests hold against the decoded weights) and on the GPU,
and compares the first predictions and the image. Without a device it says so and ends with 0. Needs
numpy.

Last run: see the commit that touched this line. 2026-12-01, H200.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from check import FIXTURES, LIMITS, ROUNDED_LIMITS, cosine_of, find_device, psnr_of, read

BASE = FIXTURES / "comfyui/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=Path("target/release/qwen-image"))
    parser.add_argument("--backend", default="cuda")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    if find_device(args) is None:
        print(f"skipped: `{args.binary.name} devices` finds no device for --backend {args.backend}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        transformer = Path(folder) / "rows.safetensors"
        transformer.write_bytes(with_row_scales(BASE.read_bytes()))
        reference = draw(args, transformer, folder, ["--backend", "flex", "--dtype", "f32"])
        failed = 0
        for name, limits, flags in [
            ("f32", LIMITS["f32"], ["--dtype", "f32"]),
            ("bf16", LIMITS["bf16"], ["--dtype", "bf16"]),
            ("fp8-compute", ROUNDED_LIMITS, ["--dtype", "bf16", "--fp8-compute"]),
        ]:
            found = draw(args, transformer, folder, ["--backend", args.backend, *flags])
            predictions = ["step0.cond", "step0.uncond"]
            cosine = min(cosine_of(found[name], reference[name]) for name in predictions)
            psnr = psnr_of(found["image"], reference["image"])
            good = cosine >= limits[0] and psnr >= limits[1]
            failed += not good
            print(f"{name:12} cosine {cosine:.8f}, PSNR {psnr:.2f} dB{'' if good else '  FAILED'}", flush=True)
    return 1 if failed else 0


def with_row_scales(data: bytes) -> bytes:
    """The file with an F32 `weight_scale` of `[out]` beside every FP8 matrix."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    random = np.random.default_rng(0)
    for key, entry in list(header.items()):
        if key == "__metadata__" or entry["dtype"] != "F8_E4M3" or len(entry["shape"]) != 2:
            continue
        scales = random.uniform(0.5, 1.5, entry["shape"][0]).astype("<f4").tobytes()
        offsets = [len(body), len(body) + len(scales)]
        scale = {"dtype": "F32", "shape": entry["shape"][:1], "data_offsets": offsets}
        header[key.removesuffix("weight") + "weight_scale"] = scale
        body += scales
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def draw(args, transformer: Path, folder: str, flags: list[str]) -> dict[str, np.ndarray]:
    trace = Path(folder) / "trace.safetensors"
    command = [
        args.binary, "generate", "--quiet", "--models", FIXTURES / "comfyui", "--transformer", transformer,
        "--prompt", "a red fox", "-W", "96", "-H", "64", "--steps", "2", "--seed", "9",
        "--trace", trace, "--output", f"{folder}/image.png", *flags,
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True)
    return read(trace)


if __name__ == "__main__":
    sys.exit(main())
