"""Checks the CUDA kernels against float64 and times them. README.md says how to use it."""

import argparse
import random
import sys
import time

import torch
from checks import Checks, Mismatch
from launcher import CudaError, Launcher


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check-only", action="store_true", help="leave out the timings")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="of the random inputs (default: the clock)")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device available to PyTorch", file=sys.stderr)
        return 5
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    try:
        run(args)
    except (CudaError, Mismatch) as error:
        print(f"FAILED: {error} (seed {args.seed})", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> None:
    start = time.monotonic()
    launch = Launcher()
    size = len(launch.image) // 1024
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, seed {args.seed}")
    print(f"compiled for {launch.architecture} in {time.monotonic() - start:.1f} s, {size} KiB\n", flush=True)
    for line in Checks(launch, "cuda").kernels():
        print(line, flush=True)
    print(f"all right after {time.monotonic() - start:.0f} s\n", flush=True)
    if args.check_only:
        return
    import timings

    torch.cuda.empty_cache()
    for line in timings.rows(launch):
        print(line, flush=True)
    print(f"\n{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
