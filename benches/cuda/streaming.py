"""Times the program on an NVIDIA GPU with less memory than the model takes.

    python benches/cuda/streaming.py --binary target/release/qwen-image --folder DIR [--disk DIR]

DIR should lie in memory (a tmpfs) and needs 31 GB; full-size random weights are made there if they
are not. The resident model comes first. Then each limit of --limits: the driver's peak of the process
within it, the image byte for byte that of the resident model, seconds of a step beside the larger
of the resident step and the missing bytes at the rate of pinned copies in this run. --disk names a
folder of a disk, to which the transformer is copied: its step is compared with the rate of
`inspect --read` in this run. Host memory and the page cache are watched throughout. --base names
another binary, whose resident step is timed too. Needs torch with CUDA for the rate of copies, and
nvidia-ml-py.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pipeline
import pynvml

GB = 10**9
pynvml.nvmlInit()


def main():
    args = arguments()
    if not (args.folder / "diffusion_models").exists():
        subprocess.run([args.binary, "make-fixture", "--real-shapes", args.folder, "--quiet"], check=True)
    rate = float(pipeline.python(PINNED_RATE))
    print(f"pinned copies to the device: {rate / GB:.1f} GB/s", flush=True)
    for extra in ([], ["--fp8-compute"]):
        name = " ".join(extra) or "bf16"
        if args.base:
            base = run(args, extra, binary=args.base)
            print(f"{name}, base: {line(base)}", flush=True)
        resident = run(args, extra)
        ratio = f", {resident['step'] / base['step']:.3f} of the base's step" if args.base else ""
        print(f"{name}: {line(resident)}{ratio}", flush=True)
        for limit in args.limits:
            streamed = run(args, [*extra, "--vram-limit", limit])
            print(f"{name}, {limit}: {compared(streamed, resident, rate)}", flush=True)
        if args.once:
            break
    for extra in args.also:
        flags = extra.split()
        print(f"{extra}: {line(run(args, flags))}", flush=True)
    if args.disk:
        on_disk(args)


def on_disk(args):
    """Streams from a disk, beside the disk's own rate."""
    folder = args.disk / "models"
    if not folder.exists():
        shutil.copytree(args.folder, folder, ignore=shutil.ignore_patterns("*.json", "*.png"))
        subprocess.run(["sync"], check=True)
    drop_from_page_cache(folder)
    transformer = next((folder / "diffusion_models").glob("*.safetensors"))
    read = subprocess.run([args.binary, "inspect", "--read", "--json", transformer], capture_output=True, text=True, check=True)
    read = json.loads(read.stdout)["checkpoints"][0]["read"]
    rate = read["bytes"] / read["seconds"]
    args.folder = folder
    streamed = run(args, ["--vram-limit", args.limits[-1]])
    reached = streamed["missing"] / streamed["step"]
    print(f"{args.limits[-1]} on disk: {line(streamed)}; {reached / GB:.2f} GB/s, {reached / rate:.2f} of the disk's own {rate / GB:.2f} GB/s")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="another binary, for its resident step")
    parser.add_argument("--disk", type=Path, help="a folder on a disk")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=4, help="steps that are timed")
    parser.add_argument("--limits", nargs="*", default=["16GB", "12GB", "10GB", "8GB"])
    parser.add_argument("--also", nargs="*", default=[], help="more runs, each with flags for generate")
    parser.add_argument("--once", action="store_true", help="leave out --fp8-compute")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    return args


