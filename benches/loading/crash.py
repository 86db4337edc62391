"""Loads the full-size FP8 transformer as diffusers does and as this project does, both under a
memory limit that one of them does not survive.

README.md says how to use it and how to read the table.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import file_cache
import memory_group
import process
from table import GB, gb, table

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]


@dataclass
class Limited:
    """What became of a command under the limit."""

    outcome: process.Outcome
    # Page cache included; `None` where the system does not tell.
    charged: int | None


@dataclass
class Run:
    """One row of the table."""

    name: str
    command: list[str]
    limited: Limited
    device: str
    method: str
    dtypes: str
    load: str
    step: str
    # Lines to print below the table.
    notes: list[str]


def main():
    args = arguments()
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    os.environ.setdefault("RAYON_NUM_THREADS", str(args.threads))
    limit = int(args.limit_gb * GB)
    runs = [way(args, limit) for name, way in WAYS.items() if name in args.ways]
    print_runs(runs, args, limit)


def arguments() -> argparse.Namespace:
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target")) / "release"
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("models", type=Path, help="a folder as `qwen-image make-fixture --real-shapes` writes it")
    parser.add_argument("--release", type=Path, default=target, metavar="DIR", help="where cargo put its programs")
    parser.add_argument("--limit-gb", type=float, default=12, metavar="GB", help="memory for each of them")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--steps", type=int, default=2, metavar="N")
    parser.add_argument("--size", type=int, default=256, metavar="PIXELS")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    args = parser.parse_args()
    args.files = sorted(args.models.rglob("*.safetensors"))
    args.transformer = next(iter(sorted(args.models.glob("diffusion_models/*.safetensors"))), None)
    if args.transformer is None:
        parser.error(f"{args.models}: no diffusion_models/*.safetensors in it")
    return args


def watched(command: list[str], args: argparse.Namespace, limit: int) -> Limited:
    """Runs it with no model file in the page cache, under the limit."""
    for path in args.files:
        file_cache.evict(path)
    progress(f"load {os.getloadavg()[0]:.1f}: {shlex.join(command)}")
    box = memory_group.limited(limit)
    try:
        outcome = process.run(command, enter=box.enter)
        return Limited(outcome, box.peak())
    finally:
        box.close()


def diffusers_way(args: argparse.Namespace, limit: int) -> Run:
    command = [sys.executable, str(HERE / "diffusers_way.py"), str(args.transformer)]
    limited = watched(command, args, limit)
    outcome = limited.outcome
    stages = [json.loads(line) for line in outcome.stdout.splitlines()]
    end = memory_group.died_how(outcome.status)
    if not stages:
        raise SystemExit(f"{shlex.join(command)}: {end}\n{outcome.stderr}")
    last = stages[-1]
    where = f"{last['stage']}, {last['tensors']} of {last['of']} tensors" if "tensors" in last else last["stage"]
    notes = [f"diffusers: {end} after {outcome.seconds:.1f} s, at: {where}."]
    if outcome.status > 0:
        notes += outcome.stderr.splitlines()[-1:]
    if outcome.tail:
        sample = outcome.tail[-1]
        notes.append(f"diffusers' last sample: {gb(sample.anonymous)} GB its own, {gb(sample.file)} GB mapped.")
    return Run(
        "diffusers",
        command,
        limited,
        device="none (processor)",
        method="load_file (mapped), then a copy of each tensor",
        dtypes="F8_E4M3 to BF16 in memory",
        load=f"{last['seconds']:.1f} s" if outcome.status == 0 else "never done",
        step="-",
        notes=notes,
    )


def our_way(args: argparse.Namespace, limit: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(str(args.release / "qwen-image"), "generate", "-p", "a red circle on a blue background"),
            *("--models", str(args.models), "--backend", "flex", "-W", str(args.size), "-H", str(args.size)),
            *("--steps", str(args.steps), "--cfg-scale", "1", "--seed", "1"),
            *("-o", str(Path(folder) / "image.png"), "--report", str(report)),
        ]
        limited = watched(command, args, limit)
        outcome = limited.outcome
        if outcome.status:
            raise SystemExit(f"{shlex.join(command)}: status {outcome.status}\n{outcome.stderr}")
        phases = {phase["name"]: phase for phase in json.loads(report.read_text(encoding="utf-8"))["phases"]}
    transformer = phases["load_transformer"]
    mapped = f"{gb(transformer['mapped_bytes'])} of {gb(transformer['bytes'])} GB used in place"
    timeline = ", ".join(f"{name} {phase['seconds']:.1f} s" for name, phase in phases.items())
    return Run(
        "qwen-image",
        command,
        limited,
        device="none (processor)",
        method=f"{transformer['method']}: {mapped}",
        dtypes="F8_E4M3 kept, decoded in the product",
        load=f"{transformer['seconds']:.2f} s",
        step=f"{phases['denoise']['seconds'] / args.steps:.0f} s",
        notes=[f"qwen-image: {memory_group.died_how(outcome.status)} after {outcome.seconds:.1f} s: {timeline}."],
    )


WAYS = {"diffusers": diffusers_way, "ours": our_way}


def print_runs(runs: list[Run], args: argparse.Namespace, limit: int):
    total = sum(path.stat().st_size for path in args.files)
    print(f"{args.transformer.name}, {gb(args.transformer.stat().st_size)} GB; all files {gb(total)} GB.")
    print(f"{args.threads} threads; memory limit {gb(limit)} GB.\n")
    header = ["program", "load method", "dtype handling", "device memory"]
    header += ["RAM peak, GB", "mapped, GB", "charged, GB", "load", "step"]
    rows = [
        [
            *(run.name, run.method, run.dtypes, run.device),
            *(*map(gb, memory_of(run.limited)), run.load, run.step),
        ]
        for run in runs
    ]
    print(table(header, rows, names=4) + "\n")
    for run in runs:
        print(*run.notes, sep="\n")
    print()
    for run in runs:
        print(f"    {shlex.join(run.command)}")


def memory_of(limited: Limited) -> list[int | None]:
    return [limited.outcome.peak_anonymous, limited.outcome.peak_file, limited.charged]


def progress(text: str):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
