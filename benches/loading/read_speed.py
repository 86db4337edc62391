"""Times how ways to read a model file use the disk and the memory, and prints them side by side.

README.md says how to use it and how to read the tables.
"""

import argparse
import json
import os
import random
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import bf16_blocks
import file_cache
import fio
import process
from table import GB, gb, table

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
OURS = "qwen-image inspect --read"
CEILING = "fio, its best setting"


@dataclass
class Reading:
    """One cold read of a whole file."""

    seconds: float
    bytes: int
    peak_anonymous: int
    peak_file: int
    cached: int

    @property
    def rate(self) -> float:
        return self.bytes / self.seconds


@dataclass
class Way:
    name: str
    # Gives what the process used, its seconds and its bytes.
    read: Callable[[Path], tuple[process.Outcome, float, int]]
    # It holds the whole file in memory of its own.
    copies: bool = False


def main():
    args = arguments()
    print(f"{cores()} cores, load average {os.getloadavg()[0]:.1f} at the start\n", flush=True)
    best = args.setting or choose_setting(args)
    small = None if args.no_bf16 else bf16_file(args)
    for path in filter(None, (args.file, small)):
        ways = [way for way in all_ways(args, best, path) if args.only.search(way.name)]
        report(path, measure(path, ways, args), best)
    print(f"Load average {os.getloadavg()[0]:.1f} at the end.")


def arguments() -> argparse.Namespace:
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target")) / "release"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a transformer as safetensors, better larger than free memory")
    parser.add_argument("--release", type=Path, default=target, metavar="DIR", help="where cargo put its programs")
    parser.add_argument("--bf16", type=Path, metavar="FILE", help="written if absent (default: beside the file)")
    parser.add_argument("--bf16-blocks", type=int, default=6, metavar="N", help="of 0.68 GB each")
    parser.add_argument("--no-bf16", action="store_true", help="leave burn-store out")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often to measure everything")
    parser.add_argument("--search-rounds", type=int, default=2, metavar="N", help="how often to try each fio setting")
    parser.add_argument("--search-gb", type=float, default=4, metavar="GB", help="how much to read in each try")
    setting = "ENGINE,JOBS,DEPTH,MIB,PAGES"
    parser.add_argument("--setting", type=parse_setting, metavar=setting, help="fio's, in place of a search")
    parser.add_argument("--drop-caches", action="store_true", help="drop all of the page cache, not the file's part")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX")
    args = parser.parse_args()
    if not args.file.is_file():
        parser.error(f"{args.file}: no such file")
    if not shutil.which("fio"):
        parser.error("fio is not installed")
    args.bf16 = args.bf16 or args.file.with_name(f"bf16_{args.bf16_blocks}_blocks.safetensors")
    return args


def parse_setting(text: str) -> fio.Setting:
    engine, jobs, depth, block, pages = text.split(",")
    if pages not in ("huge", "small"):
        raise ValueError
    return fio.Setting(engine, int(jobs), int(depth), int(block) * fio.MIB, huge=pages == "huge")


def cores() -> int:
    return len(os.sched_getaffinity(0))


def choose_setting(args: argparse.Namespace) -> fio.Setting:
    """Tries fio's settings in turns, each time all of them in another order."""
    tries = fio.settings()
    length = min(int(args.search_gb * GB), args.file.stat().st_size)
    parts = args.file.stat().st_size // length
    rates = defaultdict(list)
    for turn in range(args.search_rounds):
        # Another part of the file, lest a cache below the disk answers.
        start = turn % parts * length // fio.MIB * fio.MIB
        for setting in random.Random(turn).sample(tries, len(tries)):
            progress(f"search {turn + 1}/{args.search_rounds}: {setting}")
            _, seconds, count = fio.read(args.file, setting, start, length)
            rates[setting].append(count / seconds)
    order = sorted(tries, key=lambda setting: -median(rates[setting]))
    rows = [[str(setting), gb(median(rates[setting])), spread(rates[setting])] for setting in order]
    print(f"fio, direct reads of {gb(length)} GB:\n")
    print(table(["setting", "GB/s", "from - to"], rows) + "\n", flush=True)
    return order[0]


def bf16_file(args: argparse.Namespace) -> Path:
    if not args.bf16.exists():
        progress(f"writing {args.bf16}")
        bf16_blocks.write(args.bf16, args.bf16_blocks)
    return args.bf16