def run(args, extra: list[str], binary: Path | None = None) -> dict:
    """One image, with what it took."""
    # Nothing comes from an earlier run: prompts are encoded and modulations computed each time.
    flags = ["--no-prompt-cache", *extra]
    given = argparse.Namespace(binary=binary or args.binary, folder=args.folder, extra=flags)
    command = pipeline.generate(given, args.size, 2 + args.steps)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    watched = Watched(process.pid)
    said = []
    for text in process.stderr:
        said.append((time.perf_counter(), text.strip()))
        if text.startswith("Loading transformer"):
            # Before that the driver's libraries come into the page cache.
            watched.page_cache_begins()
    if process.wait() != 0:
        return {"failed": said[-1][1] if said else f"exit {process.returncode}"}
    watched.join()
    steps = [at for at, text in said if text.startswith("Denoising ") and "/" in text]
    report = json.loads((args.folder / "report.json").read_text())
    phases = {phase["name"]: phase for phase in report["phases"]}
    streamed = phases["denoise"].get("streamed") or {}
    passes = max(1, streamed.get("passes", 1))
    return {
        "step": (steps[-1] - steps[1]) / (len(steps) - 2),
        "peak": max(phase.get("device_peak") or 0 for phase in phases.values()),
        "image": hashlib.sha256((args.folder / "image.png").read_bytes()).hexdigest(),
        "missing": (streamed.get("bytes_read", 0) + streamed.get("bytes_from_cache", 0)) / passes,
        "stalled": streamed.get("stall_seconds", 0) / passes,
        "expected": streamed.get("planned_stall_seconds"),
        "anonymous": watched.anonymous,
        "cached": max(0, watched.cached - watched.cached_before),
        "driver": watched.device,
    }


def line(run: dict) -> str:
    if "failed" in run:
        return f"FAILED: {run['failed']}"
    return (
        f"{run['step']:.4f} s a step, peak {run['driver'] / GB:.2f} GB of the process, "
        f"host {run['anonymous'] / 2**20:.0f} MiB, page cache +{run['cached'] / 2**20:.0f} MiB"
    )


def compared(streamed: dict, resident: dict, rate: float) -> str:
    if "failed" in streamed or "failed" in resident:
        return line(streamed)
    transfer = streamed["missing"] / rate
    bound = max(resident["step"], transfer)
    same = "same image" if streamed["image"] == resident["image"] else "ANOTHER IMAGE"
    return (
        f"{line(streamed)}; {streamed['missing'] / GB:.2f} GB a step, {streamed['step'] / bound:.2f} of "
        f"max(step, copies) {bound:.4f} s; stalled {streamed['stalled']:.4f} s, expected {streamed['expected']}; {same}"
    )


class Watched(threading.Thread):
    """The most anonymous memory of a process, in the page cache and on the device meanwhile."""

    def __init__(self, process: int):
        super().__init__(daemon=True)
        self.status = Path(f"/proc/{process}/status")
        self.anonymous = self.cached = self.device = 0
        self.page_cache_begins()
        self.start()

    def page_cache_begins(self):
        self.cached = self.cached_before = page_cache()

    def run(self):
        while True:
            try:
                fields = self.status.read_text()
                self.anonymous = max(self.anonymous, 1024 * int(fields.split("RssAnon:")[1].split()[0]))
            except (OSError, IndexError):
                return
            self.cached = max(self.cached, page_cache())
            self.device = max(self.device, device_memory() - IDLE)
            time.sleep(0.02)


def device_memory() -> int:
    """Bytes in use on the first GPU, as the driver tells: by no other program, it is assumed."""
    return pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used


def page_cache() -> int:
    fields = Path("/proc/meminfo").read_text()
    return 1024 * int(fields.split("\nCached:")[1].split()[0])


IDLE = device_memory()


def drop_from_page_cache(folder: Path):
    import os

    for path in folder.rglob("*.safetensors"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


PINNED_RATE = """
import torch
size = 1 << 28
host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
device = torch.empty(size, dtype=torch.uint8, device="cuda")
begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
for _ in range(3): device.copy_(host, non_blocking=True)
begin.record()
for _ in range(10): device.copy_(host, non_blocking=True)
end.record(); torch.cuda.synchronize()
print(10 * size / (begin.elapsed_time(end) / 1000))
"""

if __name__ == "__main__":
    main()
