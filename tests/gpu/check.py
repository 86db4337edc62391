"""Holds the program on a GPU against the reference's fixtures.

    python tests/gpu/check.py --binary target/release/qwen-image [--backend cuda] [--fp8-compute]
        [--without-cublaslt]

Runs every case of fixtures/cases.json in both number formats, with `--trace`, and compares the first
predictions (by their cosine) and the image (by its PSNR, of a range of 2). Without a device it says
so and ends with 0. Needs numpy.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
# Lowest cosine of a first prediction and lowest PSNR of the image in dB, by number format.
LIMITS = {"bf16": (0.9999, 40.0), "f32": (0.999999, 60.0)}
# The same with activations rounded to FP8; the demo model's few steps show it most.
ROUNDED_LIMITS = (0.999, 25.0)


def main() -> int:
    args = arguments()
    device = find_device(args)
    if device is None:
        print(f"skipped: `{args.binary.name} devices` finds no device for --backend {args.backend}")
        return 0
    print(f"{args.backend}: {device}")
    cases = json.loads((FIXTURES / "cases.json").read_text())["cases"]
    cases = [case for case in cases if args.only in case["name"]]
    failed = 0
    print(f"{'case':28} {'dtype':5} {'cosine':>11} {'PSNR':>7} {'seconds':>8}")
    for dtype in args.dtypes:
        for case in cases:
            failed += not check(case, dtype, args)
    print(f"{failed} of {len(cases) * len(args.dtypes)} failed" if failed else "all agree")
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=Path("target/release/qwen-image"))
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--dtypes", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--fp8-compute", action="store_true", help="with that flag, in bf16")
    parser.add_argument("--without-cublaslt", action="store_true", help="as where that library is missing")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this in it")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    if args.fp8_compute:
        args.dtypes = ["bf16"]
    return args


def find_device(args) -> str | None:
    """The name of the backend's first device."""
    listed = subprocess.run([args.binary, "devices", "--json"], capture_output=True, text=True, check=True)
    for backend in json.loads(listed.stdout):
        if backend["backend"] == args.backend and backend["devices"]:
            return backend["devices"][0]["name"]
    return None


def check(case: dict, dtype: str, args) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.safetensors"
        started = time.perf_counter()
        environment = without_cublaslt(folder) if args.without_cublaslt else None
        run = subprocess.run(command(case, dtype, args, folder), capture_output=True, text=True, env=environment)
        seconds = time.perf_counter() - started
        if run.returncode != 0:
            print(f"{case['name']:28} {dtype:5} exit {run.returncode}: {run.stderr.strip()[-300:]}")
            return False
        ours, theirs = read(trace), read(FIXTURES / case["trace"])
    names = [name for name in ("step0.cond", "step0.uncond") if name in theirs]
    cosine = min(cosine_of(ours[name], theirs[name]) for name in names)
    psnr = psnr_of(ours["image"], theirs["image"])
    least_cosine, least_psnr = LIMITS[dtype]
    if args.fp8_compute:
        least_cosine, least_psnr = ROUNDED_LIMITS
    good = cosine >= least_cosine and psnr >= least_psnr
    mark = "" if good else "  FAILED"
    print(f"{case['name']:28} {dtype:5} {cosine:11.8f} {psnr:7.2f} {seconds:8.2f}{mark}", flush=True)
    return good


def without_cublaslt(folder: str) -> dict[str, str]:
    """An environment in which files that are no libraries are found first under cuBLASLt's names."""
    hidden = Path(folder) / "hidden"
    hidden.mkdir()
    names = [f"libcublasLt.so{suffix}" for suffix in ("", *(f".{major}" for major in range(1, 20)))]
    for name in names:
        (hidden / name).touch()
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{hidden}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    loads = "import ctypes, sys\nfor name in sys.argv[1:]:\n try: ctypes.CDLL(name); print(name)\n except OSError: pass"
    found = subprocess.run([sys.executable, "-c", loads, *names], env=environment, capture_output=True, text=True)
    if found.stdout:
        raise SystemExit(f"cuBLASLt cannot be hidden here: {found.stdout.strip()} still loads")
    return environment


def command(case: dict, dtype: str, args, folder: str) -> list:
    files = case["files"]

    def checkpoint(names):
        first = FIXTURES / names[0]
        return first if len(names) == 1 else first.parent

    command = [
        args.binary, "generate", "--quiet", "--backend", args.backend, "--dtype", dtype,
        "--transformer", checkpoint(files["transformer"]),
        "--text-encoder", checkpoint(files["text_encoder"]),
        "--vae", checkpoint(files["vae"]),
        "--tokenizer", FIXTURES / files["tokenizer"],
        "--prompt", case["prompt"], "-W", case["width"], "-H", case["height"],
        "--steps", case["steps"], "--cfg-scale", case["cfg"], "--seed", case["seed"],
        "--trace", f"{folder}/trace.safetensors", "--output", f"{folder}/image.png",
    ]  # fmt: skip
    if args.fp8_compute:
        command += ["--fp8-compute"]
    for lora in case.get("loras", []):
        command += ["--lora", f"{FIXTURES / lora['file']}:{lora['weight']}"]
    if case.get("lightning"):
        command += ["--lightning", case["steps"]]
    if case["negative"] is None or case["cfg"] <= 1:
        command += ["--no-negative-prompt"]
    else:
        command += ["--negative-prompt", case["negative"]]
    return [str(part) for part in command]


def read(path: Path) -> dict[str, np.ndarray]:
    """The F32 tensors of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"]).astype(np.float64)
    return tensors


def cosine_of(a: np.ndarray, b: np.ndarray) -> float:
    return float((a.ravel() @ b.ravel()) / (np.linalg.norm(a) * np.linalg.norm(b)))


def psnr_of(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean((a.reshape(b.shape) - b) ** 2))
    return math.inf if error == 0 else 10 * math.log10(4 / error)


if __name__ == "__main__":
    sys.exit(main())
