"""Scores the program itself on held_out.json, with the checker of train/score.py.

    python demo/score_binary.py target/release/qwen-image

Caption number i is drawn with seed i, as the training's own score does. `--reference N` also
draws N of the captions through diffusers' QwenImagePipeline in float32, from the same files, and
prints how far the images lie apart. `--keep DIR` keeps the images, `--json FILE` adds the
numbers to a JSON file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DEMO = Path(__file__).resolve().parent
sys.path.insert(0, str(DEMO / "train"))

import paths  # noqa: E402
import numpy as np  # noqa: E402
import score  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

STEPS, CFG = 20, 4.0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--models", type=Path, default=paths.MODELS)
    parser.add_argument("--backend", default="flex")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--limit", type=int, help="only the first captions")
    parser.add_argument("--reference", type=int, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def draw(args, folder: Path, index: int, entry: dict) -> np.ndarray:
    path = folder / f"{index:03}.png"
    command = [args.binary.resolve(), "generate", "--backend", args.backend, "--models", args.models, "--quiet"]
    command += ["--prompt", entry["prompt"], "--width", entry["width"], "--height", entry["height"]]
    command += ["--steps", STEPS, "--cfg-scale", CFG, "--seed", index, "--output", path]
    # Several processes share the cores.
    environment = {**os.environ, "RAYON_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // args.jobs))}
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, env=environment)
    return np.array(Image.open(path).convert("RGB"))


def compare(args, entries, images) -> dict:
    """Levels of 0..255 between the program's images and the reference pipeline's."""
    import reference

    pipe = reference.exported(args.models)
    chosen = [round(i * len(entries) / args.reference) for i in range(args.reference)]
    largest, differing, total = 0, 0, 0
    for index in chosen:
        entry = entries[index]
        image = reference.draw(pipe, entry["prompt"], entry["width"], entry["height"], index, STEPS, CFG)
        gaps = np.abs(np.array(image).astype(int) - images[index])
        largest, differing, total = max(largest, int(gaps.max())), differing + int((gaps > 0).sum()), total + gaps.size
        same = bool(score.check(np.array(image), entry)) == bool(score.check(images[index], entry))
        print(f"{index:3} largest difference {gaps.max()} levels, {100 * (gaps > 0).mean():.3f} % of values differ, same verdict: {same}")
    return {"images": len(chosen), "largest difference in levels": largest, "share of colour values that differ": differing / total}


def main():
    args = arguments()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    entries = json.loads(paths.HELD_OUT.read_text())[: args.limit]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(args.jobs) as pool:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        images = list(pool.map(lambda item: draw(args, folder, *item), enumerate(entries)))
    wrong = [score.check(image, entry) for image, entry in zip(images, entries)]
    for entry, reasons in zip(entries, wrong):
        if reasons:
            print(f"{entry['prompt']}: {'; '.join(reasons)}")
    passed = sum(not reasons for reasons in wrong) / len(entries)
    print(f"{100 * passed:.1f} % of {len(entries)} pass")
    results = {f"this program, fp8 files, {args.backend}, cfg {CFG:g}": passed}
    gaps = compare(args, entries, images) if args.reference else None
    if args.json:
        report = json.loads(args.json.read_text()) if args.json.exists() else {}
        report.setdefault("share of held-out captions that pass", {}).update(results)
        if gaps:
            report["this program against the float32 reference pipeline"] = gaps
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
