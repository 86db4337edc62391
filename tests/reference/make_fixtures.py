"""Makes every fixture. See README.md for the command."""

import argparse
import json
import os
import shutil
from pathlib import Path

import torch

import capture
import layouts
import make_comfyui
import make_numbers
import make_real_ids
import make_samplers
import real_headers
import st_file
from cases import CASES


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "fixtures")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        default=os.environ.get("QWEN_TOKENIZER") or None,
        help="folder of the real tokenizer (default: $QWEN_TOKENIZER); without it that fixture is left as it is",
    )
    parser.add_argument(
        "--headers",
        type=Path,
        help="folder of the real checkpoints' key lists; without it the loader's lists are left as they are",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[case.name for case in CASES],
        help="make just these cases' traces and cases.json; everything else is left as it is",
    )
    args = parser.parse_args()

    # One thread: the order of additions must not depend on the machine's core count.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    if args.only:
        write_traces(args.out, args.only)
        return
    for folder in ("comfyui", "diffusers", "transformers", "text_encoders", "loras", "traces"):
        shutil.rmtree(args.out / folder, ignore_errors=True)
    layouts.write_all(args.out)
    write_traces(args.out, [case.name for case in CASES])
    make_numbers.write_noise(args.out / "noise.safetensors")
    make_numbers.write_sigmas(args.out / "sigmas.json")
    make_numbers.write_codes(args.out / "codes.json")
    make_samplers.write_all(args.out)
    make_comfyui.write_all(args.out)
    if args.tokenizer:
        make_real_ids.write(args.out / "tokenizer_real.json", args.tokenizer)
        make_comfyui.write_real(args.out / "preset_comfyui_real.json", args.tokenizer)
    else:
        print("no real tokenizer given: the fixtures named *_real.json are left as they are")
    if args.headers:
        real_headers.write(real_headers.LISTS, args.headers)
    else:
        print("no key lists given: those of the loader are left as they are")


def write_traces(out: Path, names: list[str]):
    manifest = []
    for case in CASES:
        pipe = capture.build_pipeline(out, case)
        file = f"traces/{case.name}.safetensors"
        if case.name in names:
            trace = capture.run(pipe, case)
            st_file.write(out / file, trace)
            print(f"{case.name}: {trace['input_ids'].shape[1]} tokens")
        manifest.append(
            {
                "name": case.name,
                "models": case.models,
                "files": case.files,
                "drop_index": pipe.prompt_template_encode_start_idx,
                "prompt": case.prompt,
                "negative": case.negative,
                "width": case.width,
                "height": case.height,
                "steps": case.steps,
                "cfg": case.cfg,
                "seed": case.seed,
                "trace": file,
                "deep": list(case.deep),
                **({"loras": [{"file": file, "weight": weight} for file, weight in case.loras]} if case.loras else {}),
                **({"lightning": True} if case.lightning else {}),
            }
        )
    text = json.dumps({"drop_index": manifest[0]["drop_index"], "cases": manifest}, indent=1, ensure_ascii=False)
    (out / "cases.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
