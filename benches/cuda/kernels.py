"""Checks the CUDA kernels against float64 and times them. README.md says how to use it."""

import argparse
import random
import sys
import time

import torch
from checks import Checks
from compiler import CudaError
from launcher import Launcher


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
        failed = run(args)
    except CudaError as error:
        print(error, file=sys.stderr)
        return 1
    if failed:
        print(f"wrong results (seed {args.seed}): {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def run(args: argparse.Namespace) -> list[str]:
    """The names of the checks that failed."""
    start = time.monotonic()
    launch = Launcher()
    size = len(launch.image) // 1024
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, seed {args.seed}")
    print(f"compiled for {launch.architecture} in {time.monotonic() - start:.1f} s, {size} KiB\n", flush=True)
    checks = Checks(launch, "cuda")
    for line in checks.kernels():
        print(line, flush=True)
    print(f"checked after {time.monotonic() - start:.0f} s\n", flush=True)
    if args.check_only:
        return checks.failed
    import timings

    torch.cuda.empty_cache()
    for line in timings.rows(launch):
        print(line, flush=True)
    print(f"\n{time.monotonic() - start:.0f} s")
    return checks.failed


if __name__ == "__main__":
    sys.exit(main())
