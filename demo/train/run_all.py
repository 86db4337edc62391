"""Trains and exports the demo model: python run_all.py --out DIR --minutes 24

Stages: the VAE, then text encoder and transformer together, then export and score. Run again
with the same --out to go on where an interrupted run stopped.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Shares of the minutes; the rest is for start-up, export and score.
VAE_SHARE, FLOW_SHARE = 0.28, 0.64


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=24.0)
    parser.add_argument("--stage", choices=["all", "vae", "flow", "final"], default="all")
    parser.add_argument("--smoke", action="store_true", help="every stage, tiny, in under a minute")
    parser.add_argument("--probe", action="store_true", help="real sizes for two minutes: does it run here, and how fast")
    parser.add_argument("--device", default=None)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--batch", type=int, default=None, help="square pictures a step of the flow stage")
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    import paths  # noqa: I001 (first: the others need its path)
    import data
    import nets
    import tokens
    import torch

    if not (paths.TOKENIZER / "vocab.json").exists():
        tokens.write(paths.TOKENIZER)
    # Worker processes fork here, before anything touches the GPU.
    workers = (0 if args.smoke else max(1, (os.cpu_count() or 2) - 4)) if args.workers is None else args.workers
    source = data.Source(paths.TOKENIZER, seed=1, workers=workers, chunk=32 if args.smoke else data.CHUNK)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.startswith("cuda")
    if not cuda:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True

    import final_stage
    import flow_stage
    import vae_stage

    size = nets.SMOKE if args.smoke else nets.FULL
    buckets = data.SMOKE_BUCKETS if args.smoke else data.BUCKETS
    seconds = 60 * args.minutes
    short = args.smoke or args.probe
    compiled = cuda and not args.no_compile
    big = cuda and not args.smoke
    vae_batch = 64 if big else (0.2 if args.smoke else 8)
    flow_batch = args.batch or (512 if big else (1 if args.smoke else 64))
    begin = time.monotonic()
    if args.stage in ("all", "vae") and not (args.out / "vae.pt").exists():
        budget = 10 if args.smoke else 25 if args.probe else seconds * VAE_SHARE
        scenes = 64 if args.smoke else 4000 if args.probe or not big else 40000
        vae_stage.train(args.out, source, size, buckets, budget, vae_batch, scenes, device, compiled)
        if cuda:
            torch.cuda.empty_cache()
    finished = args.out / "flow.done"
    if args.stage in ("all", "flow") and not finished.exists():
        budget = 12 if args.smoke else 60 if args.probe else seconds * FLOW_SHARE
        capacity, start = (128, 64) if args.smoke else (600_000, 150_000) if big and not args.probe else (30_000, 6_000)
        flow_stage.train(args.out, source, size, buckets, budget, flow_batch, capacity, start, device, compiled,
                         every=5 if args.smoke else 120)  # fmt: skip
        finished.write_text(json.dumps({"seconds": time.monotonic() - begin}) + "\n")
    if args.stage in ("all", "final"):
        side = next(iter(buckets))
        final_stage.run(args.out, size, paths.TOKENIZER, source.encoder, device, side, 2 if short else 16,
                        4 if short else 132)  # fmt: skip
    source.close()
    print(f"all done in {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
