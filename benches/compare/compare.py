"""Times PyTorch at the work of our criterion benchmarks and prints both side by side.

README.md says how to use it and how to read the table.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

import peers

CARGO_BENCH = ["cargo", "bench", "-p", "benches", "--no-default-features", "--features", "flex"]
MIN_SAMPLES, MAX_SAMPLES = 5, 1000
SCALES = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")]


@dataclass
class Estimate:
    """Nanoseconds."""

    median: float
    spread: float


def main():
    args = arguments()
    units = [unit for unit in peers.units() if any(map(args.only.search, unit.benchmarks))]
    torch.set_num_threads(args.threads)
    print(
        f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), {args.threads} threads{load()}\n",
        flush=True,
    )
    if args.run:
        cargo_bench(args, "--no-run")

    ours, theirs = defaultdict(list), defaultdict(list)
    for turn in range(args.rounds):
        for unit in units:
            sides = [partial(measure_peers, unit, args, theirs)]
            if args.run:
                # Whoever is second may meet a warmer, slower processor: take turns.
                sides.insert(turn % 2, partial(measure_ours, unit, args, ours))
            for side in sides:
                side()
    if not args.run:
        for unit in units:
            read_ours(unit, args, ours)
    print_table(units, args, ours, theirs)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="store_true", help="run our benchmarks too, instead of reading old results")
    parser.add_argument("--criterion", type=Path, default=peers.REPO / "target" / "criterion", metavar="DIR")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="how often to measure everything")
    parser.add_argument("--seconds", type=float, default=5, metavar="S", help="for each PyTorch row and round")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX")
    args = parser.parse_args()
    # Cargo starts benchmarks in their package's folder.
    args.criterion = args.criterion.resolve()
    return args


def cores() -> int:
    """The cores that this process may use, which is also rayon's default."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def load() -> str:
    """How busy others keep the machine: that can slow everything evenly, which no spread shows."""
    if not hasattr(os, "getloadavg"):
        return ""
    average = os.getloadavg()[0]
    # One's own benchmarks of a moment ago still show in it.
    doubt = " (unless it was ours, do not trust the times)" if average > 0.5 else ""
    return f", load average {average:.1f} at the start{doubt}"


def measure_peers(unit: peers.Unit, args: argparse.Namespace, results: dict[tuple[str, str], list[Estimate]]):
    with torch.inference_mode():
        for peer in unit.build():
            wanted = list(filter(args.only.search, peer.benchmarks))
            if not wanted:
                continue
            progress(f"{peer.name}: {', '.join(wanted)}")
            estimate = measure(peer.run, args.seconds)
            for benchmark in wanted:
                results[benchmark, peer.name].append(estimate)


def measure(run: Callable[[], object], seconds: float) -> Estimate:
    # The first calls build oneDNN's kernels and grow the allocator's pools.
    repeat(run, seconds / 4, least=2)
    times = repeat(run, seconds, least=MIN_SAMPLES)
    middle = median(times)
    # Scaled as criterion scales it: the standard deviation, were the times normal.
    return Estimate(middle, 1.4826 * median(abs(time - middle) for time in times))


def repeat(run: Callable[[], object], seconds: float, least: int) -> list[int]:
    times = []
    end = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < end and len(times) < MAX_SAMPLES):
        start = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - start)
    return times


def measure_ours(unit: peers.Unit, args: argparse.Namespace, results: dict[str, list[Estimate]]):
    wanted = list(filter(args.only.search, unit.benchmarks))
    progress(f"ours: {', '.join(wanted)}")
    start = time.time()
    cargo_bench(args, "--", f"^({'|'.join(wanted)})$")
    # File systems may round times down to whole seconds.
    read_ours(unit, args, results, since=start - 1)


def cargo_bench(args: argparse.Namespace, *rest: str):
    env = os.environ | {"CRITERION_HOME": str(args.criterion), "RAYON_NUM_THREADS": str(args.threads)}
    # Criterion's report must not get into the table, where that goes to a file.
    subprocess.run([*CARGO_BENCH, *rest], cwd=peers.REPO, env=env, stdout=sys.stderr, check=True)


def read_ours(unit: peers.Unit, args: argparse.Namespace, results: dict[str, list[Estimate]], since: float = 0):
    """Adds criterion's latest estimates, except for those older than `since`."""
    for benchmark in unit.benchmarks:
        path = args.criterion / benchmark / "new" / "estimates.json"
        if path.exists() and path.stat().st_mtime >= since:
            found = json.loads(path.read_text(encoding="utf-8"))
            estimate = Estimate(*(found[key]["point_estimate"] for key in ("median", "median_abs_dev")))
            results[benchmark].append(estimate)


def combine(rounds: list[Estimate]) -> Estimate | None:
    """The median of the rounds, and how far the usual times of any round are from it."""
    if not rounds:
        return None
    middle = median(each.median for each in rounds)
    return Estimate(middle, max(abs(each.median - middle) + each.spread for each in rounds))


def print_table(units: list[peers.Unit], args: argparse.Namespace, ours: dict, theirs: dict):
    rows = [["benchmark", "peer", "ours", "PyTorch", "ours/PyTorch"]]
    for benchmark in (name for unit in units for name in unit.benchmarks if args.only.search(name)):
        mine = combine(ours[benchmark])
        for (name, peer), rounds in theirs.items():
            if name != benchmark:
                continue
            other = combine(rounds)
            ratio = f"{mine.median / other.median:.2f}" if mine else "-"
            rows.append([benchmark, peer, show(mine), show(other), ratio])
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ["-" * width for width in widths[:2]] + ["-" * (width - 1) + ":" for width in widths[2:]])
    for row in rows:
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]
        print("|", " | ".join(names + numbers), "|")


def show(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    scale, unit = next((pair for pair in SCALES if estimate.median >= pair[0]), SCALES[-1])
    return f"{estimate.median / scale:.4g} {unit} ± {100 * estimate.spread / estimate.median:.0f}%"


def progress(text: str):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