def all_ways(args: argparse.Namespace, best: fio.Setting, path: Path) -> list[Way]:
    ways = [Way(CEILING, lambda path: fio.read(path, best))]
    if best != fio.LIKE_OURS:
        ways.append(Way(f"fio ({fio.LIKE_OURS})", lambda path: fio.read(path, fio.LIKE_OURS)))
    ways += [
        Way(OURS, lambda path: ours(args.release / "qwen-image", path)),
        Way("safetensors crate, mapped, pages touched", program(args.release / "examples" / "safetensors_mmap")),
        Way("safetensors.torch.load_file, pages touched", python("load_file")),
        Way('load_file(backend="pread")', python("load_file_pread"), copies=True),
        Way("read() by 1 MiB", python("buffered")),
    ]
    if path == args.bf16:
        ways.append(Way("burn-store into Flex", program(args.release / "examples" / "burn_store_load"), copies=True))
    room = available_memory() / 2
    for way in [way for way in ways if way.copies and path.stat().st_size > room]:
        progress(f"left out: {way.name} holds all {gb(path.stat().st_size)} GB in memory")
        ways.remove(way)
    return ways


def available_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def ours(binary: Path, path: Path) -> tuple[process.Outcome, float, int]:
    outcome = succeed([str(binary), "inspect", str(path), "--read", "--json"])
    read = json.loads(outcome.stdout)["checkpoints"][0]["read"]
    if read["method"] != "direct":
        progress(f"note: {path} was read {read['method']}")
    return outcome, read["seconds"], read["bytes"]


def python(way: str) -> Callable[[Path], tuple[process.Outcome, float, int]]:
    return program(sys.executable, str(HERE / "loaders.py"), way)


def program(*command: str | Path) -> Callable[[Path], tuple[process.Outcome, float, int]]:
    def read(path: Path) -> tuple[process.Outcome, float, int]:
        outcome = succeed([*map(str, command), str(path)])
        result = json.loads(outcome.stdout)
        return outcome, result["seconds"], result["bytes"]

    return read


def succeed(command: list[str]) -> process.Outcome:
    outcome = process.run(command)
    if outcome.status:
        raise SystemExit(f"{' '.join(command)}: status {outcome.status}\n{outcome.stderr}")
    return outcome


def measure(path: Path, ways: list[Way], args: argparse.Namespace) -> dict[str, list[Reading]]:
    readings = defaultdict(list)
    for turn in range(args.rounds):
        # The disk's rate drifts: nobody is always first, or always behind the same one.
        first = turn % len(ways)
        order = ways[first:] + ways[:first]
        for way in order if turn % 2 == 0 else order[::-1]:
            file_cache.evict(path, everything=args.drop_caches)
            outcome, seconds, count = way.read(path)
            cached = file_cache.resident(path)
            reading = Reading(seconds, count, outcome.peak_anonymous, outcome.peak_file, cached)
            readings[way.name].append(reading)
            progress(f"{turn + 1}/{args.rounds} {way.name}: {gb(reading.rate)} GB/s, load {os.getloadavg()[0]:.1f}")
    file_cache.evict(path)
    return readings


def report(path: Path, readings: dict[str, list[Reading]], best: fio.Setting):
    rows = []
    for name, rounds in readings.items():
        rates = [reading.rate for reading in rounds]
        rows.append(
            [
                f"{name} ({best})" if name == CEILING else name,
                gb(median(rates)),
                spread(rates),
                f"{median(reading.seconds for reading in rounds):.1f}",
                gb(max(reading.peak_anonymous for reading in rounds)),
                gb(max(reading.peak_file for reading in rounds)),
                gb(median(reading.cached for reading in rounds)),
                ratio(readings.get(OURS), rounds),
            ]
        )
    print(f"{path.name}, {gb(path.stat().st_size)} GB, cold, {len(next(iter(readings.values())))} rounds:\n")
    header = ["way", "GB/s", "from - to", "s", "own memory, GB", "mapped, GB", "left in cache, GB", "ours/it"]
    print(table(header, rows) + "\n", flush=True)


def spread(rates: list[float]) -> str:
    return f"{gb(min(rates))} - {gb(max(rates))}"


def ratio(ours: list[Reading] | None, theirs: list[Reading]) -> str:
    """Of rates, by rounds: within one the disk has changed less."""
    if not ours:
        return "-"
    return f"{median(mine.rate / other.rate for mine, other in zip(ours, theirs)):.2f}"


def progress(text: str):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
