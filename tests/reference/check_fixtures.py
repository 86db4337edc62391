"""Shows that the fixtures can tell a right port from a wrong one. Writes nothing.

Prints, per case, how far float64 lies from the recorded float32 run (the tolerance must be
wider), and how far each of a list of porting mistakes moves the results (it must be narrower).
"""

import argparse
import re
import sys
from pathlib import Path

import torch
from diffusers import QwenImagePipeline
from safetensors import safe_open

import capture
import mistakes
import real_headers
from cases import CASES, COMFY, DIFFUSERS
from layouts import SCHEDULER
from promote import in_float64

TOLERANCE = 1e-5
FINAL_TOLERANCE = 5e-5  # for what has been through all steps
FINAL = ("latents.", "image")
SHOWN = ("prompt_embeds", "step0.cond", "latents.final", "image")


def difference(reference: torch.Tensor, other: torch.Tensor) -> float:
    """The largest deviation, measured as the tests measure it."""
    if reference.shape != other.shape:
        return float("inf")
    scale = max(1.0, reference.abs().max().item())
    return (reference.double() - other.double()).abs().max().item() / scale


def floats(trace):
    return {name: value for name, value in trace.items() if value.is_floating_point()}


def tolerance(name: str) -> float:
    return FINAL_TOLERANCE if name.startswith(FINAL) else TOLERANCE


# Which real file each tiny one must look like, and how many layers of each kind it has.
LOOKS_LIKE = {
    "transformer": ("qwen_image_fp8_e4m3fn", 2),
    "text_encoder": ("qwen_2.5_vl_7b_fp8_scaled", 2),
    "vae": ("qwen_image_vae", None),
}
LAYER = re.compile(r"\b(?:transformer_blocks|layers|blocks)\.(\d+)\.")


def check_layouts(root: Path) -> list[str]:
    """The ComfyUI tree must have the real files' names, types and ranks, layer for layer."""
    failures = []
    for part, (real_name, layers) in LOOKS_LIKE.items():
        real = real_headers.unpack((real_headers.LISTS / f"{real_name}.txt").read_text())
        expected = {
            key: (dtype, len(shape))
            for key, (dtype, shape) in real.items()
            if layers is None or not (match := LAYER.search(key)) or int(match[1]) < layers
        }
        with safe_open(root / COMFY[part][0], "pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}
            found = {key: (value.get_dtype(), len(value.get_shape())) for key, value in slices.items()}
        if found != expected:
            failures.append(f"{part} differs from {real_name}: {sorted(found.items() ^ expected.items())[:4]}")
    return failures


def check_diffusers_folder(root: Path) -> list[str]:
    """The libraries' own loader must find the same weights in the folder as ours does."""
    case = next(case for case in CASES if case.files is DIFFUSERS)
    ours = capture.build_pipeline(root, case)
    theirs = QwenImagePipeline.from_pretrained(root / "diffusers", torch_dtype=torch.float32)
    failures = []
    for part in ("transformer", "text_encoder", "vae"):
        left, right = getattr(ours, part).state_dict(), getattr(theirs, part).state_dict()
        if left.keys() != right.keys() or not all(torch.equal(left[key], right[key]) for key in left):
            failures.append(f"from_pretrained reads another {part}")
    if any(theirs.scheduler.config[key] != value for key, value in SCHEDULER.items()):
        failures.append("from_pretrained reads another scheduler")
    if theirs.tokenizer(case.prompt).input_ids != ours.tokenizer(case.prompt).input_ids:
        failures.append("from_pretrained reads another tokenizer")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", type=Path, default=Path(__file__).parent.parent / "fixtures")
    args = parser.parse_args()
    torch.set_num_threads(1)

    failures = check_layouts(args.fixtures) + check_diffusers_folder(args.fixtures)
    references = {}
    print("float64 against float32; spread of step0.cond; extremes of the image")
    for case in CASES:
        pipe = capture.build_pipeline(args.fixtures, case)
        reference = references[case.name] = floats(capture.run(pipe, case))
        angles = (
            pipe.transformer.time_text_embed.time_proj,
            pipe.transformer.pos_embed,
            pipe.text_encoder.model.language_model.rotary_emb,
        )
        with in_float64(pipe, angles):
            exact = floats(capture.run(pipe, case, given_noise=True))
        gaps = {name: difference(value, exact[name]) for name, value in reference.items()}
        worst = max(gaps, key=gaps.get)
        shown = "  ".join(f"{name} {gaps[name]:.1e}" for name in SHOWN)
        clamped = (reference["image"].abs() == 1).float().mean().item()
        print(
            f"{case.name:18} {shown}  worst {worst} {gaps[worst]:.1e}"
            f"  std {reference['step0.cond'].std():.2f}/{reference['image'].std():.2f} clamped {clamped:.2%}"
        )
        failures += [
            f"{case.name}: {name} is uncertain by {gap:.1e}"
            for name, gap in gaps.items()
            if gap > 0.3 * tolerance(name)
        ]

    print("\nmistakes: step0.cond, latents.final, image")
    for mistake in mistakes.MISTAKES:
        caught = []
        for name in mistake.cases:
            case = next(case for case in CASES if case.name == name)
            pipe = capture.build_pipeline(args.fixtures, case)
            with mistake.made_in(pipe):
                wrong = floats(capture.run(pipe, case))
            gaps = {key: difference(value, wrong[key]) for key, value in references[name].items() if key in wrong}
            caught.append(any(gap > 10 * tolerance(key) for key, gap in gaps.items()))
            shown = "  ".join(f"{gaps[key]:.1e}" for key in SHOWN[1:])
            worst = max(gaps, key=gaps.get)
            print(f"{mistake.name:28} {name:18} {shown}  most: {worst} {gaps[worst]:.1e}")
        if not any(caught):
            failures.append(f"{mistake.name} goes unnoticed")

    for failure in failures:
        print("FAILED:", failure)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
