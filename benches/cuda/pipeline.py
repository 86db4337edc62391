"""Times the whole program on an NVIDIA GPU with full-size random weights, beside diffusers.

    python benches/cuda/pipeline.py --binary target/release/qwen-image --folder DIR

DIR needs 31 GB; the weights are made there if they are not. First the machine's ceilings (bf16
products, a copy in device memory), then this program at each size: the start until the first step,
seconds of a guided step, the share of the ceiling and the driver's peak, and with --trace what a step
spends its time on; then diffusers' transformer in bf16 with random weights, eager and compiled, in the
same run. Needs torch with CUDA, for --peer diffusers, and for --trace a C++ compiler.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import trace_step

SIZES = (1024, 1328)
TEXT_TOKENS = 64
WIDTH, BLOCKS, HEADS = 3072, 60, 24


def main():
    args = arguments()
    if not (args.folder / "diffusion_models").exists():
        subprocess.run([args.binary, "make-fixture", "--real-shapes", args.folder, "--quiet"], check=True)
    ceilings = json.loads(python(CEILINGS))
    print(f"bf16 products: {ceilings['tflops']:.0f} TFLOP/s; copy in device memory: {ceilings['copy']:.2f} TB/s")
    for size in args.sizes:
        floor = flops(size) / ceilings["tflops"] / 1e12
        # The second run has what the first has compiled.
        first, run = ours(args, size, 3), ours(args, size, 3 + args.steps)
        step = run["step"]
        print(
            f"{size}: {step:.4f} s a guided step, {floor / step:.0%} of the ceiling; first step {run['first_step']:.2f} s "
            f"after the load ({first['first_step']:.1f} s in the run before); decode {run['decode']:.2f} s; "
            f"loads {', '.join(f'{name} {value:.1f} s' for name, value in run['loads'].items())}",
            flush=True,
        )
        for name, peak, working in run["memory"]:
            print(f"    {name:8} peak {peak / 2**30:6.2f} GiB, {working[0] / 2**20:6.0f} MiB beside the weights, {working[1] / 2**20:6.0f} estimated")
        if args.trace:
            rows = trace_step.run(generate(args, size, 4), args.folder)
            for line in trace_step.report(trace_step.last_step(rows, 2 * BLOCKS)):
                print(f"    {line}", flush=True)
    if args.peer:
        for line in python(PEER, *map(str, args.peer_sizes or args.sizes)).splitlines():
            print(line, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--steps", type=int, default=6, help="steps that are timed")
    parser.add_argument("--extra", nargs=argparse.REMAINDER, default=[], help="more flags for generate")
    parser.add_argument("--peer-sizes", type=int, nargs="*", help="sizes of the peer, instead of --sizes")
    parser.add_argument("--peer", action="store_true", help="time diffusers too")
    parser.add_argument("--trace", action="store_true", help="say what a step spends its time on")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    return args


def flops(size: int) -> float:
    """Operations of one guided step: products with weights, and attention."""
    image = (size // 16) ** 2
    tokens = image + TEXT_TOKENS
    weights = 2 * 12 * WIDTH * WIDTH * tokens
    attention = 4 * tokens * tokens * WIDTH
    return 2 * BLOCKS * (weights + attention)


def generate(args, size: int, steps: int) -> list[str]:
    command = [
        args.binary, "generate", "--models", args.folder, "--backend", "cuda", "--verbose",
        "--prompt", "a lighthouse on a cliff above a stormy sea at dusk, oil painting, " * 3,
        "-W", size, "-H", size, "--steps", steps, "--seed", 1, "--report", args.folder / "report.json",
        "--output", args.folder / "image.png", *args.extra,
    ]  # fmt: skip
    return [str(part) for part in command]


def ours(args, size: int, steps: int) -> dict:
    report = args.folder / "report.json"
    process = subprocess.Popen(generate(args, size, steps), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    said = []
    for line in process.stderr:
        said.append((time.perf_counter(), line.strip()))
    if process.wait() != 0:
        raise SystemExit("\n".join(line for _, line in said[-12:]))
    phases = {phase["name"]: phase for phase in json.loads(report.read_text())["phases"]}
    begun = next(at for at, line in said if line == "Denoising")
    steps = [at for at, line in said if line.startswith("Denoising ") and "/" in line]
    memory = []
    for load, phase in (("load_text_encoder", "encode"), ("load_transformer", "denoise"), ("load_vae", "decode")):
        peak, loaded = phases[phase]["device_peak"], phases[load]["device_used_after"]
        memory.append((phase, peak, (peak - loaded, phases[phase]["working_estimate"])))
    return {
        "step": (steps[-1] - steps[1]) / (len(steps) - 2),
        "memory": memory,
        "decode": phases["decode"]["seconds"],
        "first_step": steps[0] - begun,
        "loads": {name[5:]: phase["seconds"] for name, phase in phases.items() if name.startswith("load_")},
    }


def python(code: str, *args: str) -> str:
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    if run.returncode != 0:
        return run.stderr.strip()[-2000:]
    return run.stdout


CEILINGS = """
import json, torch
def seconds(work, repeats=20):
    for _ in range(5): work()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats): work()
    end.record(); torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1000 / repeats
a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
x = torch.randn(1 << 30, device="cuda", dtype=torch.bfloat16)
print(json.dumps({"tflops": 2 * 8192**3 / seconds(lambda: a @ b) / 1e12, "copy": 2 * x.nbytes / seconds(x.clone) / 1e12}))
"""

PEER = """
import sys, time, torch
from diffusers import QwenImageTransformer2DModel
with torch.device("meta"):
    model = QwenImageTransformer2DModel(num_layers=60)
model = model.to(torch.bfloat16).to_empty(device="cuda")
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, std=0.02)
model.pos_embed = type(model.pos_embed)(theta=10000, axes_dim=[16, 56, 56], scale_rope=True)
model.eval()
def step(size, model):
    side = size // 16
    x = torch.randn(1, side * side, 64, device="cuda", dtype=torch.bfloat16)
    texts = [torch.randn(1, n, 3584, device="cuda", dtype=torch.bfloat16) for n in (64, 6)]
    t = torch.tensor([0.5], device="cuda", dtype=torch.bfloat16)
    with torch.inference_mode():
        for text in texts:
            mask = torch.ones(1, text.shape[1], device="cuda", dtype=torch.long)
            model(hidden_states=x, encoder_hidden_states=text, encoder_hidden_states_mask=mask, timestep=t,
                  img_shapes=[[(1, side, side)]], return_dict=False)
def seconds(work, warm, repeats):
    for _ in range(warm): work()
    torch.cuda.synchronize(); begin = time.perf_counter()
    for _ in range(repeats): work()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / repeats
for size in map(int, sys.argv[1:]):
    print(f"diffusers bf16 eager {size}: {seconds(lambda: step(size, model), 1, 3):.4f} s a guided step, peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB", flush=True)
try:
    model.compile_repeated_blocks(fullgraph=False)
    for size in map(int, sys.argv[1:]):
        print(f"diffusers bf16 compiled {size}: {seconds(lambda: step(size, model), 3, 3):.4f} s a guided step", flush=True)
except Exception as error:
    print("diffusers compiled:", repr(error)[:300])
"""

if __name__ == "__main__":
    main()
