"""Measures how fast a full-size transformer gets into an NVIDIA GPU, beside what the machine can do.

    python gpu_load.py --binary target/release/qwen-image --folder DIR

DIR needs 21 GB; the checkpoint is made there if it is not. Each way runs in a process of its own
with a cold page cache, taking turns. Needs torch with CUDA, and root to drop the page cache.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

PEER = """
import json, sys, time, torch
from safetensors.torch import load_file
torch.cuda.init(); torch.empty(1, device="cuda")
start = time.perf_counter()
tensors = load_file(sys.argv[1], device="cuda")
torch.cuda.synchronize()
print(json.dumps({"seconds": time.perf_counter() - start, "tensors": len(tensors)}))
"""


def main():
    args = arguments()
    checkpoint = args.folder / "diffusion_models" / "qwen_image_fp8_e4m3fn.safetensors"
    if not checkpoint.exists():
        run([args.binary, "make-fixture", "--only=transformer", "--real-shapes", args.folder, "--quiet"])
    size = checkpoint.stat().st_size
    print(f"{size / 1e9:.2f} GB; pinned memory to the device: {pinned_rate():.1f} GB/s", flush=True)
    ways = {
        "ours, to nowhere": [args.binary, "inspect", checkpoint, "--read", "--json"],
        "ours, to the device": [args.binary, "inspect", checkpoint, "--read", "--json", "--backend=cuda"],
        "safetensors load_file(device='cuda')": [sys.executable, "-c", PEER, checkpoint],
    }
    seen = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, command in ways.items():
            drop_page_cache()
            before = page_cache()
            output, anonymous, resident = run(command)
            figures = json.loads(output)
            figures = figures["checkpoints"][0]["read"] if "checkpoints" in figures else figures
            figures |= {"anonymous": anonymous, "resident": resident, "cached": page_cache() - before}
            seen[name].append(figures)
    print(f"\n{'way':40} {'GB/s':>6} {'peak anon':>10} {'peak RSS':>10} {'cached':>8} {'device':>8}")
    for name, runs in seen.items():
        middle = lambda key: statistics.median(run[key] for run in runs)  # noqa: E731
        device = runs[0].get("device_used_after")
        device = f"{(device - runs[0]['device_used_before']) / 2**30:7.2f}G" if device else "-"
        print(
            f"{name:40} {size / middle('seconds') / 1e9:6.2f} {middle('anonymous') / 2**20:9.0f}M "
            f"{middle('resident') / 2**20:9.0f}M {middle('cached') / 2**30:7.2f}G {device:>8}"
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


def run(command: list) -> tuple[str, int, int]:
    """Runs a command; its output, and its peak of anonymous and of all resident memory."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    peaks = [0, 0]

    def sample():
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            for i, field in enumerate(("RssAnon:", "VmRSS:")):
                if field in status:
                    peaks[i] = max(peaks[i], int(status.split(field)[1].split()[0]) * 1024)
            time.sleep(0.01)

    sampler = threading.Thread(target=sample)
    sampler.start()
    output, _ = process.communicate()
    sampler.join()
    if process.returncode != 0:
        raise SystemExit(f"exit {process.returncode}: {command}")
    return output, *peaks


def drop_page_cache():
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")


def page_cache() -> int:
    return int(Path("/proc/meminfo").read_text().split("\nCached:")[1].split()[0]) * 1024


def pinned_rate() -> float:
    """GB/s of copies from pinned host memory, the ceiling of every load."""
    code = """
import time, torch
host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)
device = torch.empty_like(host, device="cuda")
device.copy_(host, non_blocking=True); torch.cuda.synchronize()
start = time.perf_counter()
for _ in range(8): device.copy_(host, non_blocking=True)
torch.cuda.synchronize()
print(8 * host.numel() / (time.perf_counter() - start) / 1e9)
"""
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
