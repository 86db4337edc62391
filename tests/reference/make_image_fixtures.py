"""Makes the fixtures of the cases that begin with an image. See README.md for the command."""

import argparse
import json
from pathlib import Path

import torch

import capture_image
import init_images
import st_file
from image_cases import CASES


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "fixtures")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[case.name for case in CASES],
        help="make just these cases' traces and image_cases.json; everything else is left as it is",
    )
    args = parser.parse_args()
    # One thread: the order of additions must not depend on the machine's core count.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    folder = args.out / "images"
    if not args.only:
        init_images.write_all(folder)
    manifest = []
    for case in CASES:
        pipe = capture_image.build_pipeline(args.out, case)
        file = f"image_traces/{case.name}.safetensors"
        if not args.only or case.name in args.only:
            trace = capture_image.run(pipe, case, folder)
            st_file.write(args.out / file, trace)
            print(f"{case.name}: from step {trace['start'].item()} of {case.steps}")
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
                "image": f"images/{case.image}",
                "mask": case.mask and f"images/{case.mask}",
                "mask_crop": case.mask_crop,
                "strength": case.strength,
                "deep": ["vae_encoder"] if case.deep else [],
            }
        )
    text = json.dumps({"cases": manifest}, indent=1, ensure_ascii=False)
    (args.out / "image_cases.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
